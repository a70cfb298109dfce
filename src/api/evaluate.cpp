#include <memory>

#include "api/loaded_model.h"
#include "eval/perplexity.h"
#include "loading/model.h"

namespace quaver {

EvaluateResult Model::evaluate(const EvaluateOptions& options,
                               const std::function<void(const EvaluateProgress&)>& progress) const {
  const Tokenizer& tokenizer = impl_->needed_tokenizer();
  std::unique_ptr<Decoder> reference;
  if (!options.against.empty())
    reference = load_decoder(open_model(options.against, search_of(impl_->load)));
  return quaver::evaluate({.model = *impl_->decoder,
                           .tokenizer = tokenizer,
                           .options = options,
                           .reference = reference.get(),
                           .progress = progress});
}

}  // namespace quaver
