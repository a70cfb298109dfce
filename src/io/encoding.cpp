#include "io/encoding.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"

namespace quaver {
namespace {

constexpr std::size_t most_kept = 2;  // stacks that a mixture's experts take turns in

class DecodedSource final : public TensorSource {
 public:
  DecodedSource(std::unique_ptr<TensorSource> source, const Encoding& encoding, Json config)
      : source_(std::move(source)), encoding_(&encoding), config_(std::move(config)) {
    encoding.check(config_);
    for (const TensorInfo& info : source_->tensors()) {
      if (stem_of(info.name, encoding.scales)) {
        // Its codes speak for it; scales without codes are seen as what they are.
        if (find_codes(info.name.substr(0, info.name.size() - encoding.scales.size()))) continue;
      } else if (const TensorInfo* scales = scales_of(info)) {
        const std::string_view stem = *stem_of(info.name, encoding.codes);
        infos_.push_back({.name = std::string(stem) + std::string(encoding.plain),
                          .dtype = encoding.type,
                          .shape = encoding.shape(info, *scales, config_),
                          .file = info.file});
        continue;
      }
      infos_.push_back(info);
    }
    std::ranges::sort(infos_, {}, &TensorInfo::name);
    const auto twice = std::ranges::adjacent_find(infos_, {}, &TensorInfo::name);
    ensure_file(twice == infos_.end(), "tensor '", twice == infos_.end() ? "" : twice->name,
                "' is there both plain and encoded");
  }

  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto it = std::ranges::lower_bound(
        infos_, name, {}, [](const TensorInfo& info) { return std::string_view(info.name); });
    return it != infos_.end() && it->name == name ? &*it : nullptr;
  }
  Tensor read(std::string_view name) const override {
    const auto stem = stem_of(name, encoding_->plain);
    const TensorInfo* codes = stem ? find_codes(*stem) : nullptr;
    const TensorInfo* scales = codes ? scales_of(*codes) : nullptr;
    if (!scales) return source_->read(name);
    const std::lock_guard lock(mutex_);
    const auto kept = std::ranges::find(kept_, name, &Kept::name);
    if (kept != kept_.end()) return kept->tensor;
    if (kept_.size() == most_kept) kept_.pop_front();  // before the next one takes its room
    const Tensor plain =
        encoding_->decode(source_->read(codes->name), source_->read(scales->name), config_);
    kept_.push_back({std::string(name), plain});
    return plain;
  }

 private:
  struct Kept {
    std::string name;
    Tensor tensor;
  };

  static std::optional<std::string_view> stem_of(std::string_view name, std::string_view ending) {
    if (!name.ends_with(ending)) return std::nullopt;
    return name.substr(0, name.size() - ending.size());
  }
  const TensorInfo* find_codes(std::string_view stem) const {
    return source_->find(std::string(stem) + std::string(encoding_->codes));
  }
  const TensorInfo* scales_of(const TensorInfo& codes) const {
    const auto stem = stem_of(codes.name, encoding_->codes);
    return stem ? source_->find(std::string(*stem) + std::string(encoding_->scales)) : nullptr;
  }

  std::unique_ptr<TensorSource> source_;
  const Encoding* encoding_;
  Json config_;
  std::vector<TensorInfo> infos_;  // sorted by name
  mutable std::mutex mutex_;
  mutable std::list<Kept> kept_;
};

}  // namespace

std::unique_ptr<TensorSource> decoded(std::unique_ptr<TensorSource> source,
                                      const Encoding& encoding, Json quantization_config) {
  return std::make_unique<DecodedSource>(std::move(source), encoding,
                                         std::move(quantization_config));
}

}  // namespace quaver
