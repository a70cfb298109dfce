#pragma once
// The part that every attention shares: cache, rotation, masks and heads. The projections belong
// to the model's own block.
#include "nn/module.h"
#include "nn/rope.h"

namespace quaver {

struct SelfAttention {
  AttentionShape shape;
  Rope rope;
  Tensor slopes;  // f32 [heads]: ALiBi; empty: none
  Tensor sinks;   // f32 [heads]: a score of no key; empty: none
  // Queries with more keys than this are multiplied by the logarithm of their number to this base
  // (Su 2021, Qwen); 0: none are.
  std::int64_t log_n = 0;

  // q [rows, heads * head_dim], k [rows, kv_heads * head_dim], v [rows, kv_heads * value_dim] ->
  // [rows, heads * value_dim].
  // Rotates q and k, appends k and v to the caches of the step's sequences, attends.
  Tensor operator()(const Tensor& q, const Tensor& k, const Tensor& v, Step& step) const {
    return attend(rotated(q, step), rotated(k, step), v, step);
  }
  Tensor rotated(const Tensor& x, Step& step) const;
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, Step& step) const;
};

// ALiBi's slope of each head (Press et al. 2022), for any number of heads; `steepest` is the
// exponent of the last of a power of two. With other numbers of heads the slopes of the power of
// two below are used, then every other one of the power above; `every_other_first` (MPT) takes
// every other one of the power above, then the rest. f32 [heads].
Tensor alibi_slopes(std::int64_t heads, double steepest = 8, bool every_other_first = false);

// Splits x [rows, heads * 3 * head_dim], stored head by head as (q, k, v), into three
// [rows, heads * head_dim].
struct Qkv {
  Tensor q, k, v;
};
Qkv split_heads(const Tensor& x, std::int64_t heads, std::int64_t head_dim);

}  // namespace quaver
