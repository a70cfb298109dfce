// Splitting patterns. The regular expressions of published tokenizers are written out by hand:
// each is recognized by its exact text.
#include <array>
#include <cctype>

#include "text/pipeline.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

// The end of the run of characters from `at` on whose class bits, masked, equal `wanted`.
std::size_t run_end(std::string_view text, std::size_t at, std::uint16_t mask,
                    std::uint16_t wanted) {
  while (at < text.size()) {
    int length;
    if ((classes_of(valid_code_point(text.data() + at, length)) & mask) != wanted) break;
    at += static_cast<std::size_t>(length);
  }
  return at;
}

// 's|'t|'re|'ve|'m|'ll|'d after the apostrophe at text[at]: the bytes of the whole, or 0.
std::size_t contraction(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at + 1, 2);
  for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
    if (rest.substr(0, ending.size()) == ending) return 1 + ending.size();
  }
  return 0;
}

}  // namespace

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::size_t gpt2_word_end(std::string_view text, std::size_t begin) {
  constexpr std::uint16_t mask = letter | number | space;
  if (text[begin] == '\'') {
    if (const std::size_t bytes = contraction(text, begin)) return begin + bytes;
  }
  std::size_t at = begin + (text[begin] == ' ' ? 1 : 0);
  if (at < text.size()) {
    int length;
    const std::uint16_t kind = classes_of(valid_code_point(text.data() + at, length)) & mask;
    if ((kind & space) == 0) return run_end(text, at, mask, kind);
  }
  at = run_end(text, begin, space, space);
  if (at == text.size()) return at;
  // A run before a word leaves its last character to the word, unless it has no other.
  std::size_t last = at - 1;
  while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
  return last == begin ? at : last;
}

namespace {

std::optional<Span> find_gpt2(std::string_view text, std::size_t from) {
  if (from >= text.size()) return std::nullopt;
  return Span{from, gpt2_word_end(text, from)};
}

// Bloom's [^(\s|[.,!?…。，、।۔،])]: the inner brackets are a nested class, so the set is all but
// parentheses, the bar, white space and this punctuation.
bool bloom_word_character(char32_t c) {
  switch (c) {
    case '(':
    case ')':
    case '|':
    case '.':
    case ',':
    case '!':
    case '?':
    case U'…':
    case U'。':
    case U'，':
    case U'、':
    case U'।':
    case U'۔':
    case U'،':
      return false;
    default:
      return (classes_of(c) & space) == 0;
  }
}

std::size_t bloom_run_end(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    int length;
    if (!bloom_word_character(valid_code_point(text.data() + at, length))) break;
    at += static_cast<std::size_t>(length);
  }
  return at;
}

std::optional<Span> find_bloom(std::string_view text, std::size_t from) {
  for (std::size_t at = from; at < text.size();) {
    const std::size_t start = at + (text[at] == ' ' ? 1 : 0);
    const std::size_t end = bloom_run_end(text, start);
    if (end > start) return Span{at, end};
    at += static_cast<std::size_t>(character_length(text[at]));
  }
  return std::nullopt;
}

struct KnownRegex {
  std::string_view regex;
  std::optional<Span> (*find)(std::string_view text, std::size_t from);
};
constexpr KnownRegex known_regexes[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", find_gpt2},
    {R"( ?[^(\s|[.,!?…。，、।۔،])]+)", find_bloom},
};

}  // namespace

Pattern read_pattern(const Json& object, std::string_view where) {
  ensure_file(object.is_object() && object.size() == 1, where,
              ": a pattern is {\"String\": ...} or {\"Regex\": ...}, got ", object.dump());
  const std::string kind = object.begin().key();
  ensure_file(kind == "String" || kind == "Regex", where, ": unknown pattern kind '", kind,
              "'; known: String, Regex");
  const std::string content = json_string(object, kind.c_str(), where);
  ensure_file(!content.empty(), where, ": an empty pattern");
  return {content, kind == "Regex"};
}

Finder finder_of(const Pattern& pattern, std::string_view where) {
  if (!pattern.regex) {
    return [content = pattern.content](std::string_view text,
                                       std::size_t from) -> std::optional<Span> {
      const std::size_t at = text.find(content, from);
      if (at == std::string_view::npos) return std::nullopt;
      return Span{at, at + content.size()};
    };
  }
  for (const KnownRegex& known : known_regexes) {
    if (known.regex == pattern.content) return known.find;
  }
  std::string list;
  for (const KnownRegex& known : known_regexes) ((list += "\n  ") += known.regex);
  fail(Fault::unsupported, where, ": unknown regular expression ", pattern.content,
       "; known:", list);
}

std::string replaced_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  for (std::size_t hit; (hit = text.find(from, at)) != std::string_view::npos;
       at = hit + from.size()) {
    (out += text.substr(at, hit - at)) += to;
  }
  out += text.substr(at);
  return out;
}

namespace {

// Printable Latin-1 stands for itself; the other 68 bytes, in order, for U+0100 onward.
struct ByteAlphabet {
  std::array<std::string, 256> characters;
  std::array<std::int16_t, 0x144> bytes;  // by code point; -1: stands for no byte
  ByteAlphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const char32_t character = itself ? static_cast<char32_t>(byte) : next++;
      append_code_point(characters[static_cast<std::size_t>(byte)], character);
      bytes[character] = static_cast<std::int16_t>(byte);
    }
  }
};

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace

const std::string& byte_character(unsigned char byte) { return byte_alphabet().characters[byte]; }

std::optional<unsigned char> byte_of(char32_t character) {
  const auto& bytes = byte_alphabet().bytes;
  if (character >= bytes.size() || bytes[character] < 0) return std::nullopt;
  return static_cast<unsigned char>(bytes[character]);
}

}  // namespace quaver::tokens
