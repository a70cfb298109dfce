#pragma once
// The added tokens of tokenizer.json: strings that are cut out of the text before the model sees
// it, with the rules of the `tokenizers` library (added_vocabulary.rs).
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/matcher.h"
#include "text/pipeline.h"

namespace quaver::tokens {

struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool single_word = false;  // only between characters that are not part of words
  bool lstrip = false;       // takes the white space before it, too
  bool rstrip = false;       // and after it
  bool normalized = false;   // sought in the normalized text, not in the raw one
  bool special = false;
  std::string shown = {};  // what decoding takes it for: the content, normalized if `normalized`
};

class AddedTokens {
 public:
  // Adds the file's list in order. A token takes the id that `vocabulary` has for it, else the next
  // free one, whatever the file says: the library does so too.
  void add(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary,
           const Normalizer& normalizer);

  // Calls `gap(text)` and `token(id)` for the parts of `text`, in order. `normalized` selects the
  // tokens that are sought in normalized text.
  void split(std::string_view text, bool normalized,
             const std::function<void(std::string_view)>& gap,
             const std::function<void(std::int32_t)>& token) const;

  std::optional<std::int32_t> find(std::string_view content) const;
  const AddedToken* token(std::int32_t id) const;  // null: none has this id
  // Special tokens are known by their string, wherever it stands.
  bool is_special(std::string_view content) const;
  std::int64_t size() const { return size_; }  // largest id + 1

 private:
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::int32_t> by_content_;
  std::unordered_map<std::int32_t, std::size_t> by_id_;
  std::unordered_map<std::string, bool> special_;
  Matcher raw_, normalized_;
  std::int64_t size_ = 0;
};

}  // namespace quaver::tokens
