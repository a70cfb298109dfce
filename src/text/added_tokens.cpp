#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

bool stands_alone(std::string_view text, const Matcher::Match& match) {
  const bool word_before =
      match.begin > 0 && (classes_at(text, character_before(text, match.begin)) & word) != 0;
  const bool word_after = match.end < text.size() && (classes_at(text, match.end) & word) != 0;
  return !word_before && !word_after;
}

}  // namespace

void AddedTokens::add(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary,
                      const Normalizer& normalizer) {
  for (const AddedToken& given : tokens) {
    if (given.content.empty()) continue;
    if (given.special) special_.emplace(given.content, true);
    if (by_content_.count(given.content) != 0) continue;
    AddedToken token = given;
    if (const auto known = vocabulary.find(token.content)) {
      token.id = *known;
    } else {
      token.id = static_cast<std::int32_t>(std::max(vocabulary.count(), size_));
    }
    token.shown = token.content;
    if (token.normalized && normalizer) normalizer(token.shown);
    by_content_[token.content] = token.id;
    by_id_[token.id] = tokens_.size();
    tokens_.push_back(token);
    size_ = std::max<std::int64_t>(size_, token.id + 1);
    const auto index = static_cast<std::int32_t>(tokens_.size() - 1);
    if (!token.normalized) {
      raw_.add(token.content, index);
    } else if (!token.shown.empty()) {
      normalized_.add(token.shown, index);
    }
  }
}

void AddedTokens::split(std::string_view text, bool normalized,
                        const std::function<void(std::string_view)>& gap,
                        const std::function<void(std::int32_t)>& token) const {
  const Matcher& matcher = normalized ? normalized_ : raw_;
  std::size_t done = 0;  // text before it has been given out
  std::size_t from = 0;
  while (const auto match = matcher.next(text, from)) {
    from = match->end;
    const AddedToken& found = tokens_[static_cast<std::size_t>(match->value)];
    if (found.single_word && !stands_alone(text, *match)) continue;
    std::size_t begin = match->begin, end = match->end;
    // A token of white space may stand in what the token before it took along. If it strips, too,
    // nothing is left of it (the library drops such a token, or panics where it would end before
    // it begins); if not, it is given out again.
    if (found.lstrip) begin = std::max(begin, done);
    while (found.lstrip && begin > done) {
      const std::size_t before = character_before(text, begin);
      if ((classes_at(text, before) & strip_space) == 0) break;
      begin = before;
    }
    while (found.rstrip && end < text.size() && (classes_at(text, end) & strip_space) != 0) {
      end += static_cast<std::size_t>(character_length(text[end]));
    }
    if (done < begin) gap(text.substr(done, begin - done));
    if (begin < end) token(found.id);
    done = end;
  }
  if (done < text.size()) gap(text.substr(done));
}

std::optional<std::int32_t> AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  if (found == by_content_.end()) return std::nullopt;
  return found->second;
}

const AddedToken* AddedTokens::token(std::int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

bool AddedTokens::is_special(std::string_view content) const {
  return special_.count(std::string(content)) != 0;
}

}  // namespace quaver::tokens
