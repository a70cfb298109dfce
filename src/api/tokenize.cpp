#include "api/tokenize.h"

#include <optional>

#include "core/error.h"
#include "text/tokenizer.h"

namespace quaver {

struct TextCodec::State {
  Tokenizer tokenizer;
};

TextCodec::TextCodec(const std::string& directory) {
  std::optional<Tokenizer> found = Tokenizer::find(directory);
  ensure_file(found.has_value(), directory, ": ", no_tokenizer);
  state_ = std::make_unique<State>(State{std::move(*found)});
}

TextCodec::~TextCodec() = default;

std::vector<std::int32_t> TextCodec::encode(std::string_view text, bool add_special_tokens) const {
  return state_->tokenizer.encode(text, add_special_tokens);
}

std::string TextCodec::decode(std::span<const std::int32_t> ids, bool keep_special_tokens) const {
  return state_->tokenizer.decode(ids, !keep_special_tokens);
}

}  // namespace quaver
