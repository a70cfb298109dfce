// Causal attention. A task is one head and a block of queries: their scores against every key they
// may see are one product, softmax goes over whole rows, and a second product takes the values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/drivers.h"

namespace quaver::cpu {
namespace {

constexpr std::int64_t query_block = 48;  // whole tiles of 6 and 12 rows
constexpr float hidden = -std::numeric_limits<float>::infinity();

struct Inputs {
  const float* q;
  Mem k, v;
  Element type;  // of k and v
  float* y;
  const float* positions;       // visible keys before each key; null: no slopes
  const std::uint8_t* mask;     // null: all visible
  const float *slopes, *sinks;  // [heads], or null
  std::int64_t value_dim;
};

// Element `at` of k or v.
const void* element(const Inputs& in, Mem keys_or_values, std::int64_t at) {
  const std::int64_t size = in.type == Element::f32 ? 4 : 2;
  return host<const std::byte>(keys_or_values) + at * size;
}

// What is added to the scores of one head: [keys], or null for nothing.
float* added(const AttentionArgs& a, const Inputs& in, std::int64_t head, float* room) {
  if (!in.mask && !in.slopes) return nullptr;
  for (std::int64_t j = 0; j < a.keys; ++j) {
    const bool visible = !in.mask || in.mask[j] != 0;
    room[j] = !visible ? hidden : in.slopes ? in.slopes[head] * in.positions[j] : 0.0f;
  }
  return room;
}

// The first key that a query sees which sees `seen` keys without a window.
std::int64_t first_seen(const AttentionArgs& a, std::int64_t seen) {
  return a.window > 0 ? std::max<std::int64_t>(0, seen - a.window) : 0;
}

// Softmax over the scores of one query; keys outside its window get 0. There is room for one more
// score behind the last.
void weigh(const AttentionArgs& a, const Inputs& in, std::int64_t head, std::int64_t seen,
           float* scores, float* add) {
  const std::int64_t first = first_seen(a, seen);
  float scale = a.scale;
  if (a.soft_cap > 0) {
    for (std::int64_t j = first; j < seen; ++j)
      scores[j] = a.soft_cap * std::tanh(scores[j] * scale / a.soft_cap);
    scale = 1;
  }
  std::fill(scores, scores + first, 0.0f);
  if (!in.sinks) {
    kernels().softmax(scores + first, add ? add + first : nullptr, scale, seen - first);
    return;
  }
  // The sink stands behind the last key, with nothing added.
  scores[seen] = in.sinks[head] / scale;
  const float kept = add ? add[seen] : 0;
  if (add) add[seen] = 0;
  kernels().softmax(scores + first, add ? add + first : nullptr, scale, seen - first + 1);
  if (add) add[seen] = kept;
}

void one_query(const AttentionArgs& a, const Inputs& in, std::int64_t head, std::int64_t row) {
  const std::int64_t kv_head = head / (a.heads / a.kv_heads), stride = a.kv_heads * a.head_dim;
  const std::int64_t seen = a.keys - a.rows + row + 1, d = a.head_dim;
  const std::int64_t first = first_seen(a, seen), values = a.kv_heads * in.value_dim;
  const Workspace scores_room(2 * a.keys + 2);
  float* scores = scores_room.floats();
  kernels().dot({.x = in.q + (row * a.heads + head) * d,
                 .w = element(in, in.k, first * stride + kv_head * d),
                 .bias = nullptr,
                 .y = scores + first,
                 .x_row = d,
                 .w_row = stride,
                 .ldy = seen - first,
                 .m = 1,
                 .n = seen - first,
                 .k = d,
                 .type = in.type});
  weigh(a, in, head, seen, scores, added(a, in, head, scores + a.keys + 1));
  const void* v = element(in, in.v, first * values + kv_head * in.value_dim);
  float* y = in.y + (row * a.heads + head) * in.value_dim;
  if (in.type == Element::f32) {
    kernels().weighted_sum(scores + first, static_cast<const float*>(v), values, seen - first,
                           in.value_dim, y);
    return;
  }
  const Workspace wide((seen - first) * in.value_dim);
  for (std::int64_t j = 0; j < seen - first; ++j)
    kernels().to_f32(static_cast<const std::byte*>(v) + j * values * 2, in.type, in.value_dim,
                     wide.floats() + j * in.value_dim);
  kernels().weighted_sum(scores + first, wide.floats(), in.value_dim, seen - first, in.value_dim,
                         y);
}

void query_rows(const AttentionArgs& a, const Inputs& in, std::int64_t head, std::int64_t first,
                std::int64_t rows) {
  const std::int64_t kv_head = head / (a.heads / a.kv_heads), stride = a.kv_heads * a.head_dim;
  const std::int64_t d = a.head_dim, before = a.keys - a.rows + first + 1;
  const std::int64_t seen = before + rows - 1;      // by the last row
  const std::int64_t from = first_seen(a, before);  // by the first row
  const std::int64_t width = seen - from, ld = seen + 1;
  const Workspace scores_room(rows * ld + a.keys + 1);
  float* scores = scores_room.floats();
  float* add = added(a, in, head, scores + rows * ld);
  const Strided k{.data = element(in, in.k, from * stride + kv_head * d),
                  .row = stride,
                  .col = 1,
                  .type = in.type};
  const std::int64_t values = a.kv_heads * in.value_dim;
  const Strided v{.data = element(in, in.v, from * values + kv_head * in.value_dim),
                  .row = 1,
                  .col = values,
                  .type = in.type};
  const std::int64_t tile = kernels().tile_cols;
  multiply({.x = {.data = in.q + (first * a.heads + head) * d, .row = a.heads * d, .col = 1},
            .pack = [&](std::int64_t j, std::int64_t count,
                        float* panel) { kernels().pack(k, j, count, d, tile, false, panel); },
            .y = scores + from,
            .m = rows,
            .n = width,
            .k = d,
            .ldy = ld});
  for (std::int64_t i = 0; i < rows; ++i) {
    float* row = scores + i * ld;
    weigh(a, in, head, before + i, row, add);
    std::fill(row + before + i, row + ld, 0.0f);
  }
  multiply({.x = {.data = scores + from, .row = ld, .col = 1},
            .pack = [&](std::int64_t j, std::int64_t count,
                        float* panel) { kernels().pack(v, j, count, width, tile, false, panel); },
            .y = in.y + (first * a.heads + head) * in.value_dim,
            .m = rows,
            .n = in.value_dim,
            .k = width,
            .ldy = a.heads * in.value_dim});
}

}  // namespace

void attention(Stream, const AttentionArgs& a) {
  if (a.rows <= 0 || a.heads <= 0) return;
  Inputs in{.q = host<const float>(a.q),
            .k = a.k,
            .v = a.v,
            .type = element_of(a.kv_type),
            .y = host<float>(a.y),
            .positions = nullptr,
            .mask = host<const std::uint8_t>(a.mask),
            .slopes = host<const float>(a.slopes),
            .sinks = host<const float>(a.sinks),
            .value_dim = a.value_dim > 0 ? a.value_dim : a.head_dim};
  Workspace positions_room;
  if (in.slopes) {
    positions_room = Workspace(a.keys);
    float* positions = positions_room.floats();
    std::int64_t visible = 0;
    for (std::int64_t j = 0; j < a.keys; ++j) {
      positions[j] = static_cast<float>(visible);
      visible += !in.mask || in.mask[j] != 0;
    }
    in.positions = positions;
  }
  const std::int64_t blocks = (a.rows + query_block - 1) / query_block;
  parallel(blocks * a.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      // The last rows first: they see the most keys.
      const std::int64_t head = t % a.heads, first = (blocks - 1 - t / a.heads) * query_block;
      const std::int64_t rows = std::min(query_block, a.rows - first);
      if (rows <= few_rows_most) {
        for (std::int64_t i = first; i < first + rows; ++i) one_query(a, in, head, i);
      } else {
        query_rows(a, in, head, first, rows);
      }
    }
  });
}

}  // namespace quaver::cpu
