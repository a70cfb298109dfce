#pragma once
// GPTQ's column loop for one weight.
#include <cstdint>
#include <span>
#include <vector>

#include "quant/factor.h"
#include "quant/pass.h"

namespace quaver {

struct GptqSettings {
  double damp = 0.01;
  bool desc_act = false;        // columns by falling diag(H), groups are runs in that order
  bool act_group_aware = true;  // the same within and between groups, which stay where they are
  bool weighted_search = true;  // scales by least weighted error
};

// The order in which columns are quantized: entry i is the column that comes i-th.
std::vector<std::int32_t> column_order(const Tensor& hessian, const Scheme& scheme,
                                       const GptqSettings& settings);

// Quantizes w f32 [rows, cols] with the factor of H[order, order].
Quantized gptq_quantize(const Tensor& w, const Scheme& scheme, const Format& format,
                        const InverseFactor& factor, std::span<const std::int32_t> order,
                        const GptqSettings& settings);

}  // namespace quaver
