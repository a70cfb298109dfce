#pragma once
// Byte-pair merging: adjacent symbols are joined by the merge of lowest rank, the leftmost first,
// until no merge applies (Sennrich et al. 2016, arXiv:1508.07909).
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace quaver::tokens {

// Bytes hashed at most while the halves of all tokens of a file are listed.
constexpr std::size_t most_bytes_hashed = 2'000'000'000;

// Whether a space mark follows another character within `token`. A text can be cut before such
// marks, and its parts encoded alone, if no merge gives such a token: then none crosses the cut.
bool spans_word_boundary(std::string_view token);

struct Merge {
  std::uint32_t rank = 0;
  std::int32_t result = -1;  // the symbol that the pair becomes
};

// Pairs of symbols and their merges.
class MergeTable {
 public:
  void reserve(std::size_t pairs);
  void set(std::int32_t left, std::int32_t right, Merge merge);  // replaces an earlier one
  // Null: the pair has no merge.
  const Merge* find(std::int32_t left, std::int32_t right) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[slot_of(key_of(left, right))];
    return slot.merge.result < 0 ? nullptr : &slot.merge;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    Merge merge;  // result < 0: the slot is empty
  };
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t key) const {
    std::size_t slot = (key * 0x9E3779B97F4A7C15u >> 32) & mask_;
    while (slots_[slot].merge.result >= 0 && slots_[slot].key != key) slot = (slot + 1) & mask_;
    return slot;
  }

  std::vector<Slot> slots_;  // open addressing, a power of two
  std::size_t mask_ = 0, used_ = 0;
};

// What encoding keeps between words: buffers, and the ids of words seen before.
class MergeScratch {
 public:
  struct Node {
    std::int32_t symbol, previous, next;
  };
  std::vector<std::int32_t> symbols;  // in: one per character; out: the merged ones
  std::vector<std::pair<std::uint32_t, std::int32_t>> ranks;  // of short words' pairs
  std::vector<Node> nodes;                                    // of long words
  std::vector<std::uint64_t> queue;                           // rank << 32 | position: a min-heap
  std::string spelled;                                        // a word in the byte-level alphabet
  bool keep_splits = false;
  std::unordered_map<std::int32_t, std::pair<std::int32_t, std::int32_t>> splits;

  // The ids that `remember` stored for `word`.
  std::optional<std::span<const std::int32_t>> recall(std::string_view word) const;
  // Words too long are not kept, and when the store is full it starts anew.
  void remember(std::string_view word, std::span<const std::int32_t> ids);

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t word = 0, ids = 0;  // where they begin
    std::uint16_t length = 0, count = 0;
    bool used = false;
  };
  std::size_t slot_of(std::string_view word, std::uint64_t hash) const;

  std::vector<Entry> entries_;
  std::size_t used_ = 0;
  std::string words_;
  std::vector<std::int32_t> ids_;
};

// Merges scratch.symbols until no merge applies. With scratch.keep_splits, scratch.splits gets for
// each symbol that a merge could make the pair of the latest such merge to be considered.
void merge_symbols(MergeScratch& scratch, const MergeTable& merges);

// Scratches for any number of threads: one is lent to a call and comes back after it.
class ScratchPool {
 public:
  class Lease {
   public:
    explicit Lease(ScratchPool& pool);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    MergeScratch& operator*() { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<MergeScratch> scratch_;
  };

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<MergeScratch>> idle_;
};

}  // namespace quaver::tokens
