// Matrix products. Both operands are first packed into panels as wide as the register tile, for
// all of k, in parallel; then tasks of fixed size compute blocks of y, k in steps. Every output is
// one chain of multiply-adds in the order of p, which goes through y between the steps, so no cut
// changes a bit.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/drivers.h"

namespace quaver::cpu {
namespace {

constexpr std::int64_t block_rows = 48;         // of a task; with a k_step, 384 KiB of x in L2
constexpr std::int64_t block_cols = 128;        // of a task, at most
constexpr std::int64_t few_tasks = 48;          // below, tasks are made smaller
constexpr std::int64_t most_floats = 16 << 20;  // of packed panels of x, and of w
constexpr std::int64_t dot_floats = 32 << 10;   // of w in a task of these
constexpr std::int64_t pack_floats = 16 << 10;  // of panels in a task of packing

// k of one pass over a task. Between passes the sums go through y, whose rows often share a cache
// set: long passes pay more than a panel of w that fits in the L1 cache. 192 to 4096 were measured.
constexpr std::int64_t k_step = 2048;

std::int64_t up(std::int64_t size, std::int64_t unit) { return (size + unit - 1) / unit; }

// Rows and columns of y that are computed from one filling of the two workspaces.
struct Block {
  std::int64_t row, rows, col, cols;
  const float *x, *w;  // panels
};

void compute_task(const PanelProduct& p, const Block& b, std::int64_t row, std::int64_t rows,
                  std::int64_t col, std::int64_t cols) {
  const Kernels& k = kernels();
  const std::int64_t mr = k.tile_rows, nr = k.tile_cols;
  if (p.lower_only && b.col + col > b.row + row + rows - 1) return;
  std::int64_t at = 0;
  do {
    const std::int64_t step = std::min(k_step, p.k - at);
    const bool last = at + step >= p.k;
    for (std::int64_t j = col; j < col + cols; j += nr) {
      for (std::int64_t i = row; i < row + rows; i += mr) {
        const std::int64_t m = std::min(mr, row + rows - i), n = std::min(nr, col + cols - j);
        if (p.lower_only && b.col + j > b.row + i + m - 1) continue;
        k.tile({.x = b.x + i * p.k + at * mr,
                .w = b.w + j * p.k + at * nr,
                .y = p.y + (b.row + i) * p.ldy + b.col + j,
                .bias = last && p.bias ? p.bias + b.col + j : nullptr,
                .ldy = p.ldy,
                .m = m,
                .n = n,
                .k = step,
                .resume = p.resume || at > 0});
      }
    }
    at += step;
  } while (at < p.k);
}

void compute(const PanelProduct& p, const Block& b) {
  const Kernels& k = kernels();
  const std::int64_t task_rows = up(block_rows, k.tile_rows) * k.tile_rows;
  const std::int64_t down = up(b.rows, task_rows);
  std::int64_t task_cols = block_cols;
  while (task_cols > 2 * k.tile_cols && down * up(b.cols, task_cols) < few_tasks) task_cols /= 2;
  const std::int64_t across = up(b.cols, task_cols);
  parallel(down * across, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      // The lowest rows first: with lower_only they have the most to do.
      const std::int64_t row = (down - 1 - t % down) * task_rows, col = t / down * task_cols;
      compute_task(p, b, row, std::min(task_rows, b.rows - row), col,
                   std::min(task_cols, b.cols - col));
    }
  });
}

void pack_x(const PanelProduct& p, std::int64_t row, std::int64_t rows, float* out) {
  const Kernels& k = kernels();
  const std::int64_t mr = k.tile_rows;
  const std::int64_t grain =
      std::max<std::int64_t>(1, pack_floats / std::max<std::int64_t>(1, p.k * mr));
  parallel(up(rows, mr), grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * mr; i < std::min(rows, end * mr); i += mr)
      k.pack(p.x, row + i, std::min(mr, rows - i), p.k, mr, p.negate, out + i * p.k);
  });
}

void pack_w(const PanelProduct& p, std::int64_t col, std::int64_t cols, float* out) {
  const std::int64_t nr = kernels().tile_cols;
  const std::int64_t grain =
      std::max<std::int64_t>(1, pack_floats / std::max<std::int64_t>(1, p.k * nr));
  parallel(up(cols, nr), grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin * nr; j < std::min(cols, end * nr); j += nr)
      p.pack(col + j, std::min(nr, cols - j), out + j * p.k);
  });
}

