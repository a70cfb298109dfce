#pragma once
// What evaluation reads off logits.
#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace quaver {

struct RowScore {
  double nll = 0;           // -log softmax(row)[target], nats
  std::int32_t argmax = 0;  // the first of equal maxima
};

// logits f32 [m, vocabulary] on any device, one target a row.
void score_rows(const Tensor& logits, std::span<const std::int32_t> targets,
                std::span<RowScore> out);

// KL(reference || model) of each row in nats, and whether both have the same argmax.
void kl_rows(const Tensor& reference, const Tensor& model, std::span<double> kl,
             std::span<std::uint8_t> same_top);

}  // namespace quaver
