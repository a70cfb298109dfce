#pragma once
// Measuring a model: perplexity, and divergence from a reference model.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace quaver {

struct EvaluateOptions {
  std::string text;               // a UTF-8 text file; default: the built-in held-out text
  std::string protocol = "gptq";  // gptq, llamacpp or strided
  std::optional<std::int64_t>
      context;                         // tokens a window; default: 2048, or the model's own if less
  std::optional<std::int64_t> stride;  // strided: tokens between windows; default: half of context
  std::optional<std::int64_t> max_windows;
  std::string against;  // a reference checkpoint directory

  void visit(auto&& field) {
    field("text", text, "UTF-8 text to score; default: a built-in held-out text");
    field("protocol", protocol, "how windows are cut and scored: gptq, llamacpp or strided");
    field("context", context, "tokens a window; default: the model's context, at most 2048");
    field("stride", stride, "strided: tokens between windows; default: half of the context");
    field("max-windows", max_windows, "score only the first windows");
    field("against", against,
          "a reference model: report KL divergence to it and equal top choices");
  }
};

struct EvaluateResult {
  double perplexity = 0, perplexity_stderr = 0;
  double nll = 0;  // mean negative log-likelihood a scored token, nats
  std::int64_t tokens = 0, windows = 0;
  std::string protocol;
  std::int64_t context = 0;
  std::optional<double> kl, kl_stderr, top1;  // with `against`
  double seconds = 0;
};

struct EvaluateProgress {
  std::int64_t done = 0, total = 0;  // windows
  double perplexity = 0;             // so far
  double elapsed = 0, left = -1;
};

}  // namespace quaver
