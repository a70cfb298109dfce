#pragma once
// The stages of a tokenizer and the tables that name them, as tokenizer.json does:
//   text -> added tokens cut out -> normalizer -> pre-tokenizers -> model -> post-processor -> ids
//   ids -> tokens -> decoders -> text
// A stage is a function object; a table row turns the JSON object of its type into one. To add a
// type is to write a `read_...` function and to add its row.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "text/vocabulary.h"

namespace quaver::tokens {

struct Span {
  std::size_t begin = 0, end = 0;  // bytes of a text
};

// A piece of text on its way through the pre-tokenizers, and the words that it falls into.
struct Words {
  std::string text;
  std::vector<Span> spans;  // the words: in order, not empty, within text
  bool at_start = true;     // the piece begins where the whole text does
  bool as_bytes = false;    // `text` still has to be spelled in the byte-level alphabet
};

using Normalizer = std::function<void(std::string&)>;
using PreTokenizer = std::function<void(Words&)>;
using PostProcessor = std::function<void(std::vector<std::int32_t>&)>;

// Decoders form a chain of sinks. A token arrives as any number of `part`s (whole UTF-8
// characters each), then `token_end`; `finish` comes once, after the last token.
enum class Mark { part, token_end, finish };
using TokenSink = std::function<void(std::string_view, Mark)>;
// Makes a fresh sink, with its own state, that passes on to `next`.
using Decoder = std::function<TokenSink(TokenSink next)>;

class Model {
 public:
  virtual ~Model() = default;
  virtual const Vocabulary& vocabulary() const = 0;
  // Appends the ids of all words of one piece of text. Safe to call from several threads.
  virtual void tokenize(const Words& words, std::vector<std::int32_t>& ids) const = 0;
};

template <class Stage>
struct StageRow {
  std::string_view type;  // the JSON object's "type"
  Stage (*read)(const Json& object, std::string_view where);
};

Normalizer read_normalizer(const Json& object, std::string_view where);
PreTokenizer read_pre_tokenizer(const Json& object, std::string_view where);
PostProcessor read_post_processor(const Json& object, std::string_view where);
Decoder read_decoder(const Json& object, std::string_view where);

// The decoder of a file that names none: tokens joined by spaces.
Decoder joining_decoder();

// Reads `object` by the row of its "type"; an unknown type is refused with the known ones.
template <class Stage, std::size_t rows>
Stage read_by_type(const StageRow<Stage> (&table)[rows], std::string_view kind, const Json& object,
                   std::string_view where) {
  const std::string type = json_string(object, "type", where);
  for (const auto& row : table) {
    if (row.type == type) return row.read(object, where);
  }
  std::string known;
  for (const auto& row : table) (known += known.empty() ? "" : ", ") += row.type;
  fail(Fault::unsupported, where, ": unknown ", kind, " '", type, "'; known: ", known);
}

// The list `key` of a Sequence, which must hold objects.
const Json& stage_list(const Json& object, const char* key, std::string_view where);

// A pattern of Replace or Split: {"String": "..."} or {"Regex": "..."}.
struct Pattern {
  std::string content;
  bool regex = false;
};
Pattern read_pattern(const Json& object, std::string_view where);

// Where a pattern matches next, from `from` on; nullopt: nowhere.
using Finder = std::function<std::optional<Span>(std::string_view text, std::size_t from)>;
// The finder of a string or of a regular expression: those of published tokenizers are written out
// by hand, any other is Oniguruma's syntax and goes to PCRE2.
Finder finder_of(const Pattern& pattern, std::string_view where);

// The finder of a published tokenizer's pattern that is written out by hand; null: none is known.
using WordFinder = std::optional<Span> (*)(std::string_view text, std::size_t from);
WordFinder known_finder(std::string_view regex);

// Calls `match(span)` for every match of `find` in `text`, in order. An empty match counts unless
// it touches the end of the match before it: the library's order.
template <class Match>
void for_each_match(const Finder& find, std::string_view text, Match match) {
  std::optional<std::size_t> last_end;
  for (std::size_t at = 0; at <= text.size();) {
    const std::optional<Span> hit = find(text, at);
    if (!hit) return;
    if (hit->begin == hit->end && last_end == hit->end) {
      do {
        ++at;
      } while (at < text.size() && (text[at] & 0xC0) == 0x80);
      continue;
    }
    match(*hit);
    at = hit->end;
    last_end = at;
  }
}

// The end of the word that starts at text[begin] by GPT-2's pattern; begin < text.size().
std::size_t gpt2_word_end(std::string_view text, std::size_t begin);

// How the matches of a pattern split a word.
enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
Behavior read_behavior(const Json& object, std::string_view where);

// Every occurrence of `from`, which is not empty, becomes `to`.
std::string replaced_all(std::string_view text, std::string_view from, std::string_view to);

// The character that stands for each byte in the byte-level alphabet, as UTF-8.
const std::string& byte_character(unsigned char byte);
// The byte that a character of that alphabet stands for.
std::optional<unsigned char> byte_of(char32_t character);

}  // namespace quaver::tokens
