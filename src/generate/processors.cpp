// transformers' logits processors, in its order, and the two penalties of OpenAI's API.
#include <algorithm>
#include <cmath>
#include <limits>

#include "generate/sampler.h"

namespace quaver {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

bool within(std::int32_t id, std::span<const float> scores) {
  return id >= 0 && static_cast<std::size_t>(id) < scores.size();
}

using Scores = std::span<float>;

void set(Scores scores, std::span<const std::int32_t> ids, float value) {
  for (const std::int32_t id : ids)
    if (within(id, scores)) scores[static_cast<std::size_t>(id)] = value;
}

std::int64_t length_of(const History& history) {
  return static_cast<std::int64_t>(history.tokens.size());
}

// Divides (or multiplies, below zero) once for each token that is there already.
void penalize(Scores scores, std::span<const std::int32_t> tokens, float penalty) {
  std::vector<std::int32_t> seen(tokens.begin(), tokens.end());
  std::ranges::sort(seen);
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const std::int32_t id : seen) {
    if (!within(id, scores)) continue;
    float& s = scores[static_cast<std::size_t>(id)];
    s = s < 0 ? s * penalty : s / penalty;
  }
}

// Forbids every token that would complete, after `tokens`, an n-gram that stands in `source`.
void forbid_ngrams(Scores scores, std::span<const std::int32_t> source,
                   std::span<const std::int32_t> tokens, std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  if (size == 0 || tokens.size() + 1 < n) return;
  const auto tail = tokens.last(n - 1);
  for (std::size_t i = 0; i + n <= source.size(); ++i) {
    const std::int32_t id = source[i + n - 1];
    if (std::ranges::equal(source.subspan(i, n - 1), tail)) set(scores, {&id, 1}, minus_infinity);
  }
}

void add_bias(Scores scores, const History& history, const std::vector<TokenBias>& biases) {
  for (const TokenBias& bias : biases) {
    const std::size_t before = bias.ids.size() - 1;
    if (before > history.tokens.size() || !within(bias.ids.back(), scores)) continue;
    const auto prefix = std::span<const std::int32_t>(bias.ids).first(before);
    if (std::ranges::equal(history.tokens.last(before), prefix))
      scores[static_cast<std::size_t>(bias.ids.back())] += bias.bias;
  }
}

void force(Scores scores, std::span<const std::int32_t> ids) {
  std::ranges::fill(scores, minus_infinity);
  set(scores, ids, 0);
}

// --- One function a processor --------------------------------------------------------------------

void sequence_bias(Scores scores, const History& history, const GenerateSettings& settings) {
  add_bias(scores, history, settings.sequence_bias);
}

void encoder_repetition(Scores scores, const History& history, const GenerateSettings& settings) {
  if (settings.encoder_repetition_penalty == 1) return;
  const auto prompt = history.tokens.first(static_cast<std::size_t>(history.prompt_tokens));
  penalize(scores, prompt, static_cast<float>(1 / settings.encoder_repetition_penalty));
}

void repetition(Scores scores, const History& history, const GenerateSettings& settings) {
  if (settings.repetition_penalty == 1) return;
  penalize(scores, history.tokens, static_cast<float>(settings.repetition_penalty));
}

// OpenAI's penalties count the new tokens alone.
void frequency(Scores scores, const History& history, const GenerateSettings& settings) {
  const auto each = static_cast<float>(settings.frequency_penalty);
  const auto once = static_cast<float>(settings.presence_penalty);
  if (each == 0 && once == 0) return;
  const auto fresh = history.tokens.subspan(static_cast<std::size_t>(history.prompt_tokens));
  std::vector<std::int32_t> seen(fresh.begin(), fresh.end());
  std::ranges::sort(seen);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (!within(seen[i], scores)) continue;
    const bool first = i == 0 || seen[i] != seen[i - 1];
    scores[static_cast<std::size_t>(seen[i])] -= each + (first ? once : 0.0f);
  }
}

void repeated_ngrams(Scores scores, const History& history, const GenerateSettings& settings) {
  forbid_ngrams(scores, history.tokens, history.tokens, settings.no_repeat_ngram_size);
}

void prompt_ngrams(Scores scores, const History& history, const GenerateSettings& settings) {
  const auto prompt = history.tokens.first(static_cast<std::size_t>(history.prompt_tokens));
  forbid_ngrams(scores, prompt, history.tokens, settings.encoder_no_repeat_ngram_size);
}

void bad_words(Scores scores, const History& history, const GenerateSettings& settings) {
  add_bias(scores, history, settings.bad_words);
}

void least_length(Scores scores, const History& history, const GenerateSettings& settings) {
  const std::int64_t length = length_of(history);
  if (length < settings.min_length || length - history.prompt_tokens < settings.min_new_tokens)
    set(scores, settings.eos, minus_infinity);
}

void forced_bos(Scores scores, const History& history, const GenerateSettings& settings) {
  if (settings.forced_bos && length_of(history) == 1) force(scores, {&*settings.forced_bos, 1});
}

void forced_eos(Scores scores, const History& history, const GenerateSettings& settings) {
  if (!settings.forced_eos.empty() && length_of(history) == history.most_tokens - 1)
    force(scores, settings.forced_eos);
}

void invalid_values(Scores scores, const History&, const GenerateSettings& settings) {
  if (!settings.remove_invalid_values) return;
  constexpr float most = std::numeric_limits<float>::max();
  for (float& s : scores) s = std::isnan(s) ? 0 : std::clamp(s, -most, most);
}

// The end token becomes likelier, by a power of `factor`, once `start` new tokens are there.
void exponential_decay(Scores scores, const History& history, const GenerateSettings& settings) {
  if (!settings.exponential_decay) return;
  const auto [start, factor] = *settings.exponential_decay;
  const std::int64_t beyond = length_of(history) - history.prompt_tokens - start;
  if (beyond <= 0) return;
  const auto gain = static_cast<float>(std::pow(factor, static_cast<double>(beyond)) - 1);
  for (const std::int32_t id : settings.eos) {
    if (!within(id, scores)) continue;
    float& s = scores[static_cast<std::size_t>(id)];
    if (std::isfinite(s)) s += std::abs(s) * gain;
  }
}

void suppressed(Scores scores, const History&, const GenerateSettings& settings) {
  set(scores, settings.suppress, minus_infinity);
}

void suppressed_at_begin(Scores scores, const History& history, const GenerateSettings& settings) {
  // A forced first token does not count as the beginning.
  const bool forced = history.prompt_tokens == 1 && settings.forced_bos.has_value();
  if (length_of(history) == history.prompt_tokens + (forced ? 1 : 0))
    set(scores, settings.begin_suppress, minus_infinity);
}

using Processor = void (*)(Scores, const History&, const GenerateSettings&);
constexpr Processor processors[] = {
    sequence_bias,  encoder_repetition, repetition,   frequency,           repeated_ngrams,
    prompt_ngrams,  bad_words,          least_length, forced_bos,          forced_eos,
    invalid_values, exponential_decay,  suppressed,   suppressed_at_begin,
};

}  // namespace

void process(Scores scores, const History& history, const GenerateSettings& settings) {
  for (const Processor processor : processors) processor(scores, history, settings);
}

}  // namespace quaver
