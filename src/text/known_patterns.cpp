// The splitting patterns of published tokenizers, written out by hand: each is recognized by its
// exact text. `mask` and `wanted` are bits of CharacterClass.
#include "text/pipeline.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

std::size_t next_character(std::string_view text, std::size_t at) {
  return at + static_cast<std::size_t>(character_length(text[at]));
}

// The end of the run of characters from `at` on whose class bits, masked, equal `wanted`.
std::size_t run_end(std::string_view text, std::size_t at, std::uint16_t mask,
                    std::uint16_t wanted) {
  while (at < text.size() && (classes_at(text, at) & mask) == wanted) at = next_character(text, at);
  return at;
}

// The end of the run of characters from `at` on that have any bit of `mask`.
std::size_t any_run_end(std::string_view text, std::size_t at, std::uint16_t mask) {
  while (at < text.size() && (classes_at(text, at) & mask) != 0) at = next_character(text, at);
  return at;
}

// \s+(?!\S)|\s+ at white space: a run before a word leaves its last character to the word, unless
// it has no other.
std::size_t blank_end(std::string_view text, std::size_t begin) {
  const std::size_t at = any_run_end(text, begin, space);
  if (at == text.size()) return at;
  const std::size_t last = character_before(text, at);
  return last == begin ? at : last;
}

// 's|'t|'re|'ve|'m|'ll|'d at the apostrophe text[at]: the bytes of the whole, or 0.
std::size_t contraction(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at + 1, 2);
  for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
    if (rest.substr(0, ending.size()) == ending) return 1 + ending.size();
  }
  return 0;
}

// The same for (?i:...), where U+017F is an s, too.
std::size_t caseless_contraction(std::string_view text, std::size_t at) {
  if (text.substr(at + 1, 2) == "\xC5\xBF") return 3;
  std::string lower(text.substr(at, 3));
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return contraction(lower, 0);
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
  return blank_end(text, begin);
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
    at = next_character(text, at);
  }
  return std::nullopt;
}

// What distinguishes the patterns that descend from cl100k's.
struct Family {
  std::uint16_t letters = letter;  // what words consist of
  int digits = 3;                  // of one piece at most; 0: any number
  bool cased = false;              // capitals begin words
  bool contractions = true;
  bool slash = false;  // after punctuation, a slash counts as a line break does
};

bool is_break(char c) { return c == '\r' || c == '\n'; }

// Upper*Lower+ | Upper+Lower* from `begin` on: the end, or `begin`.
std::size_t cased_word_end(std::string_view text, std::size_t begin, bool needs_lower) {
  const std::size_t upper = any_run_end(text, begin, upper_like);
  const std::size_t lower = any_run_end(text, upper, lower_like);
  if (lower > upper || !needs_lower) return lower;
  // The run of capitals gives back what may be both, up to the last such character.
  for (std::size_t end = upper; end > begin;) {
    const std::size_t last = character_before(text, end);
    if ((classes_at(text, last) & lower_like) != 0) return end;
    end = last;
  }
  return begin;
}

// [^\r\n\p{L}\p{N}]? and a word, or `begin` if there is none.
std::size_t word_end(std::string_view text, std::size_t begin, const Family& family) {
  const std::uint16_t kind = classes_at(text, begin);
  const bool leads = (kind & (letter | number)) == 0 && !is_break(text[begin]);
  const std::size_t second = leads ? next_character(text, begin) : begin;
  if (!family.cased) {
    const std::size_t end = any_run_end(text, second, family.letters);
    if (end > second) return end;
    return leads ? any_run_end(text, begin, family.letters) : begin;
  }
  std::size_t end = begin;
  for (const bool needs_lower : {true, false}) {
    end = cased_word_end(text, second, needs_lower);
    if (end > second) break;
    end = begin;
    if (leads) end = cased_word_end(text, begin, needs_lower);
    if (end > begin) break;
  }
  if (end > begin && family.contractions && end < text.size() && text[end] == '\'') {
    end += caseless_contraction(text, end);
  }
  return end;
}

//  ?[^\s\p{L}\p{N}]+[\r\n]* or `begin`.
std::size_t punctuation_end(std::string_view text, std::size_t begin, const Family& family) {
  const std::size_t first = begin + (text[begin] == ' ' ? 1 : 0);
  const auto mask = static_cast<std::uint16_t>(space | number | letter | family.letters);
  std::size_t end = run_end(text, first, mask, 0);
  if (end == first) return begin;
  while (end < text.size() && (is_break(text[end]) || (family.slash && text[end] == '/'))) ++end;
  return end;
}

// \s*[\r\n]+ or `begin`.
std::size_t line_end(std::string_view text, std::size_t begin) {
  std::size_t end = any_run_end(text, begin, space);
  while (end > begin && !is_break(text[end - 1])) --end;
  return end;
}

