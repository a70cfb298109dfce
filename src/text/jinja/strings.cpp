#include "text/jinja/strings.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "core/error.h"
#include "text/utf8.h"

namespace quaver::jinja {
namespace {

using tokens::append_code_point;
using tokens::character_length;
using tokens::valid_code_point;

struct SpecialCase {
  char32_t character;
  std::array<char32_t, 3> upper, title;
};
constexpr SpecialCase special_cases[] = {
#include "text/jinja/special_case.inl"
};

const SpecialCase* special_case(char32_t value) {
  const auto* place = std::lower_bound(
      std::begin(special_cases), std::end(special_cases), value,
      [](const SpecialCase& entry, char32_t sought) { return entry.character < sought; });
  return place != std::end(special_cases) && place->character == value ? place : nullptr;
}

utf8proc_category_t category(char32_t value) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(value));
}

void append_all(std::string& out, const std::array<char32_t, 3>& characters) {
  for (const char32_t character : characters) {
    if (character != 0) append_code_point(out, character);
  }
}

void append_upper(std::string& out, char32_t value) {
  if (const SpecialCase* entry = special_case(value)) return append_all(out, entry->upper);
  append_code_point(out,
                    static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(value))));
}

void append_title(std::string& out, char32_t value) {
  if (const SpecialCase* entry = special_case(value)) return append_all(out, entry->title);
  append_code_point(out,
                    static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(value))));
}

bool is_cased(char32_t value) {
  return is_cased_upper(value) || is_cased_lower(value) || category(value) == UTF8PROC_CATEGORY_LT;
}

// What stands between letters without ending a word, for the final sigma.
bool is_case_ignorable(char32_t value) {
  switch (category(value)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return value == '\'' || value == '.' || value == ':' || value == 0xB7 || value == 0x2018 ||
             value == 0x2019 || value == 0x2024 || value == 0x2027;
  }
}

std::u32string code_points(std::string_view text) {
  std::u32string points;
  points.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    int length = 0;
    points.push_back(valid_code_point(text.data() + at, length));
    at += static_cast<std::size_t>(length);
  }
  return points;
}

bool is_final_sigma(const std::u32string& points, std::size_t at) {
  std::size_t before = at;
  while (before > 0 && is_case_ignorable(points[before - 1])) --before;
  if (before == 0 || !is_cased(points[before - 1])) return false;
  std::size_t after = at + 1;
  while (after < points.size() && is_case_ignorable(points[after])) ++after;
  return after == points.size() || !is_cased(points[after]);
}

void append_lower(std::string& out, const std::u32string& points, std::size_t at) {
  const char32_t value = points[at];
  if (value == 0x3A3) return append_code_point(out, is_final_sigma(points, at) ? 0x3C2 : 0x3C3);
  if (value == 0x130) {  // the one character whose lower case is two
    append_code_point(out, 'i');
    return append_code_point(out, 0x307);
  }
  append_code_point(out,
                    static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(value))));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

// The letters from `first` to `last` in the other case.
std::string changed_ascii(std::string_view text, char first, char last) {
  std::string out(text);
  for (char& c : out) {
    if (c >= first && c <= last) c = static_cast<char>(c ^ 0x20);
  }
  return out;
}

char32_t point_at(std::string_view text, std::size_t at) {
  int length = 0;
  return valid_code_point(text.data() + at, length);
}

}  // namespace

std::int64_t count_code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> all;
  for (std::size_t at = 0; at < text.size();) {
    const auto length = static_cast<std::size_t>(character_length(text[at]));
    all.push_back(text.substr(at, length));
    at += length;
  }
  return all;
}

std::size_t byte_of(const Text& text, std::int64_t place) {
  if (text.ascii()) return static_cast<std::size_t>(place);
  std::size_t at = 0;
  for (; place > 0; --place) at += static_cast<std::size_t>(character_length(text.bytes[at]));
  return at;
}

bool is_space(char32_t value) {
  return (value >= 9 && value <= 13) || (value >= 0x1C && value <= 0x20) || value == 0x85 ||
         value == 0xA0 || value == 0x1680 || (value >= 0x2000 && value <= 0x200A) ||
         value == 0x2028 || value == 0x2029 || value == 0x202F || value == 0x205F ||
         value == 0x3000;
}

