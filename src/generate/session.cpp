#include "generate/session.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "ops/ops.h"

namespace quaver {
namespace {

// Rows of one step at most: bounds the memory that a long prompt takes.
constexpr std::int64_t step_rows = 2048;
constexpr std::int64_t first_capacity = 64;

KvCache copied(const KvCache& cache) {
  KvCache copy{.capacity = cache.capacity,
               .type = cache.type,
               .length = cache.length,
               .prompt = cache.prompt,
               .visible = cache.visible};
  for (const KvCache::Layer& layer : cache.layers) {
    const auto held = [&](const Tensor& t) {
      if (!t) return t;
      Tensor c = empty_on(t.device(), t.shape(), t.dtype());
      if (cache.length > 0) copy_rows(c, 0, t.rows(0, cache.length));
      return c;
    };
    copy.layers.push_back({held(layer.keys), held(layer.values)});
  }
  return copy;
}

}  // namespace

void check_ids(const Decoder& decoder, std::span<const std::int32_t> ids) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    ensure(ids[i] >= 0 && ids[i] < decoder.config().vocab, "[ids] token ", i, " is ", ids[i],
           ": this model's vocabulary has ", decoder.config().vocab, " tokens");
}

// Cuts the ids into steps of at most step_rows rows.
std::vector<std::vector<Session::Part>> Session::steps_of(
    std::span<const std::vector<std::int32_t>> ids) {
  std::vector<std::vector<Part>> steps;
  std::int64_t room = 0;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const auto size = static_cast<std::int64_t>(ids[s].size());
    for (std::int64_t begin = 0; begin < size;) {
      if (room == 0) {
        steps.emplace_back();
        room = step_rows;
      }
      const std::int64_t rows = std::min(size - begin, room);
      steps.back().push_back({s, begin, rows});
      begin += rows;
      room -= rows;
    }
  }
  return steps;
}

Session::Session(Decoder& decoder, std::int64_t sequences, Device device, DType cache_type)
    : decoder_(&decoder), device_(device) {
  ensure(sequences >= 1, "[session] ", sequences, " sequences: expected at least 1");
  ensure(cache_type == DType::f32 || cache_type == DType::f16 || cache_type == DType::bf16,
         "[session] a cache of ", cache_type, ": expected f32, f16 or bf16");
  for (std::int64_t i = 0; i < sequences; ++i) {
    caches_.push_back(decoder.new_cache(first_capacity));
    caches_.back().type = cache_type;
  }
  ids_.resize(caches_.size());
}

std::int64_t Session::position(std::int64_t sequence) const {
  return caches_.at(static_cast<std::size_t>(sequence)).length;
}

const std::vector<std::int32_t>& Session::ids(std::int64_t sequence) const {
  return ids_.at(static_cast<std::size_t>(sequence));
}

Tensor Session::run(std::span<const std::vector<std::int32_t>> ids, std::span<const Part> parts) {
  std::int64_t rows = 0;
  for (const Part& part : parts) rows += part.rows;
  Step step;
  step.positions = Tensor::raw({rows}, DType::i32);
  step.device = device_;
  Tensor tokens = Tensor::raw({rows}, DType::i32);
  auto token = tokens.data<std::int32_t>().begin();
  auto position = step.positions.data<std::int32_t>().begin();
  for (const Part& part : parts) {
    KvCache& cache = caches_[part.sequence];
    const auto fed = static_cast<std::int64_t>(ids[part.sequence].size());
    step.sequences.push_back(
        {.rows = part.rows, .cache = &cache, .text = cache.length - part.begin + fed});
    std::copy_n(ids[part.sequence].begin() + part.begin, part.rows, token);
    std::iota(position, position + part.rows, static_cast<std::int32_t>(cache.length));
    token += part.rows;
    position += part.rows;
  }
  const Tensor normed = decoder_->forward(moved_to(tokens, device_), step);
  for (const Part& part : parts) {
    caches_[part.sequence].length += part.rows;
    const auto first = ids[part.sequence].begin() + part.begin;
    ids_[part.sequence].insert(ids_[part.sequence].end(), first, first + part.rows);
  }
  return normed;
}

