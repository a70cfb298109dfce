#pragma once
// What a checkpoint is, without computing with it.
#include <string>

#include "core/json.h"

namespace quaver {

struct InspectOptions {
  bool tensors = false, kernels = false;
  std::string arch_file;  // LoadOptions::arch_file
};

// {"model", "architecture", "model_type", "shape": {"layers", "hidden", "heads", "kv_heads",
// "vocabulary", "context"}, "parameters", "weight_bytes", "weight_files", "bits_per_weight",
// "quantization": {"method", "format", "bits", "group_size"} | null, "stored_as": "fp8", "mxfp4" or
// null where plain weights are not encoded, "modules": [{"name", "shape",
// "form", "bits", "group_size", "bytes"}], "tokenizer": {"file", "vocabulary"} | null}; with
// `tensors` also "tensors": [{"name", "dtype", "shape", "bytes"}]; with `kernels` modules have
// "kernel_many" and "kernel_one" too. Throws Error as loading the model does.
Json inspect_model(const std::string& directory, const InspectOptions& options);

}  // namespace quaver
