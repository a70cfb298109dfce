#pragma once
// Matrices that the tests of the solvers are made of.
#include "formats/format.h"
#include "ops/ops.h"
#include "quant/matrix.h"

namespace quaver {

// The generator of the golden vectors' inputs: [rows, cols] values in [-1, 1).
inline Tensor golden_matrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  Tensor t({rows, cols});
  for (float& v : t.data<float>()) {
    seed = 1664525u * seed + 1013904223u;
    v = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return t;
}

inline Tensor product(Tensor a, Tensor b) {  // a [m, k] * b [k, n]
  Tensor y({a.dim(0), b.dim(1)});
  multiply(view_of(a), view_of(b).transposed(), view_of(y));
  return y;
}

inline Tensor gram_of(const Tensor& x) {
  Tensor h({x.dim(1), x.dim(1)});
  add_gram(h, x);
  return h;
}

// Inputs whose columns are correlated, and of very different sizes.
inline Tensor correlated(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  Tensor mix = golden_matrix(cols, cols, seed + 1);
  float* values = mix.data<float>().data();
  for (std::int64_t i = 0; i < cols; ++i)
    for (std::int64_t j = 0; j < cols; ++j)
      values[i * cols + j] = (0.5f * values[i * cols + j] + (i == j ? 1.0f : 0.0f)) *
                             (1 + 3 * static_cast<float>((j * 7) % 11) / 11);
  return product(golden_matrix(rows, cols, seed), mix);
}

inline double loss(const Tensor& w, const Tensor& h, const Quantized& q) {
  Tensor lost = dequantized(q);
  float* difference = lost.data<float>().data();
  for (std::size_t i = 0; const float v : w.data<float>()) difference[i++] -= v;
  return weighted_square(h, lost);
}

}  // namespace quaver
