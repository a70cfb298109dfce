// Causal attention. A task is one head and a block of queries: their scores against every key they
// may see are one product, softmax goes over whole rows, and a second product takes the values.
#include <algorithm>
#include <limits>

#include "kernels/cpu/drivers.h"

namespace quaver::cpu {
namespace {

constexpr std::int64_t query_block = 48;  // whole tiles of 6 and 12 rows
constexpr float hidden = -std::numeric_limits<float>::infinity();

struct Inputs {
  const float *q, *k, *v;
  float* y;
  const float* positions;    // visible keys before each key; null: no slopes
  const std::uint8_t* mask;  // null: all visible
  const float* slopes;
};

// What is added to the scores of one head: [keys], or null for nothing.
const float* added(const AttentionArgs& a, const Inputs& in, std::int64_t head, float* room) {
  if (!in.mask && !in.slopes) return nullptr;
  for (std::int64_t j = 0; j < a.keys; ++j) {
    const bool visible = !in.mask || in.mask[j] != 0;
    room[j] = !visible ? hidden : in.slopes ? in.slopes[head] * in.positions[j] : 0.0f;
  }
  return room;
}

void one_query(const AttentionArgs& a, const Inputs& in, std::int64_t head, std::int64_t row) {
  const std::int64_t kv_head = head / (a.heads / a.kv_heads), stride = a.kv_heads * a.head_dim;
  const std::int64_t seen = a.keys - a.rows + row + 1, d = a.head_dim;
  const Workspace scores_room(2 * a.keys);
  float* scores = scores_room.floats();
  const std::int64_t at = (row * a.heads + head) * d;
  kernels().dot({.x = in.q + at,
                 .w = in.k + kv_head * d,
                 .bias = nullptr,
                 .y = scores,
                 .x_row = d,
                 .w_row = stride,
                 .ldy = seen,
                 .m = 1,
                 .n = seen,
                 .k = d,
                 .type = Element::f32});
  kernels().softmax(scores, added(a, in, head, scores + a.keys), a.scale, seen);
  kernels().weighted_sum(scores, in.v + kv_head * d, stride, seen, d, in.y + at);
}

void query_rows(const AttentionArgs& a, const Inputs& in, std::int64_t head, std::int64_t first,
                std::int64_t rows) {
  const std::int64_t kv_head = head / (a.heads / a.kv_heads), stride = a.kv_heads * a.head_dim;
  const std::int64_t d = a.head_dim, before = a.keys - a.rows + first + 1;
  const std::int64_t seen = before + rows - 1;  // by the last row
  const Workspace scores_room(rows * seen + a.keys);
  float* scores = scores_room.floats();
  const float* add = added(a, in, head, scores + rows * seen);
  const Strided k{.data = in.k + kv_head * d, .row = stride, .col = 1};
  const Strided v{.data = in.v + kv_head * d, .row = 1, .col = stride};
  const std::int64_t at = (first * a.heads + head) * d, width = kernels().tile_cols;
  multiply({.x = {.data = in.q + at, .row = a.heads * d, .col = 1},
            .pack = [&](std::int64_t j, std::int64_t count,
                        float* panel) { kernels().pack(k, j, count, d, width, false, panel); },
            .y = scores,
            .m = rows,
            .n = seen,
            .k = d,
            .ldy = seen});
  for (std::int64_t i = 0; i < rows; ++i) {
    kernels().softmax(scores + i * seen, add, a.scale, before + i);
    std::fill(scores + i * seen + before + i, scores + (i + 1) * seen, 0.0f);
  }
  multiply({.x = {.data = scores, .row = seen, .col = 1},
            .pack = [&](std::int64_t j, std::int64_t count,
                        float* panel) { kernels().pack(v, j, count, seen, width, false, panel); },
            .y = in.y + at,
            .m = rows,
            .n = d,
            .k = seen,
            .ldy = a.heads * d});
}

}  // namespace

void attention(Stream, const AttentionArgs& a) {
  if (a.rows <= 0 || a.heads <= 0) return;
  Inputs in{.q = host<const float>(a.q),
            .k = host<const float>(a.k),
            .v = host<const float>(a.v),
            .y = host<float>(a.y),
            .positions = nullptr,
            .mask = host<const std::uint8_t>(a.mask),
            .slopes = host<const float>(a.slopes)};
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
      if (rows < 4) {
        for (std::int64_t i = first; i < first + rows; ++i) one_query(a, in, head, i);
      } else {
        query_rows(a, in, head, first, rows);
      }
    }
  });
}

}  // namespace quaver::cpu
