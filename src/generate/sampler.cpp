#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace quaver {
namespace {

constexpr float never = -std::numeric_limits<float>::infinity();

std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

bool within(std::int32_t id, std::span<const float> scores) {
  return id >= 0 && static_cast<std::size_t>(id) < scores.size();
}

// Divides (or multiplies, below zero) once for each token that is there already.
void penalize_repetition(std::span<float> scores, std::span<const std::int32_t> tokens,
                         float penalty) {
  std::vector<std::int32_t> seen(tokens.begin(), tokens.end());
  std::ranges::sort(seen);
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const std::int32_t id : seen) {
    if (!within(id, scores)) continue;
    float& s = scores[static_cast<std::size_t>(id)];
    s = s < 0 ? s * penalty : s / penalty;
  }
}

// Forbids every token that would complete an n-gram which stands in `tokens` already.
void forbid_repeated_ngrams(std::span<float> scores, std::span<const std::int32_t> tokens,
                            std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  if (tokens.size() + 1 < n) return;
  const auto tail = tokens.last(n - 1);
  for (std::size_t i = 0; i + n <= tokens.size(); ++i) {
    const std::int32_t id = tokens[i + n - 1];
    if (std::ranges::equal(tokens.subspan(i, n - 1), tail) && within(id, scores))
      scores[static_cast<std::size_t>(id)] = never;
  }
}

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

std::vector<std::int32_t> possible(std::span<const float> scores) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > never) ids.push_back(static_cast<std::int32_t>(i));
  return ids;
}

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

void check(std::span<const float> scores) {
  bool any = false, nan = false;
  for (const float s : scores) {
    any |= s > never;
    nan |= std::isnan(s);
  }
  if (nan) fail(Fault::numerical, "[generate] the model gave logits that are not numbers (NaN)");
  if (!any) fail(Fault::numerical, "[generate] no token is left to choose from");
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::uint64_t stream)
    : state_(mixed(seed + 0x9e3779b97f4a7c15u) ^ mixed(mixed(stream + 1))) {}

std::uint64_t RandomStream::next() { return mixed(state_ += 0x9e3779b97f4a7c15u); }

double RandomStream::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

void process(std::span<float> scores, const History& history, const GenerateSettings& settings) {
  if (settings.repetition_penalty != 1)
    penalize_repetition(scores, history.tokens, static_cast<float>(settings.repetition_penalty));
  if (settings.no_repeat_ngram_size > 0)
    forbid_repeated_ngrams(scores, history.tokens, settings.no_repeat_ngram_size);
  const auto length = static_cast<std::int64_t>(history.tokens.size());
  const bool too_short =
      length < settings.min_length || length - history.prompt_tokens < settings.min_new_tokens;
  const auto forbid = [&](std::int32_t id) {
    if (within(id, scores)) scores[static_cast<std::size_t>(id)] = never;
  };
  if (too_short) std::ranges::for_each(settings.eos, forbid);
  std::ranges::for_each(settings.suppress, forbid);
}

void warp(std::span<float> scores, const GenerateSettings& settings, std::int64_t keep) {
  if (settings.temperature != 1)
    for (float& s : scores) s /= static_cast<float>(settings.temperature);
  if (settings.top_k > 0) keep_top_k(scores, std::max(settings.top_k, keep));
  const auto least = static_cast<std::size_t>(keep);
  if (settings.top_p < 1) keep_top_p(scores, settings.top_p, least);
  if (settings.min_p > 0) keep_min_p(scores, settings.min_p, least);
  if (settings.typical_p < 1) keep_typical(scores, settings.typical_p, least);
}

std::int32_t likeliest(std::span<const float> scores) {
  check(scores);
  return static_cast<std::int32_t>(std::ranges::max_element(scores) - scores.begin());
}

std::int32_t draw(std::span<const float> scores, RandomStream& random) {
  check(scores);
  const std::vector<std::int32_t> ids = possible(scores);
  const std::vector<double> p = softmax(scores, ids);
  double left = random.uniform();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    left -= p[i];
    if (left < 0) return ids[i];
  }
  return ids[static_cast<std::size_t>(std::ranges::max_element(p) - p.begin())];  // rounding
}

std::int32_t next_token(std::span<float> logits, const History& history,
                        const GenerateSettings& settings, RandomStream& random) {
  process(logits, history, settings);
  if (!settings.sample) return likeliest(logits);
  check(logits);
  warp(logits, settings, 1);
  return draw(logits, random);
}

void log_softmax(std::span<float> logits) {
  const float top = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(double{x} - double{top});
  const auto shift = static_cast<float>(double{top} + std::log(sum));
  for (float& x : logits) x -= shift;
}

}  // namespace quaver