// How many tokens of sequence `s` must come again before `fresh` more do: all that it holds, where
// the text outgrows what their keys are good for.
std::int64_t Session::outgrown(std::size_t s, std::size_t fresh) const {
  const auto above = decoder_->arch().recompute_above;
  if (!above) return 0;
  const std::int64_t limit = above(decoder_->config()), held = caches_[s].length;
  return held <= limit && held + static_cast<std::int64_t>(fresh) > limit ? held : 0;
}

Tensor Session::feed(std::span<const std::vector<std::int32_t>> ids, Rows rows) {
  ensure(ids.size() == caches_.size(), "[session] ids for ", ids.size(), " of ", caches_.size(),
         " sequences");
  std::int64_t wanted = 0;
  const std::int64_t limit = decoder_->ends().position_limit();
  for (std::size_t s = 0; s < ids.size(); ++s) {
    check_ids(*decoder_, ids[s]);
    const auto length = caches_[s].length + static_cast<std::int64_t>(ids[s].size());
    ensure(limit == 0 || length <= limit, "[session] ", length, " tokens: this model has ", limit,
           " positions");
    wanted += rows == Rows::all ? static_cast<std::int64_t>(ids[s].size()) : !ids[s].empty();
    if (caches_[s].length == 0) caches_[s].prompt = static_cast<std::int64_t>(ids[s].size());
  }
  ensure(wanted > 0, "[session] fed with no token");
  std::vector<std::vector<std::int32_t>> whole(ids.begin(), ids.end());
  std::vector<std::int64_t> again(ids.size());
  for (std::size_t s = 0; s < ids.size(); ++s) {
    again[s] = outgrown(s, ids[s].size());
    whole[s].insert(whole[s].begin(), ids_[s].begin(), ids_[s].begin() + again[s]);
    if (again[s] > 0) rewind(0, static_cast<std::int64_t>(s));
  }
  Tensor states = empty_on(device_, {wanted, decoder_->config().hidden});
  std::int64_t done = 0;
  for (const std::vector<Part>& parts : steps_of(whole)) {
    const Tensor normed = run(whole, parts);
    std::int64_t row = 0;
    for (const Part& part : parts) {
      const auto size = static_cast<std::int64_t>(whole[part.sequence].size());
      const std::int64_t first = rows == Rows::all ? again[part.sequence] : size - 1;
      const std::int64_t from = std::clamp(first - part.begin, std::int64_t{0}, part.rows);
      if (from < part.rows) copy_rows(states, done, normed.rows(row + from, row + part.rows));
      done += part.rows - from;
      row += part.rows;
    }
  }
  Step step;
  step.device = device_;
  return on_host(decoder_->logits(states, step));
}

void Session::rewind(std::int64_t tokens, std::int64_t sequence) {
  KvCache& cache = caches_.at(static_cast<std::size_t>(sequence));
  ensure(tokens >= 0 && tokens <= cache.length, "[session] rewind to ", tokens, " of ",
         cache.length, " tokens");
  cache.length = tokens;
  ids_[static_cast<std::size_t>(sequence)].resize(static_cast<std::size_t>(tokens));
  if (!cache.visible.empty()) cache.visible.resize(static_cast<std::size_t>(tokens));
}

void Session::reorder(std::span<const std::int32_t> parents) {
  ensure(parents.size() == caches_.size(), "[session] ", parents.size(), " parents for ",
         caches_.size(), " sequences");
  std::vector<KvCache> reordered(caches_.size());
  std::vector<std::int64_t> moved(caches_.size(), -1);  // where a parent's own cache went
  const auto place = [&](std::size_t i) {
    const auto parent = static_cast<std::size_t>(parents[i]);
    if (moved[parent] >= 0) {
      reordered[i] = copied(reordered[static_cast<std::size_t>(moved[parent])]);
    } else {
      reordered[i] = std::move(caches_[parent]);
      moved[parent] = static_cast<std::int64_t>(i);
    }
  };
  for (const std::int32_t parent : parents)
    ensure(parent >= 0 && static_cast<std::size_t>(parent) < caches_.size(), "[session] parent ",
           parent, " of ", caches_.size(), " sequences");
  std::vector<std::vector<std::int32_t>> ids;
  for (std::size_t i = 0; i < parents.size(); ++i) {
    place(i);
    ids.push_back(ids_[static_cast<std::size_t>(parents[i])]);
  }
  caches_ = std::move(reordered);
  ids_ = std::move(ids);
}

}  // namespace quaver
