#pragma once
// Generating text: options and results, named as transformers does.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace quaver {

struct GenerateOptions {
  std::optional<std::int64_t> max_new_tokens;  // default: generation_config.json, else 128
  std::optional<double> temperature;
  std::optional<std::int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> repetition_penalty;
  std::optional<std::int64_t> num_beams;
  std::optional<double> length_penalty;
  bool early_stopping = false;
  std::optional<std::uint64_t> seed;  // default: 0
  std::vector<std::string> stop;
  bool ignore_eos = false;

  void visit(auto&& field) {
    field("max-new-tokens", max_new_tokens, "tokens to add at most");
    field("temperature", temperature, "above 0: sample, sharper below 1, flatter above; 0: greedy");
    field("top-k", top_k, "sample among the K likeliest tokens");
    field("top-p", top_p, "sample among the likeliest tokens that hold this share of probability");
    field("repetition-penalty", repetition_penalty,
          "above 1: tokens already there become less likely");
    field("num-beams", num_beams, "beam search with this many beams");
    field("length-penalty", length_penalty, "beam scores are divided by length to this power");
    field("early-stopping", early_stopping, "stop beam search at num-beams finished candidates");
    field("seed", seed, "seed of sampling; the same seed gives the same text");
    field("stop", stop, "end at this string, which is not printed; repeatable");
    field("ignore-eos", ignore_eos, "treat the end token as an ordinary one");
  }
};

struct GenerateResult {
  std::optional<std::string> text;  // of the new tokens; none without a tokenizer
  std::vector<std::int32_t> ids;    // the new tokens
  std::int64_t prompt_tokens = 0, new_tokens = 0;
  double prompt_seconds = 0, new_seconds = 0;
};

}  // namespace quaver