bool is_line_break(char32_t value) {
  return (value >= 10 && value <= 13) || (value >= 0x1C && value <= 0x1E) || value == 0x85 ||
         value == 0x2028 || value == 0x2029;
}

bool is_printable(char32_t value) {
  switch (category(value)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return value == ' ';
    default:
      return true;
  }
}

bool is_cased_upper(char32_t value) {
  return category(value) == UTF8PROC_CATEGORY_LU || (value >= 0x2160 && value <= 0x216F) ||
         (value >= 0x24B6 && value <= 0x24CF);
}

bool is_cased_lower(char32_t value) {
  return category(value) == UTF8PROC_CATEGORY_LL || value == 0xAA || value == 0xBA ||
         (value >= 0x2170 && value <= 0x217F) || (value >= 0x24D0 && value <= 0x24E9);
}

std::string_view stripped(std::string_view text, Side side, std::optional<std::string_view> chars) {
  const auto goes = [&chars](std::string_view character) {
    return chars ? chars->find(character) != std::string_view::npos
                 : is_space(point_at(character, 0));
  };
  while (side != Side::right && !text.empty()) {
    const auto length = static_cast<std::size_t>(character_length(text[0]));
    if (!goes(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (side != Side::left && !text.empty()) {
    const std::size_t last = tokens::character_before(text, text.size());
    if (!goes(text.substr(last))) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string upper(std::string_view text) {
  if (is_ascii(text)) return changed_ascii(text, 'a', 'z');
  std::string out;
  out.reserve(text.size());
  for (const char32_t value : code_points(text)) append_upper(out, value);
  return out;
}

std::string lower(std::string_view text) {
  if (is_ascii(text)) return changed_ascii(text, 'A', 'Z');
  const std::u32string points = code_points(text);
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < points.size(); ++i) append_lower(out, points, i);
  return out;
}

std::string title(std::string_view text) {
  const std::u32string points = code_points(text);
  std::string out;
  bool in_word = false;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (in_word)
      append_lower(out, points, i);
    else
      append_title(out, points[i]);
    in_word = is_cased(points[i]);
  }
  return out;
}

std::string capitalized(std::string_view text) {
  const std::u32string points = code_points(text);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i == 0)
      append_title(out, points[i]);
    else
      append_lower(out, points, i);
  }
  return out;
}

std::string swapped_case(std::string_view text) {
  const std::u32string points = code_points(text);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (is_cased_upper(points[i]))
      append_lower(out, points, i);
    else if (is_cased_lower(points[i]))
      append_upper(out, points[i]);
    else
      append_code_point(out, points[i]);
  }
  return out;
}

bool all_of(std::string_view text, bool (*fits)(char32_t)) {
  const std::u32string points = code_points(text);
  return !points.empty() && std::all_of(points.begin(), points.end(), fits);
}

