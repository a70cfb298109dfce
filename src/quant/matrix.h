#pragma once
// Views of f32 matrices, and the one product that the solvers are built of.
#include <cstdint>

#include "kernels/backend.h"

namespace quaver {

// Rows and columns of host memory that lie any strides apart. Borrows.
struct View {
  float* data = nullptr;
  std::int64_t rows = 0, cols = 0;
  std::int64_t row_stride = 0, col_stride = 1;

  float& operator()(std::int64_t r, std::int64_t c) const {
    return data[r * row_stride + c * col_stride];
  }
  View block(std::int64_t row, std::int64_t col, std::int64_t count, std::int64_t width) const {
    return {&(*this)(row, col), count, width, row_stride, col_stride};
  }
  View transposed() const { return {data, cols, rows, col_stride, row_stride}; }
};

View view_of(Tensor& t);  // f32, rank 2, on the host

// y (=, += or -=) x * w^T, for x [m, k], w [n, k], y [m, n] with consecutive columns. With
// `lower_only` what stands above y's diagonal is unspecified. The same bits for any number of
// threads.
void multiply(const View& x, const View& w, const View& y,
              GemmArgs::Into into = GemmArgs::Into::store, bool lower_only = false);

// Trace of x h x^T for x [m, n] and the symmetric h [n, n] of which the lower triangle is valid.
double weighted_square(const Tensor& h, const Tensor& x);

}  // namespace quaver
