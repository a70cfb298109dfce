#pragma once
// Continuing prompts: greedy, sampled, or by beam search.
#include <functional>
#include <span>
#include <string_view>
#include <vector>

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
  // For a single prompt: gets each piece of text as soon as it is final; false stops. Beam search
  // gives its text at the end. The pieces together are the result's text.
  std::function<bool(std::string_view piece)> sink = {};
};

// One result a prompt, in order: the new tokens (an end token included) and their text (without
// special tokens, up to a stop string). Unlike prompts are not padded: every row gives what it
// would give alone. An empty prompt stands for the beginning-of-text token. Throws Error on ids
// outside the vocabulary and on more tokens than the model has positions; Error(numerical) where
// the model gives NaN.
std::vector<GenerateResult> generate(const GenerateJob& job);

}  // namespace quaver
