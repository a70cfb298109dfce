#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace quaver {
namespace {

constexpr float no_chance = -std::numeric_limits<float>::infinity();

std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void check(std::span<const float> scores) {
  bool any = false, nan = false;
  for (const float s : scores) {
    any |= s > no_chance;
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
