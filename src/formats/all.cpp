// The table of layouts, and what follows from the neutral form alone.
#include <array>

#include "core/threads.h"
#include "formats/format.h"

namespace quaver {

extern const Format gptq_v1, gptq_v2, gptq_planar, lines;  // one family per file in this folder

namespace {
constinit const std::array<const Format*, 3> all = {&gptq_v1, &gptq_v2, &gptq_planar};
constinit const std::array<const Format*, 1> in_memory = {&lines};
}  // namespace

std::span<const Format* const> formats() { return all; }

const Format& find_format(std::string_view name) {
  std::string known;
  for (const Format* format : all) {
    if (format->name == name) return *format;
    known += text(known.empty() ? "" : ", ", format->name);
  }
  for (const Format* format : in_memory)
    if (format->name == name) return *format;
  fail(Fault::unsupported, "[format] unknown format '", name, "'; known: ", known);
}

std::int64_t group_count(const Scheme& scheme, std::int64_t cols) {
  ensure(scheme.group_size == -1 || scheme.group_size > 0, "[format] group_size ",
         scheme.group_size, "; expected -1 or a positive number");
  if (scheme.group_size == -1 || cols == 0) return cols == 0 ? 0 : 1;
  return (cols - 1) / scheme.group_size + 1;
}

Tensor dequantized(const Quantized& q) {
  const std::int64_t groups = group_count(q.scheme, q.cols);
  const std::int64_t group_size = q.scheme.group_size == -1 ? q.cols : q.scheme.group_size;
  Tensor w = Tensor::raw({q.rows, q.cols});
  float* out = w.data<float>().data();
  const std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  const float* scales = q.scales.data<float>().data();
  const float* zeros = q.zeros.data<float>().data();
  const std::int32_t* index = q.group_index ? q.group_index.data<std::int32_t>().data() : nullptr;
  parallel_for(q.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float *scale = scales + r * groups, *zero = zeros + r * groups;
      const std::uint8_t* code = codes + r * q.cols;
      float* value = out + r * q.cols;
      if (index) {
        for (std::int64_t c = 0; c < q.cols; ++c)
          value[c] = (static_cast<float>(code[c]) - zero[index[c]]) * scale[index[c]];
        continue;
      }
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t last = std::min(q.cols, (g + 1) * group_size);
        for (std::int64_t c = g * group_size; c < last; ++c)
          value[c] = (static_cast<float>(code[c]) - zero[g]) * scale[g];
      }
    }
  });
  return w;
}

Quantized rows_of(const Quantized& q, std::int64_t begin, std::int64_t end) {
  return {.scheme = q.scheme,
          .rows = end - begin,
          .cols = q.cols,
          .codes = q.codes.rows(begin, end),
          .scales = q.scales.rows(begin, end),
          .zeros = q.zeros.rows(begin, end),
          .group_index = q.group_index};
}

Packed empty_packed(const Format& format, const Scheme& scheme, std::int64_t rows,
                    std::int64_t cols) {
  Packed p{.format = &format, .scheme = scheme, .rows = rows, .cols = cols};
  for (const PartInfo& part : format.parts(scheme, rows, cols))
    p.parts.emplace(part.name, Tensor::raw(part.shape, part.dtype));
  return p;
}

}  // namespace quaver
