#pragma once
// What pre-tokenizers share, and the readers that pre_tokenizers.cpp names in its table.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/pipeline.h"

namespace quaver::tokens {

// Rewrites every word by `rewrite(word, begins_text, out)`, which appends its new form to `out`.
template <class Rewrite>
void rewrite_words(Words& words, Rewrite rewrite) {
  std::string out;
  out.reserve(words.text.size() + words.text.size() / 8);
  for (Span& span : words.spans) {
    const bool begins_text = words.at_start && span.begin == 0;
    const std::size_t begin = out.size();
    rewrite(std::string_view(words.text).substr(span.begin, span.end - span.begin), begins_text,
            out);
    span = {begin, out.size()};
  }
  words.text = std::move(out);
}

// Splits every word by `split(word, pieces)`, which appends spans relative to the word.
template <class Split>
void split_words(Words& words, Split split) {
  std::vector<Span> out, pieces;
  for (const Span span : words.spans) {
    pieces.clear();
    split(std::string_view(words.text).substr(span.begin, span.end - span.begin), pieces);
    for (const Span piece : pieces) {
      if (piece.begin < piece.end) {
        out.push_back({span.begin + piece.begin, span.begin + piece.end});
      }
    }
  }
  words.spans = std::move(out);
}

struct Part {
  Span span;
  bool match;
};

// Appends the pieces of a word that is these parts, which it uses up.
void split_by(std::vector<Part>& parts, Behavior behavior, std::vector<Span>& pieces);

PreTokenizer read_whitespace(const Json& object, std::string_view where);
PreTokenizer read_whitespace_split(const Json& object, std::string_view where);
PreTokenizer read_bert_pre_tokenizer(const Json& object, std::string_view where);
PreTokenizer read_char_delimiter_split(const Json& object, std::string_view where);
PreTokenizer read_punctuation(const Json& object, std::string_view where);
PreTokenizer read_digits(const Json& object, std::string_view where);
PreTokenizer read_unicode_scripts(const Json& object, std::string_view where);
PreTokenizer read_fixed_length(const Json& object, std::string_view where);

}  // namespace quaver::tokens
