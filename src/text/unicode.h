#pragma once
// Properties of code points, as the reference libraries see them. The tables are generated: see
// tests/golden/tokenizers/make_unicode_tables.py.
#include <cstdint>
#include <string>
#include <string_view>

#include "text/utf8.h"

namespace quaver::tokens {

enum CharacterClass : std::uint16_t {
  letter = 1,           // \p{L} in a splitting pattern
  number = 2,           // \p{N}
  space = 4,            // \s
  word = 8,             // \w as added tokens with single_word and Whitespace mean it
  strip_space = 16,     // white space that added tokens with lstrip or rstrip take
  punctuation = 32,     // as Punctuation and BertPreTokenizer mean it
  numeric = 64,         // as Digits means it
  control = 128,        // what BertNormalizer's clean_text takes away
  nonspacing = 256,     // what its strip_accents takes away after decomposition
  combining = 512,      // what StripAccents takes away
  upper_like = 1024,    // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] in a splitting pattern
  lower_like = 2048,    // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
  mark = 4096,          // \p{M}
  symbol = 8192,        // [\p{P}\p{S}]
  pattern_word = 16384  // \w in a splitting pattern
};

// The bits of CharacterClass that hold for `value`; 0 above U+10FFFF.
std::uint16_t classes_of(char32_t value);
// Those of the character that starts at text[at], in valid text.
inline std::uint16_t classes_at(std::string_view text, std::size_t at) {
  int length;
  return classes_of(valid_code_point(text.data() + at, length));
}

// Appends the lower case of `value`, which may be two characters.
void append_lower(std::string& out, char32_t value);

// The number of the script that UnicodeScripts counts `value` to; 0: goes with any.
std::uint8_t script_of(char32_t value);

// Normalization forms of valid UTF-8, by the tables of `tokenizers`.
enum class Form { nfc, nfd, nfkc, nfkd };
void normalize(std::string& text, Form form);

// The end of the user-perceived character (extended grapheme cluster) that starts at text[at].
std::size_t grapheme_end(std::string_view text, std::size_t at);

}  // namespace quaver::tokens
