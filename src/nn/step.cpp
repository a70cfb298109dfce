#include "nn/step.h"

#include <algorithm>
#include <cmath>

#include "ops/ops.h"

namespace quaver {

std::int64_t Step::length() const {
  const auto at = positions.data<std::int32_t>();
  return at.empty() ? 0 : std::int64_t{*std::ranges::max_element(at)} + 1;
}

const RopeTables& Step::rope(const Tensor& inverse_frequencies, float attention_factor) {
  const auto same = [&](const Tensor& known) {
    return known.shape() == inverse_frequencies.shape() &&
           std::ranges::equal(known.data<float>(), inverse_frequencies.data<float>());
  };
  for (const CachedRope& known : ropes)
    if (known.factor == attention_factor && same(known.frequencies)) return known.tables;
  const std::int64_t rows = positions.dim(0), half = inverse_frequencies.dim(-1);
  Tensor cos = Tensor::raw({rows, half}), sin = Tensor::raw({rows, half});
  const auto at = positions.data<std::int32_t>();
  auto frequency = inverse_frequencies.data<float>();
  const auto c = cos.data<float>(), s = sin.data<float>();
  auto sequence = sequences.begin();
  std::int64_t end = sequence == sequences.end() ? rows : sequence->rows;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (; inverse_frequencies.shape().rank() == 2 && r == end; end += (++sequence)->rows)
      frequency = frequency.subspan(static_cast<std::size_t>(half));
    for (std::int64_t i = 0; i < half; ++i) {
      // The product is rounded to f32 first, as the reference implementations do.
      const float angle = static_cast<float>(at[r]) * frequency[i];
      c[r * half + i] = std::cos(angle) * attention_factor;
      s[r * half + i] = std::sin(angle) * attention_factor;
    }
  }
  ropes.push_back(
      {inverse_frequencies, attention_factor, {moved_to(cos, device), moved_to(sin, device)}});
  return ropes.back().tables;
}

}  // namespace quaver
