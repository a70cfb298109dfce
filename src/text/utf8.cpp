#include "text/utf8.h"

#include <cstring>

namespace quaver::tokens {

CodePoint read_code_point(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {0xFFFD, 1, false, false};
  const int size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range keeps overlong forms, surrogates and values above U+10FFFF out.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  auto value = static_cast<char32_t>(lead & (0x7F >> size));
  for (int i = 1; i < size; ++i) {
    if (at + static_cast<std::size_t>(i) >= text.size()) return {0xFFFD, i, false, true};
    const unsigned char next = byte(static_cast<std::size_t>(i));
    if (next < (i == 1 ? low : 0x80) || next > (i == 1 ? high : 0xBF)) {
      return {0xFFFD, i, false, false};
    }
    value = value << 6 | (next & 0x3F);
  }
  return {value, size, true, false};
}

void append_code_point(std::string& out, char32_t value) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

namespace {

// The first position from `at` on that may not be ASCII.
std::size_t skip_ascii(std::string_view text, std::size_t at) {
  while (at + 8 <= text.size()) {
    std::uint64_t eight;
    std::memcpy(&eight, text.data() + at, 8);
    if ((eight & 0x8080808080808080u) != 0) break;
    at += 8;
  }
  return at;
}

}  // namespace

std::size_t end_of_valid(std::string_view text, std::size_t at) {
  const auto inside = [&](std::size_t place, unsigned char low = 0x80, unsigned char high = 0xBF) {
    const auto byte = static_cast<unsigned char>(text[place]);
    return byte >= low && byte <= high;
  };
  while ((at = skip_ascii(text, at)) < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t left = text.size() - at;
    if (lead < 0x80) {
      at += 1;
    } else if (lead >= 0xC2 && lead < 0xE0 && left >= 2 && inside(at + 1)) {
      at += 2;
    } else if (lead >= 0xE1 && lead < 0xF0 && lead != 0xED && left >= 3 && inside(at + 1) &&
               inside(at + 2)) {
      at += 3;
    } else {  // the leads whose second byte has a range of its own, and what is ill-formed
      const CodePoint point = read_code_point(text, at);
      if (!point.valid) return at;
      at += static_cast<std::size_t>(point.length);
    }
  }
  return text.size();
}

bool is_valid_utf8(std::string_view text) { return end_of_valid(text, 0) == text.size(); }

std::string replaced_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = end_of_valid(text, at);
    out += text.substr(at, end - at);
    if (end == text.size()) break;
    out += replacement_character;
    at = end + static_cast<std::size_t>(read_code_point(text, end).length);
  }
  return out;
}

}  // namespace quaver::tokens
