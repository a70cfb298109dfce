#include "nn/module.h"

namespace quaver {

Tensor Linear::operator()(const Tensor& x, Step& step) const {
  if (step.observer) step.observer->input_of(*this, x);
  return linear(x, weight, bias);
}

void LayerNorm::visit(Visitor& v) {
  if (has_weight) v("weight", weight, {size});
  if (has_bias) v("bias", bias, {size});
}

void RmsNorm::visit(Visitor& v) { v("weight", weight, {size}); }

void Norm::visit(Visitor& v) {
  if (auto* layer = std::get_if<LayerNorm>(&kind)) layer->visit(v);
  if (auto* rms = std::get_if<RmsNorm>(&kind)) rms->visit(v);
}

Tensor Norm::operator()(const Tensor& x) const {
  if (const auto* layer = std::get_if<LayerNorm>(&kind)) return (*layer)(x);
  if (const auto* rms = std::get_if<RmsNorm>(&kind)) return (*rms)(x);
  return x;
}

}  // namespace quaver
