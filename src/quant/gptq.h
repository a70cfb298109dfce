#pragma once
// GPTQ's column loop for one weight.
#include <cstdint>
#include <span>
#include <vector>

#include "quant/factor.h"
#include "quant/grid.h"
#include "quant/pass.h"

namespace quaver {

struct GptqSettings {
  double damp = 0.01;
  bool desc_act = false;        // columns by falling diag(H), groups are runs in that order
  bool act_group_aware = true;  // the same within and between groups, which stay where they are
  Search search = Search::weighted;
  bool static_groups = false;  // grids from the weights as they were, groups in their own order
  bool as_autogptq = false;    // its grids from weights that lack the current block's errors, its
                               // dead columns, scales rounded only when they are stored
  int coordinate_descent = 0;  // rounds of it after the columns
  double stream_target = 0;    // how far weights go to where they undo earlier linears' errors
};

// What the solver knows about a linear's inputs, in the order of `order`.
struct GptqInputs {
  std::vector<std::int32_t> order;
  InverseFactor factor;
  Tensor damped;  // f32 [n, n]: the damped H, both triangles; empty without coordinate descent
};
// `dead_value`: see inverse_factor.
GptqInputs gptq_inputs(const Tensor& hessian, const Scheme& scheme, const GptqSettings& settings,
                       double dead_value = 0);

// The order in which columns are quantized: entry i is the column that comes i-th.
std::vector<std::int32_t> column_order(const Tensor& hessian, const Scheme& scheme,
                                       const GptqSettings& settings);

// Quantizes w f32 [rows, cols], given inputs whose factor did not fail. `loss` gets the sum over
// rows of (w - q) H (w - q)^T for the damped H, as it is before coordinate descent.
Quantized gptq_quantize(const Tensor& w, const Scheme& scheme, const Format& format,
                        const GptqInputs& inputs, const GptqSettings& settings,
                        double* loss = nullptr);

// w + share * (w* - w), where w* is the weight that, on the quantized stream's inputs x_q, best
// gives what w gives on the exact stream's x_f: with `cross` f32 [n, n] the mean of (x_f - x_q)
// x_q^T, w* - w = w cross (H + damp)^-1. The idea of an asymmetric calibration is GPTAQ's (Li et
// al. 2025).
Tensor shifted_target(const Tensor& w, const Tensor& cross, const GptqInputs& inputs, double share);

}  // namespace quaver
