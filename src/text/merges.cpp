#include "text/merges.h"

#include <algorithm>

#include "text/utf8.h"

namespace quaver::tokens {

bool spans_word_boundary(std::string_view token) {
  for (std::size_t at = 0; (at = token.find(space_mark, at)) != std::string_view::npos;
       at += space_mark.size()) {
    if (at > 0 && (at < space_mark.size() ||
                   token.substr(at - space_mark.size(), space_mark.size()) != space_mark)) {
      return true;
    }
  }
  return false;
}

void MergeTable::reserve(std::size_t pairs) {
  std::size_t slots = 16;
  while (slots < 2 * pairs) slots *= 2;
  if (slots <= slots_.size()) return;
  std::vector<Slot> old(slots);
  old.swap(slots_);
  mask_ = slots - 1;
  for (const Slot& slot : old) {
    if (slot.merge.result >= 0) slots_[slot_of(slot.key)] = slot;
  }
}

void MergeTable::set(std::int32_t left, std::int32_t right, Merge merge) {
  reserve(used_ + 1);
  const std::uint64_t key = key_of(left, right);
  Slot& slot = slots_[slot_of(key)];
  if (slot.merge.result < 0) ++used_;
  slot = {key, merge};
}

namespace {

constexpr std::size_t short_word = 32;  // symbols; up to here a scan beats a queue
constexpr std::uint32_t no_rank = 0xFFFFFFFF;

void merge_short(MergeScratch& scratch, const MergeTable& merges) {
  auto& symbols = scratch.symbols;
  auto& ranks = scratch.ranks;
  const auto pair_at = [&](std::size_t i) -> std::pair<std::uint32_t, std::int32_t> {
    const Merge* merge = merges.find(symbols[i], symbols[i + 1]);
    return merge == nullptr ? std::pair(no_rank, -1) : std::pair(merge->rank, merge->result);
  };
  ranks.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) ranks.push_back(pair_at(i));
  while (!ranks.empty()) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < ranks.size(); ++i) {
      if (ranks[i].first < ranks[best].first) best = i;
    }
    if (ranks[best].second < 0) return;
    symbols[best] = ranks[best].second;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    ranks.erase(ranks.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) ranks[best - 1] = pair_at(best - 1);
    if (best < ranks.size()) ranks[best] = pair_at(best);
  }
}

void merge_long(MergeScratch& scratch, const MergeTable& merges) {
  auto& nodes = scratch.nodes;
  auto& queue = scratch.queue;
  const auto count = static_cast<std::int32_t>(scratch.symbols.size());
  nodes.clear();
  queue.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    nodes.push_back({scratch.symbols[static_cast<std::size_t>(i)], i - 1, i + 1});
  }
  const auto node = [&](std::int32_t i) -> MergeScratch::Node& {
    return nodes[static_cast<std::size_t>(i)];
  };
  const auto consider = [&](std::int32_t left) {
    const std::int32_t right = node(left).next;
    if (right >= count) return false;
    const Merge* merge = merges.find(node(left).symbol, node(right).symbol);
    if (merge == nullptr) return false;
    queue.push_back(static_cast<std::uint64_t>(merge->rank) << 32 |
                    static_cast<std::uint32_t>(left));
    if (scratch.keep_splits) {
      scratch.splits[merge->result] = {node(left).symbol, node(right).symbol};
    }
    return true;
  };
  const auto push = [&](std::int32_t left) {
    if (consider(left)) std::push_heap(queue.begin(), queue.end(), std::greater<>{});
  };
  for (std::int32_t i = 0; i + 1 < count; ++i) consider(i);
  std::make_heap(queue.begin(), queue.end(), std::greater<>{});
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>{});
    const std::uint64_t top = queue.back();
    queue.pop_back();
    const auto left = static_cast<std::int32_t>(top & 0xFFFFFFFF);
    if (node(left).symbol < 0 || node(left).next >= count) continue;
    const std::int32_t right = node(left).next;
    const Merge* merge = merges.find(node(left).symbol, node(right).symbol);
    // An entry whose pair is gone: its symbols have been merged with others since.
    if (merge == nullptr || merge->rank != top >> 32) continue;
    node(left).symbol = merge->result;
    node(left).next = node(right).next;
    if (node(left).next < count) node(node(left).next).previous = left;
    node(right).symbol = -1;
    if (node(left).previous >= 0) push(node(left).previous);
    push(left);
  }
  scratch.symbols.clear();
  for (std::int32_t i = 0; i < count; i = node(i).next) scratch.symbols.push_back(node(i).symbol);
}

constexpr std::size_t store_slots = std::size_t{1} << 16;
constexpr std::size_t longest_kept = 64;  // bytes of a word

}  // namespace

void merge_symbols(MergeScratch& scratch, const MergeTable& merges) {
  if (scratch.symbols.size() <= short_word && !scratch.keep_splits) {
    merge_short(scratch, merges);
  } else {
    merge_long(scratch, merges);
  }
}

std::size_t MergeScratch::slot_of(std::string_view word, std::uint64_t hash) const {
  std::size_t slot = hash & (store_slots - 1);
  while (entries_[slot].used) {
    const Entry& entry = entries_[slot];
    if (entry.hash == hash && std::string_view(words_).substr(entry.word, entry.length) == word) {
      break;
    }
    slot = (slot + 1) & (store_slots - 1);
  }
  return slot;
}

std::optional<std::span<const std::int32_t>> MergeScratch::recall(std::string_view word) const {
  if (entries_.empty() || word.size() > longest_kept) return std::nullopt;
  const Entry& entry = entries_[slot_of(word, std::hash<std::string_view>{}(word))];
  if (!entry.used) return std::nullopt;
  return std::span(ids_).subspan(entry.ids, entry.count);
}

void MergeScratch::remember(std::string_view word, std::span<const std::int32_t> ids) {
  if (word.size() > longest_kept) return;
  if (entries_.empty() || used_ >= store_slots / 2) {
    entries_.assign(store_slots, {});
    words_.clear();
    ids_.clear();
    used_ = 0;
  }
  const std::uint64_t hash = std::hash<std::string_view>{}(word);
  Entry& entry = entries_[slot_of(word, hash)];
  if (entry.used) return;
  entry = {hash,
           static_cast<std::uint32_t>(words_.size()),
           static_cast<std::uint32_t>(ids_.size()),
           static_cast<std::uint16_t>(word.size()),
           static_cast<std::uint16_t>(ids.size()),
           true};
  words_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++used_;
}

ScratchPool::Lease::Lease(ScratchPool& pool) : pool_(pool) {
  {
    const std::lock_guard lock(pool.mutex_);
    if (!pool.idle_.empty()) {
      scratch_ = std::move(pool.idle_.back());
      pool.idle_.pop_back();
    }
  }
  if (!scratch_) scratch_ = std::make_unique<MergeScratch>();
}

ScratchPool::Lease::~Lease() {
  const std::lock_guard lock(pool_.mutex_);
  pool_.idle_.push_back(std::move(scratch_));
}

}  // namespace quaver::tokens
