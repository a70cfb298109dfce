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
#include "quaver/load.h"

namespace quaver {

// Called after each token with the text that became final, perhaps none; return false to stop.
using TextSink = std::function<bool(std::string_view piece)>;

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"; a template may know more
  std::string content;
};

// What a model has read: the tokens that the next prompt has in common with the last one and its
// answer are not computed again. For one model, which must outlive it.
class PromptCache {
 public:
  PromptCache();
  PromptCache(PromptCache&&) noexcept;
  PromptCache& operator=(PromptCache&&) noexcept;
  ~PromptCache();

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

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
  // One prompt of token ids, continued over what `cache` holds, which then holds this text too.
  GenerateResult generate(std::span<const std::int32_t> prompt, PromptCache& cache,
                          const GenerateOptions& options = {}, const TextSink& sink = {}) const;
  // The conversation in the model's own chat template, ready for an answer, as token ids. Throws
  // Error where the model has no template or the template refuses the conversation.
  std::vector<std::int32_t> chat_prompt(std::span<const ChatMessage> messages) const;
  void check_chat() const;  // throws Error unless there are a chat template and a tokenizer
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
