// MXFP4 (OCP Microscaling Formats 1.0), as gpt-oss stores its experts: 32 values of an input row
// share a power of two; a value is a sign and one of eight magnitudes (e2m1).
//
//   blocks u8 [experts, outputs, inputs / 32, 16]   byte: value 2i in the low half, 2i + 1 in the
//   high scales u8 [experts, outputs, inputs / 32]       exponent + 127
//
// The plain tensor is transposed, [experts, inputs, outputs], as gpt-oss without MXFP4 stores it.
// bf16 holds every value exactly, but for exponents that leave its range.
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/threads.h"
#include "io/encoding.h"

namespace quaver {
namespace {

constexpr std::int64_t block = 32;
constexpr std::array<float, 16> values = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                          -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

void check_mxfp4(const Json&) {}

Shape shape_mxfp4(const TensorInfo& codes, const TensorInfo& scales, const Json&) {
  const bool whole = codes.dtype == DType::u8 && codes.foreign_dtype.empty() &&
                     codes.shape.rank() == 4 && codes.shape[3] == block / 2;
  ensure_file(whole, "tensor '", codes.name, "' holds ", codes.dtype, " ", codes.shape,
              ", expected u8 [experts, outputs, inputs / 32, 16]");
  ensure_file(scales.dtype == DType::u8 && scales.foreign_dtype.empty() &&
                  scales.shape == Shape({codes.shape[0], codes.shape[1], codes.shape[2]}),
              "tensor '", scales.name, "' holds ", scales.dtype, " ", scales.shape,
              ": it does not fit '", codes.name, "' of ", codes.shape);
  return {codes.shape[0], codes.shape[2] * block, codes.shape[1]};
}

Tensor decode_mxfp4(const Tensor& codes, const Tensor& scales, const Json&) {
  const std::int64_t experts = codes.dim(0), outputs = codes.dim(1), groups = codes.dim(2);
  Tensor plain = Tensor::raw({experts, groups * block, outputs}, DType::bf16);
  const std::uint8_t* const code = codes.data<std::uint8_t>().data();
  const std::uint8_t* const scale = scales.data<std::uint8_t>().data();
  BFloat16* const out = plain.data<BFloat16>().data();
  // A task is a group of one expert's inputs: it writes `block` whole rows of outputs.
  parallel_for(experts * groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t expert = task / groups, group = task % groups;
      for (std::int64_t o = 0; o < outputs; ++o) {
        const std::int64_t at = (expert * outputs + o) * groups + group;
        const float factor = scale[at] == 255 ? std::numeric_limits<float>::quiet_NaN()
                                              : std::ldexp(1.0f, int{scale[at]} - 127);
        for (std::int64_t i = 0; i < block; ++i) {
          const std::uint8_t byte = code[at * (block / 2) + i / 2];
          const float value = values[i % 2 == 0 ? byte & 15 : byte >> 4] * factor;
          out[(expert * groups * block + group * block + i) * outputs + o] = to_bfloat16(value);
        }
      }
    }
  });
  return plain;
}

}  // namespace

extern constinit const Encoding mxfp4_encoding = {
    .quant_method = "mxfp4",
    .codes = "_blocks",
    .scales = "_scales",
    .plain = "",
    .type = DType::bf16,
    .check = check_mxfp4,
    .shape = shape_mxfp4,
    .decode = decode_mxfp4,
};

}  // namespace quaver
