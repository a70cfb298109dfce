#pragma once
// What torch.save writes, as a listing of tensors. Since PyTorch 1.6 a zip archive:
//   TOP/data.pkl | TOP/byteorder | TOP/data/0 | TOP/data/1 | ...   a pickle, and bytes of storages
// and before that one pickle after the other, then the storages:
//   magic number | version | about the machine | the object | keys | (i64 count | bytes) a key
// Tensors are views of storages, with strides.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace quaver {

struct TorchType {           // one element type of PyTorch
  std::string_view name;     // in a pickle: "torch float32"
  std::string_view storage;  // "torch FloatStorage"; empty: only UntypedStorage holds it
  std::size_t bytes = 0;
  std::optional<DType> dtype;  // absent: DType has no such element
};

struct TorchTensor {
  std::string name;
  const TorchType* type = nullptr;
  Shape shape;
  std::array<std::int64_t, 6> strides{};  // elements, not negative
  // Bytes of the file: the first element's, and those of the storage around it, where every element
  // lies.
  std::uint64_t begin = 0, storage_begin = 0, storage_end = 0;

  std::uint64_t bytes() const { return static_cast<std::uint64_t>(shape.size()) * type->bytes; }
  bool is_dense() const;  // the elements lie in row-major order without gaps
};

// Elements that strides repeat may make a tensor larger than what is stored, but not above this.
inline constexpr std::uint64_t max_repeated_bytes = 256'000'000;

// The tensors of the state dict, sorted by name. It is what the object has under one of the keys
// that training programs use, state_dict, model_state_dict, model or module, or else the object
// itself. Values that are not tensors are passed over. `file` is all of the file. Throws Error that
// begins with `where`: unsupported for what only Python can read, bad_file for what contradicts
// itself.
std::vector<TorchTensor> parse_torch_file(std::span<const std::byte> file, std::string_view where);

// A row-major copy of a tensor of the same file; its type has a DType.
Tensor copied(const TorchTensor& tensor, std::span<const std::byte> file);

}  // namespace quaver
