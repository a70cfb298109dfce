#pragma once
// UTF-8, by the rules of Unicode 15 section 3.9: well-formed sequences, and one U+FFFD for each
// maximal subpart of an ill-formed one (what Python's errors='replace' and Rust's lossy reader do).
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quaver::tokens {

constexpr std::string_view space_mark = "▁";                        // U+2581, SentencePiece's space
constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD

struct CodePoint {
  char32_t value = 0xFFFD;
  int length = 0;        // bytes taken; for an ill-formed sequence those of its maximal subpart
  bool valid = false;    // false: value is U+FFFD
  bool partial = false;  // ill-formed only because the text ends: more bytes could complete it
};

// Reads the code point that starts at text[at]; at < text.size().
CodePoint read_code_point(std::string_view text, std::size_t at);

// The same for text that is known to be valid: no checks.
inline char32_t valid_code_point(const char* at, int& length) {
  const auto byte = [at](int i) { return static_cast<unsigned char>(at[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    length = 1;
    return lead;
  }
  if (lead < 0xE0) {
    length = 2;
    return static_cast<char32_t>((lead & 0x1F) << 6 | (byte(1) & 0x3F));
  }
  if (lead < 0xF0) {
    length = 3;
    return static_cast<char32_t>((lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F));
  }
  length = 4;
  return static_cast<char32_t>((lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 |
                               (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F));
}

// Bytes of the character that starts with `lead`, in valid text.
inline int character_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// Start of the last character before byte `end` > 0, in valid text.
inline std::size_t character_before(std::string_view text, std::size_t end) {
  do --end;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

void append_code_point(std::string& out, char32_t value);

// Where the first ill-formed sequence from `at` on begins, or text.size(). A character begins
// there.
std::size_t end_of_valid(std::string_view text, std::size_t at);
bool is_valid_utf8(std::string_view text);

// `text` with U+FFFD for each maximal ill-formed subpart.
std::string replaced_invalid(std::string_view text);

}  // namespace quaver::tokens
