#pragma once
// Perplexity of a model, and its divergence from a reference model.
#include <functional>

#include "models/decoder.h"
#include "quaver/evaluate.h"
#include "text/tokenizer.h"

namespace quaver {

struct EvaluateJob {
  Decoder& model;  // parameters on `device`
  const Tokenizer& tokenizer;
  const EvaluateOptions& options;
  Decoder* reference = nullptr;  // same vocabulary, on `device`; gives kl and top1
  Device device = {};
  std::function<void(const EvaluateProgress&)> progress = {};  // called after every few windows
};

// Scores options.text (default: the built-in text) by options.protocol. Sums are formed in double
// precision, in the order of the text: the same result for any number of threads. The standard
// errors treat scored tokens as independent: of the mean nll and mean KL sqrt(variance / (n - 1)),
// of the perplexity that of the nll times the perplexity. KL is KL(reference || model) in nats.
// Throws Error on an unknown protocol, a text too short, a context that the model cannot hold, and
// Error(numerical) where logits are not finite. `options.against` is the caller's to load.
EvaluateResult evaluate(const EvaluateJob& job);

}  // namespace quaver
