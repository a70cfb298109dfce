#pragma once
// Checkpoints as named tensors: where they come from and where they go.
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace quaver {

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::string file;  // name of the file inside the checkpoint; empty: none
  // The file's name of an element type that DType lacks ("F8_E8M0"): such a tensor is listed, with
  // dtype u8, but read() refuses it. Empty otherwise.
  std::string foreign_dtype = {};
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual std::span<const TensorInfo> tensors() const = 0;          // sorted by name
  virtual const TensorInfo* find(std::string_view name) const = 0;  // null if absent
  // The tensor in host memory, a read-only view of the file where its bytes are aligned for their
  // type. Throws Error(bad_file) if it is absent, Error(unsupported) for a foreign type.
  virtual Tensor read(std::string_view name) const = 0;
};

class TensorSink {
 public:
  virtual ~TensorSink() = default;
  virtual void write(std::string_view name, const Tensor& host) = 0;  // each name once
  virtual void finish() = 0;  // nothing is complete before; once, at the end
};

// One file. Symbolic links are followed to a regular file (the Hugging Face cache consists of
// them). Throws Error(bad_file) on anything that the format forbids.
std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& file);

// One file that torch.save wrote, such as pytorch_model.bin. Nothing in it is executed: see
// torch_file.h. Tensors that are not row-major there are copied.
std::unique_ptr<TensorSource> open_torch_file(const std::filesystem::path& file);

// A directory: model.safetensors, else the shards of model.safetensors.index.json, else AutoGPTQ's
// gptq_model-*.safetensors (one, or the shards of its index, or .bin), else the one that
// quantize_config.json names (model_file_base_name), else one whose name tells its bits
// ("llama-7b-4bit-128g.safetensors"), else pytorch_model.bin, else the shards of
// pytorch_model.bin.index.json. The error where none is there says what was looked for.
std::unique_ptr<TensorSource> open_checkpoint(const std::filesystem::path& directory);

// What open_checkpoint opens, by name: one file of weights, or the index of several. Both empty:
// there is none.
struct WeightNames {
  std::string single, index;
};
WeightNames find_weights(const std::filesystem::path& directory);

}  // namespace quaver
