#include "quaver/model.h"

#include <utility>

#include "api/loaded_model.h"
#include "core/error.h"
#include "generate/generate.h"
#include "generate/settings.h"
#include "loading/model.h"

namespace quaver {
namespace {

std::vector<GenerateResult> run(const Model::Impl& impl, const Tokenizer* tokenizer,
                                std::span<const std::vector<std::int32_t>> prompts,
                                const GenerateSettings& settings, const TextSink& sink) {
  return quaver::generate({.decoder = *impl.decoder,
                           .tokenizer = tokenizer,
                           .prompts = prompts,
                           .settings = settings,
                           .sink = sink});
}

}  // namespace

const Tokenizer* Model::Impl::tokenizer() const {
  std::call_once(once_, [this] { tokenizer_ = Tokenizer::find(directory); });
  return tokenizer_ ? &*tokenizer_ : nullptr;
}

const Tokenizer& Model::Impl::needed_tokenizer() const {
  const Tokenizer* const found = tokenizer();
  ensure_file(found != nullptr, directory.string(), ": ", no_tokenizer,
              "; only token ids can be given");
  return *found;
}

void check_device(const std::string& device) {
  ensure(device == "cpu", "device: got '", device,
         "', expected cpu, the only device that this build knows");
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Model Model::load(const std::string& directory, const LoadOptions& options) {
  check_device(options.device);
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  impl->load = options;
  impl->decoder = load_decoder(open_model(directory, search_of(options)), options.exact);
  impl->generation_config = read_generation_config(directory);
  return Model(std::move(impl));
}

GenerateResult Model::generate(std::string_view prompt, const GenerateOptions& options,
                               const TextSink& sink) const {
  const Tokenizer& tokenizer = impl_->needed_tokenizer();
  const GenerateSettings settings = resolve(options, impl_->generation_config);
  ensure(settings.num_return_sequences == 1, "[generate] num_return_sequences is ",
         settings.num_return_sequences, " for a text: expected 1; prompts of ids may have several");
  const std::vector<std::int32_t> ids = tokenizer.encode(prompt, true);
  return std::move(run(*impl_, &tokenizer, {&ids, 1}, settings, sink).front());
}

std::vector<GenerateResult> Model::generate(std::span<const std::vector<std::int32_t>> prompts,
                                            const GenerateOptions& options) const {
  const GenerateSettings settings = resolve(options, impl_->generation_config);
  return run(*impl_, impl_->tokenizer(), prompts, settings, {});
}

bool Model::has_tokenizer() const { return impl_->tokenizer() != nullptr; }

std::vector<std::int32_t> Model::tokenize(std::string_view text, bool add_special_tokens) const {
  return impl_->needed_tokenizer().encode(text, add_special_tokens);
}

std::string Model::detokenize(std::span<const std::int32_t> ids, bool keep_special_tokens) const {
  return impl_->needed_tokenizer().decode(ids, !keep_special_tokens);
}

}  // namespace quaver
