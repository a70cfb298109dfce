#include "loading/prefixed_source.h"

#include <algorithm>

#include "core/error.h"

namespace quaver {
namespace {

class PrefixedSource final : public TensorSource {
 public:
  PrefixedSource(std::unique_ptr<TensorSource> source, std::string prefix,
                 std::vector<std::string> unchanged)
      : source_(std::move(source)), prefix_(std::move(prefix)), unchanged_(std::move(unchanged)) {
    for (const TensorInfo& info : source_->tensors()) {
      infos_.push_back(info);
      if (!is_unchanged(info.name)) infos_.back().name = prefix_ + info.name;
    }
    std::ranges::sort(infos_, {}, &TensorInfo::name);
  }

  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto it = std::ranges::lower_bound(
        infos_, name, {}, [](const TensorInfo& info) { return std::string_view(info.name); });
    return it != infos_.end() && it->name == name ? &*it : nullptr;
  }
  Tensor read(std::string_view name) const override {
    const std::string_view stored =
        find(name) && name.starts_with(prefix_) ? name.substr(prefix_.size()) : name;
    return source_->read(stored);
  }

 private:
  bool is_unchanged(std::string_view name) const {
    return std::ranges::any_of(unchanged_, [&](const auto& u) { return name.starts_with(u); });
  }

  std::unique_ptr<TensorSource> source_;
  std::string prefix_;
  std::vector<std::string> unchanged_;
  std::vector<TensorInfo> infos_;  // sorted by name
};

}  // namespace

std::unique_ptr<TensorSource> with_prefix(std::unique_ptr<TensorSource> source, std::string prefix,
                                          std::vector<std::string> unchanged) {
  return std::make_unique<PrefixedSource>(std::move(source), std::move(prefix),
                                          std::move(unchanged));
}

}  // namespace quaver
