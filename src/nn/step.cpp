#include "nn/step.h"

#include <algorithm>
#include <cmath>

#include "ops/ops.h"

namespace quaver {

std::vector<std::int64_t> Step::lengths() const {
  const auto at = positions.data<std::int32_t>();
  std::vector<std::int64_t> all;
  std::size_t row = 0;
  for (const SequenceRows& s : sequences) {
    const auto mine = at.subspan(row, static_cast<std::size_t>(s.rows));
    const std::int64_t seen = mine.empty() ? 0 : std::int64_t{*std::ranges::max_element(mine)} + 1;
    all.push_back(std::max(seen, s.text));
    row += mine.size();
  }
  return all;
}

const RopeTables& Step::rope(const std::vector<Tensor>& frequencies, float attention_factor) {
  const auto same = [](const Tensor& a, const Tensor& b) {
    return std::ranges::equal(a.data<float>(), b.data<float>());
  };
  for (const CachedRope& known : ropes)
    if (known.factor == attention_factor &&
        std::ranges::equal(known.frequencies, frequencies, same))
      return known.tables;
  const std::int64_t rows = positions.dim(0), half = frequencies.front().dim(0);
  Tensor cos = Tensor::raw({rows, half}), sin = Tensor::raw({rows, half});
  const auto at = positions.data<std::int32_t>();
  const auto c = cos.data<float>(), s = sin.data<float>();
  std::int64_t begin = 0;
  for (std::size_t part = 0; part < frequencies.size(); ++part) {
    const std::int64_t end = frequencies.size() == 1 ? rows : begin + sequences[part].rows;
    const auto frequency = frequencies[part].data<float>();
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t i = 0; i < half; ++i) {
        // The product is rounded to f32 first, as the reference implementations do.
        const float angle = static_cast<float>(at[r]) * frequency[i];
        c[r * half + i] = std::cos(angle) * attention_factor;
        s[r * half + i] = std::sin(angle) * attention_factor;
      }
    begin = end;
  }
  ropes.push_back({frequencies, attention_factor, {moved_to(cos, device), moved_to(sin, device)}});
  return ropes.back().tables;
}

}  // namespace quaver
