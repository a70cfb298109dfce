#pragma once
// Continuing prompts: greedy, sampled, or by beam search.
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "generate/session.h"
#include "generate/settings.h"
#include "models/decoder.h"
#include "text/tokenizer.h"

namespace quaver {

struct GenerateJob {
  Decoder& decoder;                      // parameters on `device`
  const Tokenizer* tokenizer = nullptr;  // null: ids only; stop strings need one
  std::span<const std::vector<std::int32_t>> prompts;
  const GenerateSettings& settings;
  Device device = {};
  // For a single answer: gets each piece of text as soon as it is final, after each token, perhaps
  // empty; false stops. Beam search gives its text at the end. The pieces together are the result's
  // text.
  std::function<bool(std::string_view piece)> sink = {};
  // For a single answer without beams: the tokens that this session holds and the prompt begins
  // with are not computed again, and afterwards it holds the prompt and the answer but for the last
  // token. It decides how keys and values are kept.
  Session* session = nullptr;
};

// settings.num_return_sequences results a prompt, in order: the new tokens (an end token included)
// and their text (without special tokens, up to a stop string). Unlike prompts are not padded:
// every row gives what it would give alone. An empty prompt stands for the beginning-of-text token.
// Throws Error on ids outside the vocabulary and on more tokens than the model has positions;
// Error(numerical) where the model gives NaN.
std::vector<GenerateResult> generate(const GenerateJob& job);

}  // namespace quaver
