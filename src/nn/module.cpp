#include "nn/module.h"

namespace quaver {

Tensor Linear::operator()(const Tensor& x, Step& step) const {
  if (step.observer) step.observer->input_of(*this, x);
  return linear(x, weight, bias);
}

void LayerNorm::visit(Visitor& v) {
  v("weight", weight, {size});
  if (has_bias) v("bias", bias, {size});
}

void RmsNorm::visit(Visitor& v) { v("weight", weight, {size}); }

}  // namespace quaver
