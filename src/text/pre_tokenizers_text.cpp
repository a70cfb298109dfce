// Pre-tokenizers of tokenizer.json that look at one character at a time.
#include "text/pre_tokenizers.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

// Calls `visit(code, span)` for each character of `word`.
template <class Visit>
void for_each_character(std::string_view word, Visit visit) {
  for (std::size_t at = 0; at < word.size();) {
    int length;
    const char32_t code = valid_code_point(word.data() + at, length);
    const std::size_t end = at + static_cast<std::size_t>(length);
    visit(code, Span{at, end});
    at = end;
  }
}

// Characters for which `delimits(code)` holds are the matches of `behavior`.
template <class Delimits>
PreTokenizer character_split(Delimits delimits, Behavior behavior) {
  return [=](Words& words) {
    std::vector<Part> parts;
    split_words(words, [&](std::string_view word, std::vector<Span>& pieces) {
      parts.clear();
      for_each_character(word, [&](char32_t code, Span span) {
        const bool match = delimits(code);
        if (!match && !parts.empty() && !parts.back().match) {
          parts.back().span.end = span.end;
        } else {
          parts.push_back({span, match});
        }
      });
      split_by(parts, behavior, pieces);
    });
  };
}

// The runs of characters of one kind; `kind_of(code)` < 0: in no piece, and 'alone': in a piece of
// its own.
constexpr int outside = -1, alone = -2;

template <class KindOf>
PreTokenizer kind_split(KindOf kind_of) {
  return [=](Words& words) {
    split_words(words, [&](std::string_view word, std::vector<Span>& pieces) {
      int last = outside;
      for_each_character(word, [&](char32_t code, Span span) {
        const int kind = kind_of(code);
        if (kind == last && kind >= 0) {
          pieces.back().end = span.end;
        } else if (kind != outside) {
          pieces.push_back(span);
        }
        last = kind;
      });
    });
  };
}

}  // namespace

// \w+|[^\w\s]+
PreTokenizer read_whitespace(const Json&, std::string_view) {
  return kind_split([](char32_t code) {
    const std::uint16_t kind = classes_of(code);
    return (kind & word) != 0 ? 1 : (kind & strip_space) != 0 ? outside : 0;
  });
}

PreTokenizer read_whitespace_split(const Json&, std::string_view) {
  return kind_split(
      [](char32_t code) { return (classes_of(code) & strip_space) != 0 ? outside : 0; });
}

PreTokenizer read_bert_pre_tokenizer(const Json&, std::string_view) {
  return kind_split([](char32_t code) {
    const std::uint16_t kind = classes_of(code);
    return (kind & strip_space) != 0 ? outside : (kind & punctuation) != 0 ? alone : 0;
  });
}

PreTokenizer read_char_delimiter_split(const Json& object, std::string_view where) {
  const std::string text = json_string(object, "delimiter", where);
  ensure_file(!text.empty() && character_length(text[0]) == static_cast<int>(text.size()), where,
              ": CharDelimiterSplit's delimiter '", text, "' is not one character");
  int length;
  const char32_t delimiter = valid_code_point(text.data(), length);
  return kind_split([delimiter](char32_t code) { return code == delimiter ? outside : 0; });
}

PreTokenizer read_punctuation(const Json& object, std::string_view where) {
  const auto is_punctuation = [](char32_t code) { return (classes_of(code) & punctuation) != 0; };
  const Behavior behavior =
      object.contains("behavior") ? read_behavior(object, where) : Behavior::isolated;
  return character_split(is_punctuation, behavior);
}

PreTokenizer read_digits(const Json& object, std::string_view where) {
  const bool each = json_bool(object, "individual_digits", where, false);
  return kind_split([each](char32_t code) {
    const bool digit = (classes_of(code) & numeric) != 0;
    return !digit ? 0 : each ? alone : 1;
  });
}

// A piece ends where the script changes. What goes with any script goes with the one before it; at
// the start of a word there is none, and the library drops it.
PreTokenizer read_unicode_scripts(const Json&, std::string_view) {
  return [](Words& words) {
    split_words(words, [](std::string_view word, std::vector<Span>& pieces) {
      std::uint8_t last = 0;
      for_each_character(word, [&](char32_t code, Span span) {
        const std::uint8_t script = script_of(code);
        if (script != 0 && script != last) {
          pieces.push_back(span);
        } else if (!pieces.empty()) {
          pieces.back().end = span.end;
        }
        if (script != 0) last = script;
      });
    });
  };
}

PreTokenizer read_fixed_length(const Json& object, std::string_view where) {
  const std::int64_t length = json_int(object, "length", where, 5);
  ensure_file(length > 0, where, ": FixedLength's length ", length, " is not positive");
  return [length](Words& words) {
    split_words(words, [length](std::string_view word, std::vector<Span>& pieces) {
      std::int64_t count = length;
      for_each_character(word, [&](char32_t, Span span) {
        if (count == length) {
          pieces.push_back(span);
          count = 0;
        } else {
          pieces.back().end = span.end;
        }
        ++count;
      });
    });
  };
}

}  // namespace quaver::tokens
