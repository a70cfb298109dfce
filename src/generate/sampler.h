#pragma once
// From logits to a token: transformers' logits processors and warpers, in its order, and a
// reproducible choice.
#include <cstdint>
#include <span>
#include <vector>

#include "generate/settings.h"

namespace quaver {

// SplitMix64 (Steele, Lea, Flood 2014): a 64-bit generator that is a function of its seed alone.
// Each row of a batch has a stream of its own, so its text does not depend on the others.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t stream);
  std::uint64_t next();
  double uniform();  // in [0, 1), 53 bits

 private:
  std::uint64_t state_;
};

// What has been written so far in one sequence.
struct History {
  std::span<const std::int32_t> tokens;  // prompt and new ones
  std::int64_t prompt_tokens = 0;
  std::int64_t most_tokens = 0;  // prompt and new ones at most
};

// Adjusts the scores f32 [vocabulary] (logits, or log-probabilities in beam search) in place:
// biases, penalties, n-grams, forbidden and forced tokens (processors.cpp).
void process(std::span<float> scores, const History& history, const GenerateSettings& settings);

// Restricts the scores to what may be drawn, in place; what may not becomes -infinity. Temperature,
// then top-h, top-k, top-p, min-p, typical-p, epsilon and eta (warpers.cpp). At least `keep` tokens
// stay.
void warp(std::span<float> scores, const GenerateSettings& settings, std::int64_t keep);

// The first of the largest scores. Throws Error(numerical) if there is none above -infinity, or if
// one is NaN.
std::int32_t likeliest(std::span<const float> scores);

// One token by softmax(scores). Throws as likeliest() does.
std::int32_t draw(std::span<const float> scores, RandomStream& random);

// The next token of a sequence, from its raw logits, which are overwritten.
std::int32_t next_token(std::span<float> logits, const History& history,
                        const GenerateSettings& settings, RandomStream& random);

// The tokens above -infinity, and the softmax of the scores of `ids` among themselves.
std::vector<std::int32_t> possible(std::span<const float> scores);
std::vector<double> softmax(std::span<const float> scores, std::span<const std::int32_t> ids);

// In place: logits -> log-probabilities.
void log_softmax(std::span<float> logits);

}  // namespace quaver
