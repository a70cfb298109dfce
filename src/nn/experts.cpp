#include "nn/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace quaver {
namespace {

void soften(std::span<float> v) {
  const float top = *std::ranges::max_element(v);
  float sum = 0;
  for (float& f : v) sum += f = std::exp(f - top);
  for (float& f : v) f /= sum;
}

// The indices of the `count` largest; of equal ones the first.
std::vector<std::size_t> largest(std::span<const float> v, std::size_t count) {
  std::vector<std::size_t> order(v.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto before = [&](std::size_t a, std::size_t b) {
    return v[a] > v[b] || (v[a] == v[b] && a < b);
  };
  std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(count), before);
  order.resize(count);
  return order;
}

// Experts outside the best groups are not chosen.
void keep_groups(std::span<float> scores, const Experts::Router& r) {
  const auto groups = static_cast<std::size_t>(r.groups), size = scores.size() / groups;
  std::vector<float> best;
  for (std::size_t g = 0; g < groups; ++g) {
    const auto group = scores.subspan(g * size, size);
    float score = 0;
    for (const std::size_t i :
         largest(group, r.group_by_best_two ? std::min<std::size_t>(2, size) : 1))
      score += group[i];
    best.push_back(score);
  }
  std::vector<bool> kept(groups);
  for (const std::size_t g : largest(best, static_cast<std::size_t>(r.chosen_groups)))
    kept[g] = true;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (!kept[i / size]) scores[i] = -std::numeric_limits<float>::infinity();
}

}  // namespace

GatedMlp::GatedMlp(std::int64_t hidden, std::int64_t inner, Activation f, bool bias) : function(f) {
  gate = up = {.outputs = inner, .inputs = hidden, .has_bias = bias};
  down = {.outputs = hidden, .inputs = inner, .has_bias = bias};
}

void GatedMlp::visit(Visitor& v) {
  v(names.gate, gate);
  if (!fused) v(names.up, up);
  v(names.down, down);
}

Tensor GatedMlp::operator()(const Tensor& x, Step& step) const {
  const auto widened = [&] {  // a function, so that what it needs is freed before `down`
    Tensor g, u;
    if (fused) {
      const Tensor both = gate(x, step);
      u = columns(both, down.inputs, down.inputs);
      g = columns(both, 0, down.inputs);
    } else {
      auto both = side_by_side({&gate, &up}, x, step);
      g = std::move(both[0]), u = std::move(both[1]);
    }
    if (by_turns) take_turns(g, u);
    if (limit == 0) return gated(g, function, u);
    const Tensor cut = activation(map(g, Map::clip_above, limit), function);
    return cut + times(cut, map(u, Map::clip, limit));
  };
  return down(widened(), step);
}

// Of the outputs of both linears, one after the other, the even ones are gate's.
void GatedMlp::take_turns(Tensor& g, Tensor& u) const {
  const std::int64_t rows = g.dim(0), inner = g.dim(1);
  Tensor both = empty_on(g.device(), {rows, 2 * inner});
  place_columns(g, both, 0);
  place_columns(u, both, inner);
  const Tensor pairs = both.reshaped({rows * inner, 2});
  g = columns(pairs, 0, 1).reshaped({rows, inner});
  u = columns(pairs, 1, 1).reshaped({rows, inner});
}

void Experts::visit(Visitor& v) {
  gate.pool = Pool::entry;
  v(router_name, gate);
  if (router.has_correction)
    v(router_name + ".e_score_correction_bias", correction, {gate.outputs});
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const bool stacked = experts[i].gate.stacked != nullptr;
    experts[i].gate.routed = experts[i].up.routed = experts[i].down.routed = true;
    experts[i].gate.pool = experts[i].up.pool = Pool::entry;
    experts[i].down.pool = Pool::inner;
    v(stacked ? expert_prefix : text(expert_prefix, '.', i), experts[i]);
  }
}

std::vector<Experts::Choice> Experts::choose(const Tensor& logits) const {
  const auto count = static_cast<std::size_t>(gate.outputs);
  std::vector<Choice> choices(count);
  const auto all = logits.data<float>();
  const Tensor added = on_host(correction);
  const auto bias = added ? std::as_const(added).data<float>() : std::span<const float>{};
  std::vector<float> scores(count), ranks(count);
  for (std::int64_t row = 0; row < logits.dim(0); ++row) {
    std::ranges::copy(all.subspan(static_cast<std::size_t>(row) * count, count), scores.begin());
    if (router.sigmoid)
      for (float& s : scores) s = 1 / (1 + std::exp(-s));
    else if (!router.softmax_chosen)
      soften(scores);
    ranks = scores;
    for (std::size_t e = 0; e < bias.size(); ++e) ranks[e] += bias[e];
    if (router.groups > 1) keep_groups(ranks, router);
    const auto chosen = largest(ranks, static_cast<std::size_t>(router.chosen));
    std::vector<float> weights;
    for (const std::size_t e : chosen) weights.push_back(scores[e]);
    if (router.softmax_chosen) soften(weights);
    const float sum = std::accumulate(weights.begin(), weights.end(), 0.0f);
    const float factor = router.scale / (router.normalize && !router.softmax_chosen
                                             ? sum + (router.sigmoid ? 1e-20f : 0.0f)
                                             : 1.0f);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      choices[chosen[i]].rows.push_back(static_cast<std::int32_t>(row));
      choices[chosen[i]].weights.push_back(weights[i] * factor);
    }
  }
  return choices;
}

Tensor Experts::operator()(const Tensor& x, Step& step) const {
  const std::vector<Choice> choices = choose(on_host(gate(x, step)));
  Tensor y = moved_to(Tensor({x.dim(0), x.dim(1)}), x.device());
  for (std::size_t e = 0; e < experts.size(); ++e) {
    const Choice& c = choices[e];
    // An observer sees every expert at every step, be it with no rows: calibration waits for all.
    if (c.rows.empty() && !step.observer) continue;
    const auto rows = static_cast<std::int64_t>(c.rows.size());
    Tensor index({rows}, DType::i32), weight({rows});
    std::ranges::copy(c.rows, index.data<std::int32_t>().begin());
    std::ranges::copy(c.weights, weight.data<float>().begin());
    scatter_add(experts[e](gather(x, index), step), index, weight, y);
  }
  return y;
}

}  // namespace quaver
