#pragma once
// Generating text: options and results, named as transformers does.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace quaver {

struct GenerateOptions {
  std::optional<std::int64_t> max_new_tokens;  // default: generation_config.json
  std::optional<double> temperature;
  std::optional<std::int64_t> top_k;
  std::optional<double> top_p, min_p, typical_p;
  std::optional<double> repetition_penalty, frequency_penalty, presence_penalty;
  std::optional<std::int64_t> no_repeat_ngram_size;
  std::optional<std::int64_t> min_new_tokens;
  std::string logit_bias;  // a .json file: {"ID": BIAS, ...}
  std::optional<std::int64_t> num_beams;
  std::optional<std::int64_t> num_return_sequences;
  std::optional<double> length_penalty;
  std::optional<std::string> early_stopping;  // "true", "false" or "never"
  std::optional<std::int64_t> prompt_lookup_num_tokens;
  std::optional<std::uint64_t> seed;  // default: 0
  std::vector<std::string> stop;
  bool ignore_eos = false;
  std::string kv_cache = "f32";  // f32, f16 or bf16
  // Where nothing limits the new tokens: as many, or as fit behind the prompt. No flag.
  std::int64_t default_new_tokens = 128;

  void visit(auto&& field) {
    field("max-new-tokens", max_new_tokens, "tokens to add at most");
    field("temperature", temperature, "above 0: sample, sharper below 1, flatter above; 0: greedy");
    field("top-k", top_k, "sample among the K likeliest tokens");
    field("top-p", top_p, "sample among the likeliest tokens that hold this share of probability");
    field("min-p", min_p, "sample among tokens at least this share as likely as the likeliest");
    field("typical-p", typical_p,
          "sample among tokens of typical surprise that hold this share of probability");
    field("repetition-penalty", repetition_penalty,
          "above 1: tokens already there become less likely");
    field("frequency-penalty", frequency_penalty,
          "taken off a new token's score for each time that it was generated");
    field("presence-penalty", presence_penalty, "taken off the score of each token generated");
    field("no-repeat-ngram-size", no_repeat_ngram_size, "no N tokens come twice in the same order");
    field("min-new-tokens", min_new_tokens, "no end token before this many new ones");
    field("logit-bias", logit_bias,
          "a JSON object of token ids and what is added to their scores, or transformers' "
          "sequence_bias",
          "FILE");
    field("num-beams", num_beams, "beam search with this many beams");
    field("num-return-sequences", num_return_sequences,
          "answers to each prompt: the best beams, or samples");
    field("length-penalty", length_penalty, "beam scores are divided by length to this power");
    field(
        "early-stopping", early_stopping,
        "stop beam search at num-beams finished candidates; never: not before none of them can be "
        "bettered",
        "[=never]");
    field("prompt-lookup-num-tokens", prompt_lookup_num_tokens,
          "guess up to N tokens at a time from what stands in the text already; the same result, "
          "sooner where the text repeats itself");
    field("seed", seed, "seed of sampling; the same seed gives the same text");
    field("stop", stop, "end at this string, which is not printed; repeatable");
    field("ignore-eos", ignore_eos, "treat the end token as an ordinary one");
    field("kv-cache", kv_cache,
          "how keys and values are kept: f32, or f16 or bf16 in half the room", "TYPE");
  }
};

struct GenerateResult {
  std::optional<std::string> text;  // of the new tokens; none without a tokenizer
  std::vector<std::int32_t> ids;    // the new tokens
  std::int64_t prompt_tokens = 0, new_tokens = 0;
  std::int64_t reused_tokens = 0;                        // of the prompt: not computed again
  std::int64_t drafted_tokens = 0, accepted_tokens = 0;  // by prompt lookup
  double prompt_seconds = 0, new_seconds = 0;
};

}  // namespace quaver
