#pragma once
// Weights that a checkpoint stores as codes and block scales and that are read as plain tensors:
// the model computes with the floats that the codes stand for. An encoding is one file in
// encodings/ and one row of the table in encodings/all.cpp. (Layouts that kernels compute from are
// formats, and dialects describe them.)
#include <memory>
#include <span>
#include <string_view>

#include "core/json.h"
#include "io/checkpoint.h"

namespace quaver {

struct Encoding {
  std::string_view quant_method;  // quantization_config.quant_method
  // Endings of the names of the codes, of their scales, and of the plain tensor.
  std::string_view codes, scales, plain;
  DType type;  // of the plain tensor: one that holds its values exactly
  // Refuses settings that mean something else than decode() computes: throws Error(unsupported).
  void (*check)(const Json& quantization_config);
  // The plain tensor's shape; throws Error(bad_file) where codes and scales do not fit each other.
  Shape (*shape)(const TensorInfo& codes, const TensorInfo& scales,
                 const Json& quantization_config);
  Tensor (*decode)(const Tensor& codes, const Tensor& scales, const Json& quantization_config);
};

std::span<const Encoding* const> encodings();
// By quant_method of what read_quantization gave; null where it is none of the table's.
const Encoding* find_encoding(const Json& quantization_config);

// The tensors of `source`, those of this encoding decoded. The last tensors that were decoded are
// kept, since experts are read out of stacks one by one.
std::unique_ptr<TensorSource> decoded(std::unique_ptr<TensorSource> source,
                                      const Encoding& encoding, Json quantization_config);

}  // namespace quaver