bool is_alphabetic(char32_t value) {
  switch (category(value)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool is_decimal(char32_t value) { return category(value) == UTF8PROC_CATEGORY_ND; }

bool is_digit(char32_t value) {
  // Unicode's Numeric_Type=Digit, which utf8proc does not tell: the ranges, first and last.
  static constexpr char32_t ranges[][2] = {
      {0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
      {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
      {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
      {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
      {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
  if (is_decimal(value)) return true;
  return std::any_of(std::begin(ranges), std::end(ranges), [value](const char32_t(&range)[2]) {
    return value >= range[0] && value <= range[1];
  });
}

bool is_alphanumeric(char32_t value) {
  const auto kind = category(value);
  return is_alphabetic(value) || is_digit(value) || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_lower_text(std::string_view text) {
  const std::u32string points = code_points(text);
  return std::any_of(points.begin(), points.end(), is_cased_lower) &&
         std::none_of(points.begin(), points.end(),
                      [](char32_t c) { return is_cased(c) && !is_cased_lower(c); });
}

bool is_upper_text(std::string_view text) {
  const std::u32string points = code_points(text);
  return std::any_of(points.begin(), points.end(), is_cased_upper) &&
         std::none_of(points.begin(), points.end(),
                      [](char32_t c) { return is_cased(c) && !is_cased_upper(c); });
}

bool is_title_text(std::string_view text) {
  bool in_word = false, any = false;
  for (const char32_t value : code_points(text)) {
    if (is_cased(value)) {
      any = true;
      if (is_cased_lower(value) != in_word) return false;
    }
    in_word = is_cased(value);
  }
  return any;
}

namespace {

std::vector<std::string> split_at_spaces(std::string_view text, std::int64_t limit) {
  std::vector<std::string> parts;
  text = stripped(text, Side::left);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit) {
      parts.emplace_back(text);  // white space at the end stays, as in Python
      break;
    }
    std::size_t end = 0;
    while (end < text.size() && !is_space(point_at(text, end)))
      end += static_cast<std::size_t>(character_length(text[end]));
    parts.emplace_back(text.substr(0, end));
    text = stripped(text.substr(end), Side::left);
  }
  return parts;
}

}  // namespace

std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator,
                               std::int64_t limit) {
  if (!separator) return split_at_spaces(text, limit);
  ensure(!separator->empty(), "empty separator");
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t at = limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit
                               ? std::string_view::npos
                               : text.find(*separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + separator->size());
  }
}

std::vector<std::string> split_right(std::string_view text,
                                     std::optional<std::string_view> separator,
                                     std::int64_t limit) {
  std::vector<std::string> parts;  // last first
  const auto full = [&] { return limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit; };
  if (separator) {
    ensure(!separator->empty(), "empty separator");
    for (;;) {
      const std::size_t at = full() ? std::string_view::npos : text.rfind(*separator);
      if (at == std::string_view::npos) break;
      parts.emplace_back(text.substr(at + separator->size()));
      text = text.substr(0, at);
    }
    parts.emplace_back(text);
  } else {
    text = stripped(text, Side::right);
    while (!text.empty()) {
      std::size_t begin = text.size();
      while (!full() && begin > 0 &&
             !is_space(point_at(text, tokens::character_before(text, begin))))
        begin = tokens::character_before(text, begin);
      if (full()) begin = 0;
      parts.emplace_back(text.substr(begin));
      text = stripped(text.substr(0, begin), Side::right);
    }
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = at + static_cast<std::size_t>(character_length(text[at]));
    if (!is_line_break(point_at(text, at))) {
      at = next;
      continue;
    }
    const std::size_t end = text.substr(at, 2) == "\r\n" ? at + 2 : next;
    lines.emplace_back(text.substr(begin, (keep_ends ? end : at) - begin));
    begin = at = end;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to,
                     std::int64_t limit, Budget& budget) {
  budget.use(static_cast<std::int64_t>(text.size()));
  std::string out;
  std::int64_t done = 0;
  const auto room = [&] { return limit < 0 || done < limit; };
  const auto put = [&](std::string_view part) {
    out += part;
    ++done;
    budget.use(static_cast<std::int64_t>(part.size()));
  };
  if (from.empty()) {  // before every character and at the end
    for (const std::string_view character : characters(text)) {
      if (room()) put(to);
      out += character;
    }
    if (room()) put(to);
  } else {
    std::size_t begin = 0;
    for (std::size_t at; room() && (at = text.find(from, begin)) != std::string_view::npos;
         begin = at + from.size()) {
      out += text.substr(begin, at - begin);
      put(to);
    }
    out += text.substr(begin);
  }
  budget.use(static_cast<std::int64_t>(out.size()));
  return out;
}

std::string padded(const std::string& text, std::int64_t width, std::string_view fill, Side side,
                   Budget& budget) {
  ensure(count_code_points(fill) == 1, "The fill character must be exactly one character long");
  const std::int64_t missing = width - count_code_points(text);
  if (missing <= 0) return text;
  budget.use_product(missing, static_cast<std::int64_t>(fill.size()));
  // Python's centre puts the odd blank left when the width is odd, else right.
  const std::int64_t before = side == Side::left    ? 0
                              : side == Side::right ? missing
                                                    : missing / 2 + (missing & width & 1);
  std::string out;
  for (std::int64_t i = 0; i < before; ++i) out += fill;
  out += text;
  for (std::int64_t i = before; i < missing; ++i) out += fill;
  return out;
}

std::string escaped_html(std::string_view text, Budget& budget) {
  budget.scan(static_cast<std::int64_t>(text.size()));
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace quaver::jinja
