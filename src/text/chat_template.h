#pragma once
// Chat templates: the Jinja2 that published models use, run as transformers' apply_chat_template
// runs it. A template is foreign code: it sees only the values given to it, and may use only so
// many steps and bytes.
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"

namespace quaver {

namespace jinja {
struct ParsedTemplate;
}

struct ChatLimits {
  std::int64_t steps = 1'000'000;        // statements, expressions, turns of loops
  std::int64_t output = 16 << 20;        // bytes, of the whole output and of any one value
  std::int64_t bytes = 256 << 20;        // read and written by all operations together
  std::int64_t template_size = 1 << 20;  // bytes of the template's text
};

struct ChatInput {
  OrderedJson messages;  // an array of objects
  OrderedJson tools;     // an array of objects, or null
  bool add_generation_prompt = false;
  OrderedJson variables;       // an object of further variables (bos_token, documents,
                               // enable_thinking ...), or null; they come before the above
  std::optional<std::tm> now;  // what strftime_now shows; else the local time
};

// Cheap to copy; every method is const and safe to call from several threads.
class ChatTemplate {
 public:
  // Parses the template; `name` stands in all messages. Throws Error: bad_file on errors of syntax,
  // unsupported for what Jinja knows and this does not.
  explicit ChatTemplate(std::string_view source, std::string name = "chat template",
                        const ChatLimits& limits = {});

  // The prompt. Throws Error, its message "NAME: line N: ...": bad_argument where the template
  // refuses the conversation (raise_exception) or a Python program would raise an exception,
  // unsupported, resource past a limit.
  std::string render(const ChatInput& input) const;

 private:
  std::shared_ptr<const jinja::ParsedTemplate> parsed_;
};

// The templates of a model directory and the special tokens they may name.
class ChatTemplates {
 public:
  // From chat_template.jinja and additional_chat_templates/NAME.jinja; where there are none, from
  // chat_template.json, else from tokenizer_config.json. Special tokens (bos_token ...) are
  // tokenizer_config.json's, then special_tokens_map.json's. nullopt: the model has no template.
  static std::optional<ChatTemplates> find(const std::filesystem::path& directory);

  // `tool_use` where there are tools and such a template, else `default`, else the only one.
  const ChatTemplate& choose(bool tools) const;
  // choose, then render with the special tokens among the variables; those of `input` win.
  std::string render(const ChatInput& input) const;

  const std::map<std::string, ChatTemplate>& all() const { return templates_; }
  const OrderedJson& special_tokens() const { return special_tokens_; }

 private:
  std::map<std::string, ChatTemplate> templates_;
  OrderedJson special_tokens_ = OrderedJson::object();
};

}  // namespace quaver
