#include "quant/matrix.h"

#include <vector>

#include "core/threads.h"
#include "ops/ops.h"

namespace quaver {

View view_of(Tensor& t) { return {t.data<float>().data(), t.dim(0), t.dim(1), t.dim(1), 1}; }

void multiply(const View& x, const View& w, const View& y, GemmArgs::Into into, bool lower_only) {
  if (y.rows == 0 || y.cols == 0) return;
  cpu_backend.ops(0).gemm(Stream{}, {.x = {x.data, 0},
                                     .w = {w.data, 0},
                                     .y = {y.data, 0},
                                     .m = y.rows,
                                     .n = y.cols,
                                     .k = x.cols,
                                     .x_row = x.row_stride,
                                     .x_col = x.col_stride,
                                     .w_row = w.row_stride,
                                     .w_col = w.col_stride,
                                     .ldy = y.row_stride,
                                     .into = into,
                                     .lower_only = lower_only});
}

double weighted_square(const Tensor& h, const Tensor& x) {
  const std::int64_t n = h.dim(0);
  Tensor gram({n, n});
  add_gram(gram, x);
  const float* a = h.data<float>().data();
  const float* b = gram.data<float>().data();
  std::vector<double> sums(static_cast<std::size_t>(n));
  parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      double sum = 0;
      for (std::int64_t c = 0; c < r; ++c) sum += double{a[r * n + c]} * b[r * n + c];
      sums[static_cast<std::size_t>(r)] = 2 * sum + double{a[r * n + r]} * b[r * n + r];
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace quaver
