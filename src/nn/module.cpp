#include "nn/module.h"

#include "core/error.h"

namespace quaver {

std::string Stacked::replaced(std::string linear, const std::string& ending) const {
  for (int i = 0; i < levels; ++i) {
    const std::size_t dot = linear.rfind('.');
    ensure(dot != std::string::npos, "[loading] '", linear, "' is no name of a stacked linear");
    linear.resize(dot);
  }
  return linear + "." + ending;
}

Tensor Linear::operator()(const Tensor& x, Step& step) const {
  if (step.observer) step.observer->input_of(*this, x);
  return linear(x, weight, bias);
}

std::vector<Tensor> side_by_side(std::initializer_list<const Linear*> all, const Tensor& x,
                                 Step& step) {
  std::vector<Tensor> results;
  if (step.observer) {  // which may replace a weight before its product is formed
    for (const Linear* l : all) results.push_back((*l)(x, step));
    return results;
  }
  std::vector<WeightAndBias> weights;
  for (const Linear* l : all) weights.push_back({&l->weight, &l->bias});
  return linears(x, weights);
}

void LayerNorm::visit(Visitor& v) {
  if (separate) {
    each.resize(static_cast<std::size_t>(heads));
    for (std::size_t i = 0; i < each.size(); ++i) v(text("norms.", i, ".weight"), each[i], {size});
  } else if (has_weight) {
    v("weight", weight, heads > 0 ? Shape({heads, size}) : Shape({size}));
  }
  if (has_bias) v("bias", bias, {size});
}

Tensor LayerNorm::operator()(const Tensor& x) const {
  if (heads == 0) return layer_norm(x, weight, bias, eps, offset);
  if (heads == 1 && !separate) return layer_norm(x, weight.reshaped({size}), bias, eps, offset);
  Tensor gains;
  if (separate) {
    gains = empty_on(x.device(), {heads, size});
    for (std::size_t i = 0; i < each.size(); ++i)
      copy_rows(gains, static_cast<std::int64_t>(i), each[i].reshaped({1, size}));
  } else {  // a table of rows is loaded as it is stored
    Tensor all({heads}, DType::i32);
    for (std::int32_t i = 0; i < heads; ++i) all.data<std::int32_t>()[i] = i;
    gains = gather(weight, all);
  }
  return layer_norm(x, gains, bias, eps, offset);
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

namespace {

// Lists what a block is made of, in the order of its visit.
class PartsLister final : public Visitor {
 public:
  void parameter(const std::string&, Tensor& t, const Shape&) override { tensors.push_back(&t); }
  void linear(const std::string&, Linear& l) override { linears.push_back(&l); }
  std::vector<Tensor*> tensors;
  std::vector<Linear*> linears;
};

}  // namespace

void share_parameters(Block& from, Block& to) {
  PartsLister given, taken;
  from.visit(given);
  to.visit(taken);
  ensure(
      given.tensors.size() == taken.tensors.size() && given.linears.size() == taken.linears.size(),
      "[block] parameters of another kind of block");
  for (std::size_t i = 0; i < given.tensors.size(); ++i) *taken.tensors[i] = *given.tensors[i];
  for (std::size_t i = 0; i < given.linears.size(); ++i) {
    taken.linears[i]->weight = given.linears[i]->weight;
    taken.linears[i]->bias = given.linears[i]->bias;
  }
}

}  // namespace quaver
