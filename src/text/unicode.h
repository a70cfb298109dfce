#pragma once
// Character classes of code points, as the reference libraries' patterns see them. The table is
// generated: see tests/golden/tokenizers/make_unicode_tables.py.
#include <cstdint>

namespace quaver::tokens {

enum CharacterClass : std::uint8_t {
  letter = 1,        // \p{L} in a splitting pattern
  number = 2,        // \p{N}
  space = 4,         // \s
  word = 8,          // \w as added tokens with single_word mean it
  strip_space = 16,  // white space that added tokens with lstrip or rstrip take
};

// The bits of CharacterClass that hold for `value`; 0 above U+10FFFF.
std::uint8_t classes_of(char32_t value);

}  // namespace quaver::tokens
