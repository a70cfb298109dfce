// One safetensors file as a TensorSource.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/mapped_file.h"
#include "io/checkpoint.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

class SafetensorsFile final : public TensorSource {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path) : file_(MappedFile::open(path)) {
    file_->check_size();
    SafetensorsHeader header =
        parse_safetensors_header(file_->bytes(), file_->size(), path.string());
    infos_.reserve(header.tensors.size());
    begins_.reserve(header.tensors.size());
    for (HeaderEntry& entry : header.tensors) {
      begins_.push_back(header.data_begin + entry.begin);
      infos_.push_back(
          {.name = std::move(entry.name),
           .dtype = entry.dtype->dtype.value_or(DType::u8),
           .shape = entry.shape,
           .file = path.filename().string(),
           .foreign_dtype = entry.dtype->dtype ? std::string() : std::string(entry.dtype->name)});
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
    const std::uint64_t begin = begins_[static_cast<std::size_t>(info - infos_.data())];
    const std::byte* const bytes = file_->bytes().data() + begin;
    if (begin % size_of(info->dtype) == 0) {
      // The handle keeps the mapping alive.
      const std::shared_ptr<void> base(file_, const_cast<std::byte*>(file_->bytes().data()));
      return Tensor::wrap(base, info->shape, info->dtype, {}, begin);
    }
    const Tensor copy = Tensor::raw(info->shape, info->dtype);
    if (copy.bytes() > 0) std::memcpy(copy.host(), bytes, copy.bytes());
    return copy;
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<TensorInfo> infos_;      // sorted by name
  std::vector<std::uint64_t> begins_;  // of the same tensors, bytes of the file
};

}  // namespace

std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& file) {
  return std::make_unique<SafetensorsFile>(file);
}

}  // namespace quaver
