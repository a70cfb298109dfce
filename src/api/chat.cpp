// Conversations: the model's chat template, and what it has read of them so far.
#include <optional>
#include <utility>

#include "api/loaded_model.h"
#include "core/error.h"
#include "generate/generate.h"
#include "generate/settings.h"
#include "quaver/model.h"
#include "text/chat_template.h"

namespace quaver {

struct PromptCache::Impl {
  DType type = DType::f32;
  std::optional<Session> session;
};

PromptCache::PromptCache() : impl_(std::make_unique<Impl>()) {}
PromptCache::PromptCache(PromptCache&&) noexcept = default;
PromptCache& PromptCache::operator=(PromptCache&&) noexcept = default;
PromptCache::~PromptCache() = default;

GenerateResult Model::generate(std::span<const std::int32_t> prompt, PromptCache& cache,
                               const GenerateOptions& options, const TextSink& sink) const {
  const GenerateSettings settings = resolve(options, impl_->generation_config);
  const std::vector<std::int32_t> ids(prompt.begin(), prompt.end());
  GenerateJob job{.decoder = *impl_->decoder,
                  .tokenizer = impl_->tokenizer(),
                  .prompts = {&ids, 1},
                  .settings = settings,
                  .sink = sink};
  PromptCache::Impl& held = cache.impl();
  if (settings.num_beams == 1) {
    if (!held.session || held.type != settings.kv_cache) {
      held.session.emplace(*impl_->decoder, 1, Device{}, settings.kv_cache);
      held.type = settings.kv_cache;
    }
    job.session = &*held.session;
  }
  try {
    return std::move(quaver::generate(job).front());
  } catch (const Error& error) {
    // An interruption comes between two steps; anything else may have come within one.
    if (error.fault != Fault::interrupted) held.session.reset();
    throw;
  } catch (...) {
    held.session.reset();
    throw;
  }
}

namespace {

ChatTemplates templates_of(const std::filesystem::path& directory) {
  auto templates = ChatTemplates::find(directory);
  ensure_file(templates.has_value(), directory.string(),
              ": no chat template (chat_template.jinja, or chat_template in "
              "tokenizer_config.json); this model continues texts: quaver generate");
  return std::move(*templates);
}

}  // namespace

void Model::check_chat() const {
  templates_of(impl_->directory);
  impl_->needed_tokenizer();
}

std::vector<std::int32_t> Model::chat_prompt(std::span<const ChatMessage> messages) const {
  OrderedJson list = OrderedJson::array();
  for (const ChatMessage& m : messages) list.push_back({{"role", m.role}, {"content", m.content}});
  const std::string prompt =
      templates_of(impl_->directory)
          .render({.messages = std::move(list), .add_generation_prompt = true});
  return impl_->needed_tokenizer().encode(prompt, false);
}

}  // namespace quaver
