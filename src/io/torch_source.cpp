// One file of torch.save as a TensorSource.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/mapped_file.h"
#include "io/checkpoint.h"
#include "io/safetensors_header.h"
#include "io/torch_file.h"

namespace quaver {
namespace {

// Writes the elements of a strided view in row-major order.
template <std::size_t bytes>
void gather(const TorchTensor& view, const std::byte* from, std::byte* to) {
  const int rank = view.shape.rank();
  const std::int64_t columns = rank > 0 ? view.shape[-1] : 1;
  const std::int64_t stride = rank > 0 ? view.strides[static_cast<std::size_t>(rank - 1)] : 0;
  const std::int64_t rows = columns > 0 ? view.shape.size() / columns : 0;
  std::array<std::int64_t, 6> index{};  // of all dimensions but the last
  for (std::int64_t r = 0; r < rows; ++r) {
    std::int64_t begin = 0;
    for (int i = 0; i + 1 < rank; ++i)
      begin += index[static_cast<std::size_t>(i)] * view.strides[static_cast<std::size_t>(i)];
    for (std::int64_t c = 0; c < columns; ++c, to += bytes)
      std::memcpy(to, from + (begin + c * stride) * static_cast<std::int64_t>(bytes), bytes);
    for (int i = rank - 2; i >= 0; --i) {
      if (++index[static_cast<std::size_t>(i)] < view.shape[i]) break;
      index[static_cast<std::size_t>(i)] = 0;
    }
  }
}

class TorchFile final : public TensorSource {
 public:
  explicit TorchFile(const std::filesystem::path& path) : file_(MappedFile::open(path)) {
    file_->check_size();
    tensors_ = parse_torch_file(file_->bytes(), path.string());
    infos_.reserve(tensors_.size());
    for (const TorchTensor& tensor : tensors_) {
      const std::string_view name = tensor.type->name.substr(tensor.type->name.find(' ') + 1);
      infos_.push_back({.name = tensor.name,
                        .dtype = tensor.type->dtype.value_or(DType::u8),
                        .shape = tensor.shape,
                        .file = path.filename().string(),
                        .foreign_dtype = tensor.type->dtype ? std::string() : std::string(name)});
    }
  }

  std::span<const TensorInfo> tensors() const override { return infos_; }

  const TensorInfo* find(std::string_view name) const override {
    const auto it = std::ranges::lower_bound(infos_, name, {}, &TensorInfo::name);
    return it != infos_.end() && it->name == name ? &*it : nullptr;
  }

  Tensor read(std::string_view name) const override {
    const TensorInfo* const info = find(name);
    const std::string path = file_->path().string();
    ensure_file(info != nullptr, path, ": no tensor ", printable(name));
    if (!info->foreign_dtype.empty())
      fail(Fault::unsupported, path, ": tensor ", printable(name), " holds ", info->foreign_dtype,
           ", which quaver does not read");
    file_->check_size();
    const TorchTensor& view = tensors_[static_cast<std::size_t>(info - infos_.data())];
    const std::byte* const bytes = file_->bytes().data();
    if (view.is_dense() && view.begin % view.type->bytes == 0) {
      // The handle keeps the mapping alive.
      const std::shared_ptr<void> base(file_, const_cast<std::byte*>(bytes));
      return Tensor::wrap(base, info->shape, info->dtype, {}, view.begin);
    }
    return copied(view, file_->bytes());
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<TorchTensor> tensors_;  // sorted by name
  std::vector<TensorInfo> infos_;     // the same
};

}  // namespace

Tensor copied(const TorchTensor& tensor, std::span<const std::byte> file) {
  const Tensor copy = Tensor::raw(tensor.shape, tensor.type->dtype.value());
  const std::byte* const from = file.data() + tensor.begin;
  switch (tensor.type->bytes) {
    case 1:
      gather<1>(tensor, from, copy.host());
      break;
    case 2:
      gather<2>(tensor, from, copy.host());
      break;
    case 4:
      gather<4>(tensor, from, copy.host());
      break;
    default:
      gather<8>(tensor, from, copy.host());
  }
  return copy;
}

std::unique_ptr<TensorSource> open_torch_file(const std::filesystem::path& file) {
  return std::make_unique<TorchFile>(file);
}

}  // namespace quaver
