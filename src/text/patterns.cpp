// Patterns of Replace and Split, and the byte-level alphabet.
#include <array>

#include "text/pipeline.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace quaver::tokens {

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
  if (const WordFinder known = known_finder(pattern.content)) return known;
  return [regex = Regex(pattern.content, where)](std::string_view text, std::size_t from) {
    return regex.find(text, from);
  };
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
