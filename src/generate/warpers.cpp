// transformers' logits warpers: what may be drawn.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "generate/sampler.h"

namespace quaver {
namespace {

constexpr float never = -std::numeric_limits<float>::infinity();

void keep_top_k(std::span<float> scores, std::int64_t k) {
  if (k >= static_cast<std::int64_t>(scores.size())) return;
  std::vector<float> sorted(scores.begin(), scores.end());
  const auto kth = sorted.begin() + (k - 1);
  std::nth_element(sorted.begin(), kth, sorted.end(), std::greater<>());
  const float least = *kth;
  for (float& s : scores)
    if (s < least) s = never;
}

// Tokens that can be drawn, likeliest first, and their probabilities. Of equal ones the later id
// comes first: the reference sorts upwards, stably.
struct Ranking {
  std::vector<std::int32_t> ids;
  std::vector<double> probabilities;
};

Ranking ranked(std::span<const float> scores) {
  Ranking r{.ids = possible(scores)};
  std::ranges::sort(r.ids, [&](std::int32_t a, std::int32_t b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    return x != y ? x > y : a > b;
  });
  r.probabilities = softmax(scores, r.ids);
  return r;
}

// The smallest set of likeliest tokens whose probabilities sum to p or more.
void keep_top_p(std::span<float> scores, double p, std::size_t keep) {
  const Ranking r = ranked(scores);
  double before = 0;
  for (std::size_t i = 0; i < r.ids.size(); ++i) {
    if (before >= p && i >= keep) scores[static_cast<std::size_t>(r.ids[i])] = never;
    before += r.probabilities[i];
  }
}

// Tokens at least p times as likely as the likeliest.
void keep_min_p(std::span<float> scores, double p, std::size_t keep) {
  const Ranking r = ranked(scores);
  for (std::size_t i = keep; i < r.ids.size(); ++i)
    if (r.probabilities[i] < p * r.probabilities[0])
      scores[static_cast<std::size_t>(r.ids[i])] = never;
}

// Locally typical sampling (Meister et al. 2022): tokens whose surprise is nearest to the entropy,
// until their probabilities sum to `mass`.
void keep_typical(std::span<float> scores, double mass, std::size_t keep) {
  const std::vector<std::int32_t> ids = possible(scores);
  const std::vector<double> p = softmax(scores, ids);
  double entropy = 0;
  for (const double x : p)
    if (x > 0) entropy -= x * std::log(x);
  std::vector<std::size_t> order(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto distance = [&](std::size_t i) {
    return p[i] > 0 ? std::abs(-std::log(p[i]) - entropy) : std::numeric_limits<double>::infinity();
  };
  std::ranges::stable_sort(order, std::less<>(), distance);
  double before = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (before >= mass && i >= keep) scores[static_cast<std::size_t>(ids[order[i]])] = never;
    before += p[order[i]];
  }
}

// Entropy-bounded sampling (top-H): the likeliest tokens while their share of the entropy stays
// within `share`. As the reference does, only the 100 likeliest take part.
void keep_top_h(std::span<float> scores, double share) {
  Ranking r = ranked(scores);
  const std::size_t considered = std::min<std::size_t>(r.ids.size(), 100);
  const std::vector<double> p =
      softmax(scores, std::span<const std::int32_t>(r.ids).first(considered));
  double entropy = 0, spent = 0;
  for (const double x : p)
    if (x > 0) entropy -= x * std::log(x);
  for (std::size_t i = 0; i < r.ids.size(); ++i) {
    if (i < considered && p[i] > 0) spent -= p[i] * std::log(p[i]);
    if (i > 0 && (i >= considered || spent > share * entropy))
      scores[static_cast<std::size_t>(r.ids[i])] = never;
  }
}

// Tokens of at least this probability.
void keep_above(std::span<float> scores, double least, std::size_t keep) {
  const Ranking r = ranked(scores);
  if (r.ids.empty()) return;
  // Of equal scores at the end of those kept, all stay.
  const float kept = scores[static_cast<std::size_t>(r.ids[std::min(keep, r.ids.size()) - 1])];
  for (std::size_t i = 0; i < r.ids.size(); ++i) {
    float& s = scores[static_cast<std::size_t>(r.ids[i])];
    if (r.probabilities[i] < least && s < kept) s = never;
  }
}

// Eta sampling (Hewitt et al. 2022): the threshold falls where the distribution is flat.
void keep_eta(std::span<float> scores, double epsilon, std::size_t keep) {
  double entropy = 0;
  for (const double p : softmax(scores, possible(scores)))
    if (p > 0) entropy -= p * std::log(p);
  keep_above(scores, std::min(epsilon, std::sqrt(epsilon) * std::exp(-entropy)), keep);
}

}  // namespace

std::vector<std::int32_t> possible(std::span<const float> scores) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > never) ids.push_back(static_cast<std::int32_t>(i));
  return ids;
}

std::vector<double> softmax(std::span<const float> scores, std::span<const std::int32_t> ids) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const std::int32_t id : ids)
    top = std::max(top, double{scores[static_cast<std::size_t>(id)]});
  std::vector<double> p;
  p.reserve(ids.size());
  for (const std::int32_t id : ids) {
    p.push_back(std::exp(double{scores[static_cast<std::size_t>(id)]} - top));
    sum += p.back();
  }
  for (double& value : p) value /= sum;
  return p;
}

void warp(std::span<float> scores, const GenerateSettings& settings, std::int64_t keep) {
  if (settings.temperature != 1)
    for (float& s : scores) s /= static_cast<float>(settings.temperature);
  if (settings.top_h) keep_top_h(scores, *settings.top_h);
  if (settings.top_k > 0) keep_top_k(scores, std::max(settings.top_k, keep));
  const auto least = static_cast<std::size_t>(keep);
  if (settings.top_p < 1) keep_top_p(scores, settings.top_p, least);
  if (settings.min_p > 0) keep_min_p(scores, settings.min_p, least);
  if (settings.typical_p < 1) keep_typical(scores, settings.typical_p, least);
  if (settings.epsilon_cutoff > 0) keep_above(scores, settings.epsilon_cutoff, least);
  if (settings.eta_cutoff > 0) keep_eta(scores, settings.eta_cutoff, least);
}

}  // namespace quaver