// As many whole tiles as fit in `floats`, at least one, spread evenly over the total.
std::int64_t block_size(std::int64_t total, std::int64_t tile, std::int64_t k,
                        std::int64_t floats) {
  const std::int64_t tiles = up(total, tile);
  const std::int64_t fit = std::max<std::int64_t>(1, floats / std::max<std::int64_t>(1, tile * k));
  return up(tiles, up(tiles, std::min(fit, tiles))) * tile;
}

void few_rows(const GemmArgs& a) {
  const auto* x = host<const float>(a.x);
  std::int64_t x_row = a.x_row;
  Workspace copy_room;
  if (a.x_col != 1) {
    copy_room = Workspace(a.m * a.k);
    float* copy = copy_room.floats();
    for (std::int64_t i = 0; i < a.m; ++i)
      for (std::int64_t p = 0; p < a.k; ++p) copy[i * a.k + p] = x[i * a.x_row + p * a.x_col];
    x = copy;
    x_row = a.k;
  }
  const auto* w = host<const std::byte>(a.w);
  const auto w_bytes = static_cast<std::int64_t>(size_of(a.w_type)) * a.w_row;
  const auto* bias = host<const float>(a.bias);
  auto* y = host<float>(a.y);
  const std::int64_t grain = std::clamp<std::int64_t>(dot_floats / a.k, 4, 4096);
  parallel(a.n, grain, [&](std::int64_t begin, std::int64_t end) {
    kernels().dot({.x = x,
                   .w = w + begin * w_bytes,
                   .bias = bias ? bias + begin : nullptr,
                   .y = y + begin,
                   .x_row = x_row,
                   .w_row = a.w_row,
                   .ldy = a.ldy,
                   .m = a.m,
                   .n = end - begin,
                   .k = a.k,
                   .type = element_of(a.w_type)});
  });
}

}  // namespace

void multiply(const PanelProduct& p) {
  if (p.m <= 0 || p.n <= 0) return;
  const Kernels& k = kernels();
  const std::int64_t rows_a_time = block_size(p.m, k.tile_rows, p.k, most_floats);
  const std::int64_t cols_a_time =
      block_size(p.n, k.tile_cols, p.k, p.most_w_floats > 0 ? p.most_w_floats : most_floats);
  const Workspace x_room(rows_a_time * p.k);
  float* x = x_room.floats();
  const Workspace w_room(cols_a_time * p.k);
  float* w = w_room.floats();
  const bool whole_w = cols_a_time >= p.n;
  if (whole_w) pack_w(p, 0, p.n, w);
  for (std::int64_t row = 0; row < p.m; row += rows_a_time) {
    const std::int64_t rows = std::min(rows_a_time, p.m - row);
    pack_x(p, row, rows, x);
    for (std::int64_t col = 0; col < p.n; col += cols_a_time) {
      const std::int64_t cols = std::min(cols_a_time, p.n - col);
      if (p.lower_only && col > row + rows - 1) break;
      if (!whole_w) pack_w(p, col, cols, w);
      compute(p, {.row = row, .rows = rows, .col = col, .cols = cols, .x = x, .w = w});
    }
  }
}

void gemm(Stream, const GemmArgs& a) {
  if (a.m <= 0 || a.n <= 0) return;
  const bool store = a.into == GemmArgs::Into::store;
  if (a.k == 0 && !store) return;
  if (a.m <= few_rows_most && store && !a.lower_only && a.w_col == 1 && a.k > 0) return few_rows(a);
  const Strided w{
      .data = host<const void>(a.w), .row = a.w_row, .col = a.w_col, .type = element_of(a.w_type)};
  multiply({.x = {.data = host<const void>(a.x), .row = a.x_row, .col = a.x_col},
            .pack =
                [&](std::int64_t first, std::int64_t count, float* panel) {
                  kernels().pack(w, first, count, a.k, kernels().tile_cols, false, panel);
                },
            .y = host<float>(a.y),
            .bias = store ? host<const float>(a.bias) : nullptr,
            .m = a.m,
            .n = a.n,
            .k = a.k,
            .ldy = a.ldy,
            .resume = !store,
            .negate = a.into == GemmArgs::Into::subtract,
            .lower_only = a.lower_only});
}

}  // namespace quaver::cpu
