#pragma once
// How to generate, decided: the user's options over generation_config.json over the defaults.
// Names and meanings are those of transformers' GenerationConfig.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/tensor.h"
#include "quaver/generate.h"

namespace quaver {

enum class EarlyStopping : std::uint8_t {
  no,    // stop when the best open beam, at its present length, cannot beat the worst finished one
  yes,   // stop as soon as there are num_beams finished beams
  never  // stop only when no open beam can win any more
};

// What is added to the score of the last of these tokens where the others stand before it.
struct TokenBias {
  std::vector<std::int32_t> ids;  // at least one
  float bias = 0;                 // -infinity: never
};

struct ExponentialDecay {
  std::int64_t start = 0;  // new tokens
  double factor = 1;
};

struct GenerateSettings {
  std::optional<std::int64_t> max_new_tokens;  // wins over max_length
  std::optional<std::int64_t> max_length;      // prompt and new tokens
  std::int64_t default_new_tokens = 128;       // where there is neither, if they fit
  std::int64_t min_new_tokens = 0;             // no end token before
  std::int64_t min_length = 0;                 // the same, prompt included
  bool sample = false;                         // else the likeliest token, or beam search
  double temperature = 1;                      // above 0
  std::int64_t top_k = 50;                     // 0: off. 50 is transformers' default too
  double top_p = 1;                            // 1: off
  double min_p = 0;                            // 0: off
  double typical_p = 1;                        // 1: off
  std::optional<double> top_h;                 // none: off
  double epsilon_cutoff = 0;                   // 0: off
  double eta_cutoff = 0;                       // 0: off
  double repetition_penalty = 1;
  double encoder_repetition_penalty = 1;  // above 1: tokens of the prompt become likelier
  double frequency_penalty = 0, presence_penalty = 0;
  std::int64_t no_repeat_ngram_size = 0;
  std::int64_t encoder_no_repeat_ngram_size = 0;  // n-grams of the prompt alone
  std::vector<TokenBias> sequence_bias, bad_words;
  std::optional<ExponentialDecay> exponential_decay;
  bool remove_invalid_values = false;  // NaN and infinities become numbers
  bool renormalize_logits = false;     // matters to beams alone
  std::int64_t num_beams = 1;
  std::int64_t num_return_sequences = 1;
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::no;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
  std::vector<std::int32_t> eos;  // empty: nothing ends a sequence but its length
  std::vector<std::int32_t> suppress;
  std::vector<std::int32_t> begin_suppress;   // not as the first new token
  std::optional<std::int32_t> forced_bos;     // after a prompt of one token
  std::vector<std::int32_t> forced_eos;       // as the last token that the length allows
  std::optional<std::int32_t> bos;            // the prompt where there is none
  std::int64_t prompt_lookup_num_tokens = 0;  // 0: off
  std::int64_t max_matching_ngram_size = 2;   // of prompt lookup
  DType kv_cache = DType::f32;
};

// `config` is generation_config.json (null: none). A sampling option (temperature above 0, top_k,
// top_p, min_p, typical_p) turns sampling on, temperature 0 turns it off, otherwise do_sample
// decides. Throws Error on a value out of range, naming option, value and range, and on a key of
// `config` that would change the result and that quaver does not know how to follow.
GenerateSettings resolve(const GenerateOptions& options, const Json& config);

// The directory's generation_config.json; without one, the token ids that config.json holds.
Json read_generation_config(const std::filesystem::path& directory);

// How many tokens to add to a prompt of `prompt` tokens, in a model of `positions` positions (0: no
// limit). Throws Error where not even the prompt, or not all tokens
// asked for, fit.
std::int64_t new_token_limit(const GenerateSettings& settings, std::int64_t prompt,
                             std::int64_t positions);

}  // namespace quaver
