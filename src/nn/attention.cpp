#include "nn/attention.h"

#include <cmath>

namespace quaver {
namespace {

// Appends f32 rows to a cache layer, which grows by doubling.
void append(Tensor& held, const KvCache& cache, const Tensor& given) {
  const Tensor rows = converted(given, cache.type);
  const std::int64_t length = cache.length, needed = length + rows.dim(0);
  if (!held || held.dim(0) < needed) {
    const std::int64_t capacity = std::max({needed, 2 * length, cache.capacity});
    Tensor grown = empty_on(rows.device(), {capacity, rows.dim(1)}, cache.type);
    if (length > 0) copy_rows(grown, 0, held.rows(0, length));
    held = grown;
  }
  copy_rows(held, length, rows);
}

// Each row of q times log(its position + 1) / log(trained), where that is above 1.
Tensor log_n_scaled(const Tensor& q, const Tensor& positions, std::int64_t trained) {
  const auto at = positions.data<std::int32_t>();
  Tensor index({q.dim(0)}, DType::i32), weight({q.dim(0)});
  bool changed = false;
  for (std::size_t r = 0; r < at.size(); ++r) {
    const double keys = static_cast<double>(at[r]) + 1;
    const bool longer = keys > static_cast<double>(trained);
    index.data<std::int32_t>()[r] = static_cast<std::int32_t>(r);
    weight.data<float>()[r] =
        static_cast<float>(longer ? std::log(keys) / std::log(static_cast<double>(trained)) : 1.0);
    changed |= longer;
  }
  if (!changed) return q;
  Tensor y = moved_to(Tensor(q.shape()), q.device());
  scatter_add(q, index, weight, y);
  return y;
}

}  // namespace

Tensor SelfAttention::rotated(const Tensor& x, Step& step) const {
  if (!rope) return x;
  const RopeTables& tables = rope.tables(step);
  return quaver::rope(x, tables.cos, tables.sin, shape.head_dim, rope.interleaved);
}

Tensor SelfAttention::attend(const Tensor& plain, const Tensor& k, const Tensor& v,
                             Step& step) const {
  const Tensor q = log_n > 0 ? log_n_scaled(plain, step.positions, log_n) : plain;
  Tensor y = empty_on(q.device(), {q.dim(0), shape.heads * shape.value_size()});
  std::int64_t row = 0;
  for (SequenceRows& sequence : step.sequences) {
    const std::int64_t end = row + sequence.rows;
    Tensor keys = k.rows(row, end), values = v.rows(row, end);
    if (KvCache* cache = sequence.cache) {
      auto& held = cache->layers.at(static_cast<std::size_t>(step.layer));
      append(held.keys, *cache, keys);
      append(held.values, *cache, values);
      keys = held.keys.rows(0, cache->length + sequence.rows);
      values = held.values.rows(0, cache->length + sequence.rows);
    }
    Tensor place = y.rows(row, end);
    attention(q.rows(row, end), keys, values, sequence.mask, slopes, sinks, shape, place);
    row = end;
  }
  ensure(row == q.dim(0), "[attention] the step's sequences have ", row, " rows, x has ", q.dim(0));
  return y;
}

Tensor alibi_slopes(std::int64_t heads, double steepest, bool every_other_first) {
  Tensor slopes({heads});
  std::int64_t n = 1;  // the largest power of two
  while (n * 2 <= heads) n *= 2;
  const auto slope = [&](std::int64_t place, std::int64_t of) {  // place from 1
    return static_cast<float>(
        std::exp2(-steepest * static_cast<double>(place) / static_cast<double>(of)));
  };
  for (std::int64_t h = 0; h < heads; ++h) {
    float& s = slopes.data<float>()[static_cast<std::size_t>(h)];
    if (n == heads)
      s = slope(h + 1, n);
    else if (every_other_first)
      s = slope(h < n ? 2 * (h + 1) : 2 * (h - n) + 1, 2 * n);
    else
      s = h < n ? slope(h + 1, n) : slope(2 * (h - n) + 1, 2 * n);
  }
  return slopes;
}

Qkv split_heads(const Tensor& x, std::int64_t heads, std::int64_t head_dim) {
  const std::int64_t rows = x.dim(0);
  ensure(x.dim(1) == 3 * heads * head_dim, "[split_heads] x ", x.shape(), " for ", heads,
         " heads of ", head_dim);
  const Tensor by_head = x.reshaped({rows * heads, 3 * head_dim});
  const auto part = [&](int i) {
    return columns(by_head, i * head_dim, head_dim).reshaped({rows, heads * head_dim});
  };
  return {part(0), part(1), part(2)};
}

}  // namespace quaver
