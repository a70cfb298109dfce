#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/error.h"
#include "ops/ops.h"

namespace quaver {
namespace {

using Kind = RopeScaling::Kind;

std::vector<float> plain_frequencies(std::int64_t dim, double theta) {
  std::vector<float> f(static_cast<std::size_t>(dim / 2));
  for (std::size_t i = 0; i < f.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    f[i] = 1.0f / std::pow(static_cast<float>(theta), exponent);
  }
  return f;
}

// Frequencies that turn often within the trained length stay, those that turn rarely are divided,
// with a ramp over the dimensions between.
void stretch_yarn(std::vector<float>& f, std::int64_t dim, double theta, const RopeScaling& s) {
  const auto dimension = [&](double turns) {
    return static_cast<double>(dim) *
           std::log(s.original_positions / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = dimension(s.beta_fast), high = dimension(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f[i] = static_cast<float>(f[i] / s.factor * ramp + f[i] * (1 - ramp));
  }
}

void stretch_llama3(std::vector<float>& f, const RopeScaling& s) {
  const double longest = s.original_positions / s.low_freq_factor;
  const double shortest = s.original_positions / s.high_freq_factor;
  for (float& v : f) {
    const double wave = 2 * std::numbers::pi / v;
    if (wave < shortest) continue;
    const double smooth = wave > longest ? 0
                                         : (s.original_positions / wave - s.low_freq_factor) /
                                               (s.high_freq_factor - s.low_freq_factor);
    v = static_cast<float>((1 - smooth) * v / s.factor + smooth * v);
  }
}

// The base of NTK-aware scaling for texts beyond the trained length.
double dynamic_theta(double theta, std::int64_t dim, std::int64_t length, const RopeScaling& s) {
  const double whole = std::max(static_cast<double>(length), s.original_positions);
  const auto d = static_cast<double>(dim);
  return theta * std::pow(s.factor * whole / s.original_positions - (s.factor - 1), d / (d - 2));
}

// Qwen's: `length` is that of the prompt.
double prompt_theta(double theta, std::int64_t dim, std::int64_t length, const RopeScaling& s) {
  const double doublings = std::log2(static_cast<double>(length) / s.original_positions) + 1;
  const double alpha = std::max(std::exp2(std::ceil(doublings)) - 1, 1.0);
  const auto d = static_cast<double>(dim);
  return theta * std::pow(alpha, d / (d - 2));
}

// Where no cache knows it, what is seen is the prompt.
std::int64_t prompt_tokens(const SequenceRows& sequence) {
  if (sequence.cache && sequence.cache->prompt > 0) return sequence.cache->prompt;
  if (!sequence.mask) return sequence.rows;
  const Tensor mask = on_host(sequence.mask);
  const auto seen = std::as_const(mask).data<std::uint8_t>();
  return sequence.mask.size() - std::ranges::count(seen, std::uint8_t{0});
}

}  // namespace

Rope::Rope(std::int64_t dim, double theta, bool pairs, RopeScaling scaling)
    : interleaved(pairs), dim_(dim), theta_(theta), scaling_(std::move(scaling)) {
  ensure(dim >= 2 && dim % 2 == 0, "[rope] ", dim, " rotary columns: expected an even number");
  const auto half = static_cast<std::size_t>(dim / 2);
  if (scaling_.kind == Kind::longrope)
    ensure(scaling_.short_factor.size() == half && scaling_.long_factor.size() == half, "[rope] ",
           scaling_.short_factor.size(), " and ", scaling_.long_factor.size(), " factors for ",
           half, " frequencies");
  if (!changes_with_length()) fixed_ = inverse_frequencies();
}

bool Rope::changes_with_length() const {
  return scaling_.kind == Kind::dynamic || scaling_.kind == Kind::longrope ||
         scaling_.kind == Kind::prompt;
}

Tensor Rope::inverse_frequencies(std::int64_t length) const {
  if (fixed_) return fixed_;
  double theta = theta_;
  if (scaling_.kind == Kind::dynamic) theta = dynamic_theta(theta_, dim_, length, scaling_);
  if (scaling_.kind == Kind::prompt) theta = prompt_theta(theta_, dim_, length, scaling_);
  std::vector<float> f = plain_frequencies(dim_, theta);
  if (scaling_.kind == Kind::linear)
    for (float& v : f) v /= static_cast<float>(scaling_.factor);
  if (scaling_.kind == Kind::yarn) stretch_yarn(f, dim_, theta_, scaling_);
  if (scaling_.kind == Kind::llama3) stretch_llama3(f, scaling_);
  if (scaling_.kind == Kind::longrope) {
    const bool is_long = static_cast<double>(length) > scaling_.original_positions;
    const auto& factors = is_long ? scaling_.long_factor : scaling_.short_factor;
    for (std::size_t i = 0; i < f.size(); ++i) f[i] /= static_cast<float>(factors[i]);
  }
  Tensor t({dim_ / 2});
  std::ranges::copy(f, t.data<float>().begin());
  return t;
}

const RopeTables& Rope::tables(Step& step) const {
  std::vector<Tensor> frequencies;
  if (fixed_) {
    frequencies.push_back(fixed_);
  } else {
    const std::vector<std::int64_t> lengths = step.lengths();
    for (std::size_t s = 0; s < lengths.size(); ++s)
      frequencies.push_back(inverse_frequencies(
          scaling_.kind == Kind::prompt ? prompt_tokens(step.sequences[s]) : lengths[s]));
  }
  return step.rope(frequencies, scaling_.attention_factor);
}

}  // namespace quaver
