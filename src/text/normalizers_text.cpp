// Normalizers of tokenizer.json that change characters one by one, or by tables.
#include "text/base64.h"
#include "text/charsmap.h"
#include "text/normalizers.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

// Makes `out` of the characters of `text`, one after the other.
template <class Change>
void change_characters(std::string& text, Change change) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (std::size_t at = 0; at < text.size();) {
    int length;
    const char32_t code = valid_code_point(text.data() + at, length);
    change(code, std::string_view(text).substr(at, static_cast<std::size_t>(length)), out);
    at += static_cast<std::size_t>(length);
  }
  text = std::move(out);
}

void remove_characters(std::string& text, CharacterClass kind) {
  change_characters(text, [kind](char32_t code, std::string_view character, std::string& out) {
    if ((classes_of(code) & kind) == 0) out += character;
  });
}

void lowercase(std::string& text) {
  change_characters(
      text, [](char32_t code, std::string_view, std::string& out) { append_lower(out, code); });
}

// The library's blocks, which leave some newer ones out.
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

}  // namespace

Normalizer read_nfc(const Json&, std::string_view) {
  return [](std::string& text) { normalize(text, Form::nfc); };
}
Normalizer read_nfd(const Json&, std::string_view) {
  return [](std::string& text) { normalize(text, Form::nfd); };
}
Normalizer read_nfkc(const Json&, std::string_view) {
  return [](std::string& text) { normalize(text, Form::nfkc); };
}
Normalizer read_nfkd(const Json&, std::string_view) {
  return [](std::string& text) { normalize(text, Form::nfkd); };
}

Normalizer read_lowercase(const Json&, std::string_view) { return lowercase; }

Normalizer read_strip_accents(const Json&, std::string_view) {
  return [](std::string& text) { remove_characters(text, combining); };
}

// The steps of BERT's BasicTokenizer that come before splitting.
Normalizer read_bert_normalizer(const Json& object, std::string_view where) {
  const bool clean = json_bool(object, "clean_text", where, true);
  const bool chinese = json_bool(object, "handle_chinese_chars", where, true);
  const bool lower = json_bool(object, "lowercase", where, true);
  const bool strip = json_bool(object, "strip_accents", where, lower);
  return [=](std::string& text) {
    if (clean || chinese) {
      change_characters(text, [=](char32_t code, std::string_view character, std::string& out) {
        const std::uint16_t kind = classes_of(code);
        if (clean && (kind & control) != 0) return;
        if (clean && (kind & strip_space) != 0) {
          out += ' ';
        } else if (chinese && is_chinese(code)) {
          ((out += ' ') += character) += ' ';
        } else {
          out += character;
        }
      });
    }
    if (strip) {
      normalize(text, Form::nfd);
      remove_characters(text, nonspacing);
    }
    if (lower) lowercase(text);
  };
}

// The character rules of sentencepiece's nmt_nfkc, before its NFKC.
Normalizer read_nmt(const Json&, std::string_view) {
  return [](std::string& text) {
    change_characters(text, [](char32_t c, std::string_view character, std::string& out) {
      const bool removed = (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) ||
                           c == 0x7F || c == 0x8F || c == 0x9F;
      const bool blank = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
                         c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
      if (blank) {
        out += ' ';
      } else if (!removed) {
        out += character;
      }
    });
  };
}

// SentencePiece's map as the `tokenizers` library applies it: to a whole cluster of fewer than six
// bytes if any beginning of it has a rule, else character by character; the shortest rule counts.
Normalizer read_precompiled(const Json& object, std::string_view where) {
  const auto blob = base64_decoded(json_string(object, "precompiled_charsmap", where));
  ensure_file(blob.has_value(), where, ": precompiled_charsmap is not base64");
  auto map = std::make_shared<const Charsmap>(*blob, where);
  return [map](std::string& text) {
    const std::string_view input = text;
    std::string out;
    out.reserve(text.size() + text.size() / 8);
    for (std::size_t at = 0, end; at < input.size(); at = end) {
      // Two plain characters in a row: the first one is a cluster, unless it is a line break's.
      const bool ascii = (input[at] & 0x80) == 0;
      const bool alone =
          ascii && input[at] != '\r' && (at + 1 == input.size() || (input[at + 1] & 0x80) == 0);
      end = alone ? at + 1 : grapheme_end(input, at);
      if (end - at < 6) {
        if (const auto rule = map->shortest(input.substr(at, end - at)); rule.length > 0) {
          out += rule.text;
          continue;
        }
      }
      for (std::size_t next; at < end; at = next) {
        next = at + static_cast<std::size_t>(character_length(input[at]));
        const std::string_view character = input.substr(at, next - at);
        const auto rule = map->shortest(character);
        out += rule.length > 0 ? rule.text : character;
      }
    }
    text = std::move(out);
  };
}

// The characters become those of the byte-level alphabet.
Normalizer read_byte_level_normalizer(const Json&, std::string_view) {
  return [](std::string& text) {
    std::string out;
    out.reserve(2 * text.size());
    for (const char c : text) out += byte_character(static_cast<unsigned char>(c));
    text = std::move(out);
  };
}

}  // namespace quaver::tokens
