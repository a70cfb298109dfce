#pragma once
// The part that every attention shares: cache, rotation, masks and heads. The projections belong
// to the model's own block.
#include "nn/module.h"

namespace quaver {

// Rotary positions of the first `dim` columns of each head.
struct Rope {
  Tensor inverse_frequencies;  // f32 [dim / 2], host; empty: no rotation
  bool interleaved = false;    // pairs (2i, 2i + 1) instead of (i, i + dim / 2)
};
Rope make_rope(std::int64_t dim, double theta, bool interleaved = false);

struct SelfAttention {
  AttentionShape shape;
  Rope rope;
  Tensor slopes;  // f32 [heads]: ALiBi; empty: none

  // q [rows, heads * head_dim], k, v [rows, kv_heads * head_dim] -> [rows, heads * head_dim].
  // Rotates q and k, appends k and v to the caches of the step's sequences, attends.
  Tensor operator()(Tensor q, Tensor k, const Tensor& v, Step& step) const;
};

// ALiBi's slope of each head (Press et al. 2022), for any number of heads. f32 [heads].
Tensor alibi_slopes(std::int64_t heads);

// Splits x [rows, heads * 3 * head_dim], stored head by head as (q, k, v), into three
// [rows, heads * head_dim].
struct Qkv {
  Tensor q, k, v;
};
Qkv split_heads(const Tensor& x, std::int64_t heads, std::int64_t head_dim);

}  // namespace quaver