std::size_t family_end(std::string_view text, std::size_t begin, const Family& family) {
  if (!family.cased && family.contractions && text[begin] == '\'') {
    if (const std::size_t bytes = caseless_contraction(text, begin)) return begin + bytes;
  }
  std::size_t end = word_end(text, begin, family);
  if (end > begin) return end;
  if ((classes_at(text, begin) & number) != 0) {
    for (int i = 0; end < text.size() && (family.digits == 0 || i < family.digits) &&
                    (classes_at(text, end) & number) != 0;
         ++i) {
      end = next_character(text, end);
    }
    return end;
  }
  end = punctuation_end(text, begin, family);
  if (end == begin) end = line_end(text, begin);
  return end == begin ? blank_end(text, begin) : end;
}

template <Family family>
std::optional<Span> find_family(std::string_view text, std::size_t from) {
  if (from >= text.size()) return std::nullopt;
  return Span{from, family_end(text, from, family)};
}

// DeepSeek V3's last pattern, which takes no digits.
std::size_t deepseek_end(std::string_view text, std::size_t begin) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  std::size_t end = begin + 1;
  const char c = text[begin];
  const bool ascii_sign = c > ' ' && c < 0x7F && !is_letter(c) && !(c >= '0' && c <= '9');
  if (ascii_sign && end < text.size() && is_letter(text[end])) {
    while (end < text.size() && is_letter(text[end])) ++end;
    return end;
  }
  constexpr std::uint16_t word_mask = letter | mark;
  const bool leads = (classes_at(text, begin) & (letter | symbol)) == 0 && !is_break(c);
  const std::size_t second = leads ? next_character(text, begin) : begin;
  end = any_run_end(text, second, word_mask);
  if (end > second) return end;
  end = leads ? any_run_end(text, begin, word_mask) : begin;
  if (end > begin) return end;
  const std::size_t first = begin + (c == ' ' ? 1 : 0);
  end = any_run_end(text, first, symbol);
  if (end > first) {
    while (end < text.size() && is_break(text[end])) ++end;
    return end;
  }
  end = line_end(text, begin);
  if (end > begin) return end;
  return (classes_at(text, begin) & space) != 0 ? blank_end(text, begin) : begin;
}

std::optional<Span> find_deepseek(std::string_view text, std::size_t from) {
  for (std::size_t at = from; at < text.size(); at = next_character(text, at)) {
    if (const std::size_t end = deepseek_end(text, at); end > at) return Span{at, end};
  }
  return std::nullopt;
}

// \p{N}{1,3}
std::optional<Span> find_digits(std::string_view text, std::size_t from) {
  for (std::size_t at = from; at < text.size(); at = next_character(text, at)) {
    std::size_t end = at;
    for (int i = 0; i < 3 && end < text.size() && (classes_at(text, end) & number) != 0; ++i) {
      end = next_character(text, end);
    }
    if (end > at) return Span{at, end};
  }
  return std::nullopt;
}

// [一-龥぀-ゟ゠-ヿ]+
std::optional<Span> find_cjk(std::string_view text, std::size_t from) {
  const auto is_cjk = [&](std::size_t at) {
    int length;
    const char32_t c = valid_code_point(text.data() + at, length);
    return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
  };
  for (std::size_t at = from; at < text.size(); at = next_character(text, at)) {
    std::size_t end = at;
    while (end < text.size() && is_cjk(end)) end = next_character(text, end);
    if (end > at) return Span{at, end};
  }
  return std::nullopt;
}

constexpr Family llama3{}, qwen2{.digits = 1};
constexpr Family qwen3_5{.letters = letter | mark, .digits = 1};
constexpr Family o200k{.cased = true, .slash = true};
constexpr Family tekken{.digits = 1, .cased = true, .contractions = false, .slash = true};

struct KnownRegex {
  std::string_view regex;
  WordFinder find;
};
constexpr KnownRegex known_regexes[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", find_gpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", find_gpt2},
    {R"( ?[^(\s|[.,!?…。，、।۔،])]+)", find_bloom},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
     find_family<llama3>},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
     find_family<qwen2>},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
     R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     find_family<qwen3_5>},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
     R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     find_family<o200k>},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
     R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     find_family<tekken>},
    {R"(\p{N}{1,3})", find_digits},
    {"[一-龥\u3040-ゟ゠-ヿ]+", find_cjk},
    {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
     "\r\n"
     R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[)"
     "\r\n"
     R"(]*|\s*[)"
     "\r\n"
     R"(]+|\s+(?!\S)|\s+)",
     find_deepseek},
};

}  // namespace

WordFinder known_finder(std::string_view regex) {
  for (const KnownRegex& known : known_regexes) {
    if (known.regex == regex) return known.find;
  }
  return nullptr;
}

}  // namespace quaver::tokens
