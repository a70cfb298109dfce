#pragma once
// A conversation with a model: what was fed stays in caches, so that each new token costs one row.
#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder.h"

namespace quaver {

// One or more sequences that advance side by side. There is no padding: every sequence has its own
// cache and its own length, so each gives what it would give alone.
class Session {
 public:
  enum class Rows : std::uint8_t { last, all };

  // Empty sequences on a decoder whose parameters lie on `device`; the decoder must outlive it.
  // Keys and values are kept as f32, f16 or bf16.
  explicit Session(Decoder& decoder, std::int64_t sequences = 1, Device device = {},
                   DType cache_type = DType::f32);

  std::int64_t sequences() const { return static_cast<std::int64_t>(caches_.size()); }
  std::int64_t position(std::int64_t sequence = 0) const;  // tokens that it holds

  const std::vector<std::int32_t>& ids(std::int64_t sequence = 0) const;  // those tokens

  // Appends ids[i] to sequence i; an empty list leaves it as it is. Returns the logits of the last
  // token of each sequence that got any, or of all tokens fed, in order: f32 [n, vocabulary], host.
  // Throws Error on an id outside the vocabulary and on more tokens than the model has positions.
  Tensor feed(std::span<const std::vector<std::int32_t>> ids, Rows rows = Rows::last);
  Tensor feed(const std::vector<std::int32_t>& ids) { return feed({&ids, 1}); }

  // Forgets all but the first `tokens` tokens of a sequence.
  void rewind(std::int64_t tokens, std::int64_t sequence = 0);

  // Sequence i becomes a copy of what sequence parents[i] was. A parent's cache moves to its first
  // child; only further children are copied.
  void reorder(std::span<const std::int32_t> parents);

 private:
  struct Part {  // what one step takes from a sequence's ids
    std::size_t sequence = 0;
    std::int64_t begin = 0, rows = 0;
  };
  static std::vector<std::vector<Part>> steps_of(std::span<const std::vector<std::int32_t>> ids);
  std::int64_t outgrown(std::size_t s, std::size_t fresh) const;
  Tensor run(std::span<const std::vector<std::int32_t>> ids, std::span<const Part> parts);

  Decoder* decoder_;
  Device device_;
  std::vector<KvCache> caches_;
  std::vector<std::vector<std::int32_t>> ids_;  // what each cache holds
};

// i32 [n] -> throws Error that names the first id outside the vocabulary.
void check_ids(const Decoder& decoder, std::span<const std::int32_t> ids);

}  // namespace quaver
