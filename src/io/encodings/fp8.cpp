// fp8 (e4m3) with a scale for each block of rows and columns, as DeepSeek-V3 publishes its weights
// (DeepSeek-AI 2024, arXiv:2412.19437, section 3.3): weight = code * weight_scale_inv of its block.
// Without a block size one scale holds for the whole tensor. The activations, which the published
// code rounds to fp8 too, stay floats here.
#include "core/error.h"
#include "core/threads.h"
#include "io/encoding.h"

namespace quaver {
namespace {

struct BlockSize {
  std::int64_t rows = 0, cols = 0;  // 0: the whole tensor
};

BlockSize block_size(const Json& config) {
  const auto it = config.find("weight_block_size");
  if (it == config.end() || it->is_null()) return {};
  const auto is_size = [](const Json& v) {
    return v.is_number_integer() && v.get<std::int64_t>() > 0 && v.get<std::int64_t>() <= (1 << 20);
  };
  ensure_file(it->is_array() && it->size() == 2 && is_size((*it)[0]) && is_size((*it)[1]),
              "quantization_config: 'weight_block_size' is ", it->dump(),
              ", expected two positive numbers");
  return {(*it)[0].get<std::int64_t>(), (*it)[1].get<std::int64_t>()};
}

void check_fp8(const Json& config) {
  const char* where = "quantization_config";
  const std::string scheme = json_string(config, "activation_scheme", where, "dynamic");
  if (scheme != "dynamic")
    fail(Fault::unsupported, where, ": 'activation_scheme' is '", scheme,
         "': only dynamic is known, whose files hold nothing for activations");
  const std::string kind = json_string(config, "fmt", where, "e4m3");
  if (kind != "e4m3") fail(Fault::unsupported, where, ": 'fmt' is '", kind, "', expected e4m3");
  block_size(config);
}

std::int64_t blocks_of(std::int64_t size, std::int64_t block) {
  return block == 0 ? 1 : (size + block - 1) / block;
}

Shape shape_fp8(const TensorInfo& codes, const TensorInfo& scales, const Json& config) {
  const BlockSize block = block_size(config);
  ensure_file(
      codes.dtype == DType::f8_e4m3fn && codes.foreign_dtype.empty() && codes.shape.rank() == 2,
      "tensor '", codes.name, "' holds ", codes.dtype, " ", codes.shape,
      ": expected a matrix of f8_e4m3fn beside '", scales.name, "'");
  const std::int64_t rows = blocks_of(codes.shape[0], block.rows);
  const std::int64_t cols = blocks_of(codes.shape[1], block.cols);
  const bool is_float =
      scales.foreign_dtype.empty() && (scales.dtype == DType::f32 || scales.dtype == DType::bf16);
  const bool fits =
      block.rows == 0 ? scales.shape.size() == 1 : scales.shape == Shape({rows, cols});
  ensure_file(is_float && fits, "tensor '", scales.name, "' holds ", scales.dtype, " ",
              scales.shape, ", expected ", rows, " x ", cols, " of f32 or bf16");
  return codes.shape;
}

Tensor decode_fp8(const Tensor& codes, const Tensor& scales, const Json& config) {
  const BlockSize block = block_size(config);
  const std::int64_t rows = codes.dim(0), cols = codes.dim(1);
  Tensor plain = to_f32(codes);
  const Tensor factors = to_f32(scales);
  const std::int64_t across = blocks_of(cols, block.cols);
  const std::int64_t height = block.rows == 0 ? rows : block.rows;
  const std::int64_t width = block.cols == 0 ? cols : block.cols;
  float* const out = plain.data<float>().data();
  const float* const factor = factors.data<float>().data();
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t c = 0; c < cols; ++c)
        out[r * cols + c] *= factor[r / height * across + c / width];
  });
  return plain;
}

}  // namespace

extern constinit const Encoding fp8_encoding = {
    .quant_method = "fp8",
    .codes = ".weight",
    .scales = ".weight_scale_inv",
    .plain = ".weight",
    .type = DType::f32,
    .check = check_fp8,
    .shape = shape_fp8,
    .decode = decode_fp8,
};

}  // namespace quaver
