#pragma once
// A model in memory: generate, evaluate, and raw logits.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quaver/evaluate.h"
#include "quaver/generate.h"

namespace quaver {

struct LoadOptions {
  std::string device = "cpu";
};

// Called after each token with the text that became final, perhaps none; return false to stop.
using TextSink = std::function<bool(std::string_view piece)>;

class Model {
 public:
  // A Hugging Face checkpoint directory, dense or quantized. Throws Error.
  static Model load(const std::string& directory, const LoadOptions& options = {});
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  GenerateResult generate(std::string_view prompt, const GenerateOptions& options = {},
                          const TextSink& sink = {}) const;
  // A batch of prompts as token ids, taken as they are (no special tokens are added).
  std::vector<GenerateResult> generate(std::span<const std::vector<std::int32_t>> prompts,
                                       const GenerateOptions& options = {}) const;
  EvaluateResult evaluate(const EvaluateOptions& options,
                          const std::function<void(const EvaluateProgress&)>& progress = {}) const;

  bool has_tokenizer() const;
  std::vector<std::int32_t> tokenize(std::string_view text, bool add_special_tokens = false) const;
  std::string detokenize(std::span<const std::int32_t> ids, bool keep_special_tokens = false) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quaver
