#pragma once
// The factor of the inverse Hessian that GPTQ walks along.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace quaver {

struct InverseFactor {
  Tensor upper;                 // f32 [n, n]: U with U^T U = H^-1, zeros below the diagonal
  double damp = 0;              // what it took, as a share of the live diagonal's mean
  std::int64_t dead = 0;        // inputs that were always zero
  std::string failure;          // why there is no factor; empty: there is one
  double condition = 0;         // of the damped H, at least: from U's diagonal
  std::vector<float> diagonal;  // of the damped H, in the order of `order`
};

// Factors H[order, order] of the symmetric f32 [n, n] `hessian` (lower triangle valid), after every
// zero on the diagonal is replaced by the mean of the others, and damp * mean is added. Where that
// is not positive definite in single precision, damp grows tenfold up to 1, and at last double
// precision is tried. With a `dead_value`
// zeros on the diagonal become that and count in the mean, as AutoGPTQ has it. Never throws on
// numbers.
InverseFactor inverse_factor(const Tensor& hessian, std::span<const std::int32_t> order,
                             double damp, double dead_value = 0);

}  // namespace quaver
