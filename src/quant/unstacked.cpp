#include "quant/unstacked.h"

namespace quaver {
namespace {

class StackedLinears final : public Visitor {
 public:
  explicit StackedLinears(const TensorSource& source) : source_(source) {}
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    if (!l.stacked || !source_.find(l.stacked->weight_of(name))) return;
    parts.push_back({.name = name + ".weight",
                     .linear = name,
                     .stack = l.stacked->weight_of(name),
                     .is_bias = false,
                     .shape = l});
    if (!l.has_bias) return;
    parts.push_back({.name = name + ".bias",
                     .linear = name,
                     .stack = l.stacked->bias_of(name),
                     .is_bias = true,
                     .shape = l});
  }
  std::vector<UnstackedPart> parts;

 private:
  const TensorSource& source_;
};

}  // namespace

Tensor UnstackedPart::read(const Checkpoint& checkpoint) const {
  return stacked_part(checkpoint, linear, shape, is_bias);
}

std::vector<UnstackedPart> unstacked_parts(const Checkpoint& checkpoint, int layer) {
  StackedLinears found(*checkpoint.source);
  const auto block = checkpoint.arch->block(checkpoint.model, layer);
  found(text(checkpoint.arch->blocks, '.', layer), *block);
  return std::move(found.parts);
}

}  // namespace quaver
