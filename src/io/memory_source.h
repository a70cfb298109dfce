#pragma once
// Tensors that lie in memory already, as a TensorSource: for tests and for models made by code.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "io/checkpoint.h"

namespace quaver {

class MemorySource final : public TensorSource {
 public:
  explicit MemorySource(std::map<std::string, Tensor, std::less<>> tensors)
      : tensors_(std::move(tensors)) {
    for (const auto& [name, tensor] : tensors_)
      infos_.push_back({.name = name, .dtype = tensor.dtype(), .shape = tensor.shape()});
  }

  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto it = std::ranges::lower_bound(infos_, name, {}, &TensorInfo::name);
    return it != infos_.end() && it->name == name ? &*it : nullptr;
  }
  Tensor read(std::string_view name) const override {
    const auto it = tensors_.find(name);
    ensure_file(it != tensors_.end(), "[memory] no tensor '", name, "'");
    return it->second;
  }

 private:
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::vector<TensorInfo> infos_;  // sorted, as the map is
};

}  // namespace quaver
