// Filters that give strings and numbers.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "text/jinja/call.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::jinja {
namespace {

// The input as a string. Jinja's soft_str keeps the mark of safe strings.
std::string shown(Call& call) {
  std::string text = to_text(call.input, call.budget);
  call.budget.use(static_cast<std::int64_t>(text.size()));
  return text;
}

bool is_markup(const Call& call) { return call.input.text() && call.input.text()->markup; }

template <std::string (*change)(std::string_view)>
Value changed(Call& call) {
  std::string text = change(shown(call));
  call.budget.use(static_cast<std::int64_t>(text.size()));
  return Value::text(std::move(text), is_markup(call));
}

Value trim(Call& call) {
  const bool chars = call.given(0) && !call.argument(0).is_none();
  const std::string text = shown(call);
  return Value::text(
      std::string(stripped(text, Side::both,
                           chars ? std::optional<std::string_view>(call.string(0)) : std::nullopt)),
      is_markup(call));
}

// Words begin after white space and - ( { [ <, unlike str.title's.
std::string title_words(std::string_view text) {
  std::string out;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::size_t end = 0;
    const auto separates = [&rest](std::size_t at) {
      int length = 0;
      const char32_t value = tokens::valid_code_point(rest.data() + at, length);
      return is_space(value) || std::u32string_view(U"-({[<").find(value) != std::u32string::npos;
    };
    const bool between = separates(0);
    while (end < rest.size() && separates(end) == between)
      end += static_cast<std::size_t>(tokens::character_length(rest[end]));
    if (between) {
      out += rest.substr(0, end);
    } else {
      const auto first = static_cast<std::size_t>(tokens::character_length(rest[0]));
      out += upper(rest.substr(0, first)) + lower(rest.substr(first, end - first));
    }
    rest.remove_prefix(end);
  }
  return out;
}

Value replace(Call& call) {
  const std::int64_t count =
      call.given(2) && !call.argument(2).is_none() ? call.integer(2, -1) : -1;
  return Value::text(replaced(shown(call), to_text(call.argument(0), call.budget),
                              to_text(call.argument(1), call.budget), count, call.budget));
}

Value escape(Call& call) {
  if (is_markup(call)) return call.input;
  return Value::text(escaped_html(shown(call), call.budget), true);
}

Value indent(Call& call) {
  const std::string& input = call.input_text();
  std::string indention(4, ' ');
  if (call.given(0) && call.argument(0).text()) {
    indention = call.string(0);
  } else if (call.given(0)) {
    const std::int64_t width = std::max<std::int64_t>(call.integer(0, 4), 0);
    call.budget.use(width);
    indention.assign(static_cast<std::size_t>(width), ' ');
  }
  const bool blank = call.flag(2, false);
  const std::vector<std::string> lines = split_lines(input + "\n", false);
  std::string out = call.flag(1, false) ? indention : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    call.budget.use(static_cast<std::int64_t>(indention.size() + lines[i].size() + 1));
    if (i > 0) {
      out += '\n';
      if (blank || !lines[i].empty()) out += indention;
    }
    out += lines[i];
  }
  return Value::text(std::move(out), is_markup(call));
}

Value truncate(Call& call) {
  const Text* text = call.input.text();
  call.input_text();
  const std::int64_t length = call.integer(0, 255);
  const Value end = call.given(2) ? call.argument(2) : Value::text("...");
  ensure(end.text() != nullptr, "truncate(): the end must be a string");
  const std::int64_t leeway = call.given(3) && !call.argument(3).is_none() ? call.integer(3, 5) : 5;
  ensure(length >= end.text()->size, "expected length >= ", end.text()->size, ", got ", length);
  ensure(leeway >= 0, "expected leeway >= 0, got ", leeway);
  if (text->size <= checked(sum(length, leeway))) return call.input;
  std::string kept = text->bytes.substr(0, byte_of(*text, length - end.text()->size));
  if (!call.flag(1, false)) kept = kept.substr(0, kept.rfind(' '));
  return Value::text(kept + end.text()->bytes);
}

Value word_count(Call& call) {
  const std::string text = shown(call);
  std::int64_t words = 0;
  bool in_word = false;
  for (const std::string_view character : characters(text)) {
    int length = 0;
    const char32_t value = tokens::valid_code_point(character.data(), length);
    const bool part = is_alphanumeric(value) || value == '_';
    words += part && !in_word ? 1 : 0;
    in_word = part;
  }
  return Value(words);
}

Value center(Call& call) {
  return Value::text(padded(shown(call), call.integer(0, 80), " ", Side::both, call.budget));
}

Value format(Call& call) {
  ensure(call.positional.empty() || call.keywords.empty(),
         "can't handle positional and keyword arguments at the same time");
  const Value text = Value::text(shown(call));
  if (call.keywords.empty())
    return arithmetic("%", text, Value::tuple(call.positional), call.budget);
  Dict dict;
  for (const Keyword& keyword : call.keywords) dict.set(Value::text(keyword.first), keyword.second);
  return arithmetic("%", text, make_dict(std::move(dict)), call.budget);
}

std::string quoted_for_url(const std::string& text, bool query, Budget& budget) {
  budget.scan(static_cast<std::int64_t>(text.size()));
  static constexpr std::string_view safe = "_.-~";
  std::string out;
  for (const char c : text) {
    const bool letter = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (letter || safe.find(c) != std::string_view::npos || (c == '/' && !query)) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      char code[4];
      std::snprintf(code, sizeof code, "%%%02X",
                    static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += code;
    }
  }
  budget.use(static_cast<std::int64_t>(out.size()));
  return out;
}

Value url_encode(Call& call) {
  if (call.input.text() || !is_iterable(call.input))
    return Value::text(quoted_for_url(shown(call), false, call.budget));
  std::string out;
  const auto add = [&](const Value& key, const Value& value) {
    if (!out.empty()) out += '&';
    out += quoted_for_url(to_text(key, call.budget), true, call.budget) + "=" +
           quoted_for_url(to_text(value, call.budget), true, call.budget);
  };
  if (const Dict* dict = call.input.dict()) {
    for (const auto& [key, value] : dict->items()) add(key, value);
    return Value::text(std::move(out));
  }
  for (const Value& pair : iterate(call.input, call.budget)) {
    const std::vector<Value> both = iterate(pair, call.budget);
    ensure(both.size() == 2, "urlencode(): expected pairs, got ", both.size(), " values");
    add(both[0], both[1]);
  }
  return Value::text(std::move(out));
}

Value xml_attributes(Call& call) {
  require_defined(call.input);
  ensure(call.input.dict() != nullptr, "xmlattr(): expected a mapping, got '",
         type_name(call.input), "'");
  std::string out;
  for (const auto& [key, value] : call.input.dict()->items()) {
    if (value.is_none() || value.is_undefined()) continue;
    const std::string name = to_text(key, call.budget);
    ensure(name.find_first_of(" \t\n\r\f\v/>=") == std::string::npos,
           "Invalid character in attribute name: ", representation(key, call.budget));
    const bool markup = value.text() && value.text()->markup;
    const std::string shown = to_text(value, call.budget);
    if (!out.empty()) out += ' ';
    out += escaped_html(name, call.budget) + "=\"" +
           (markup ? shown : escaped_html(shown, call.budget)) + '"';
  }
  if (call.flag(0, true) && !out.empty()) out = " " + out;
  return Value::text(std::move(out));
}

// Digits with optional sign, white space around and single underscores between; nullopt: no number.
std::optional<std::int64_t> parsed_integer(std::string_view text, std::int64_t base) {
  text = stripped(text, Side::both);
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+')) text.remove_prefix(1);
  const char mark = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const std::int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (marked != 0 && (base == marked || base == 0)) {
    text.remove_prefix(2);
    if (text.starts_with('_')) text.remove_prefix(1);
    base = marked;
  }
  if (base == 0) {
    base = 10;
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != text.npos)
      return std::nullopt;
  }
  ensure(base >= 2 && base <= 36, "int() base must be >= 2 and <= 36, or 0");
  std::string digits(minus ? "-" : "");
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool between = text[i] == '_' && i > 0 && i + 1 < text.size() && text[i - 1] != '_';
    if (!between) digits += text[i];
  }
  std::int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, value, static_cast<int>(base));
  if (read.ptr != end || text.empty() || text.starts_with('-')) return std::nullopt;
  if (read.ec == std::errc::result_out_of_range) checked(std::nullopt);
  if (read.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<double> parsed_real(std::string_view text) {
  text = stripped(text, Side::both);
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&text](std::size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '9';
    };
    if (text[i] == '_' && i > 0 && digit(i - 1) && digit(i + 1)) continue;
    digits += text[i];
  }
  const std::string_view unsigned_part =
      std::string_view(digits).substr(digits.starts_with('+') || digits.starts_with('-') ? 1 : 0);
  if (unsigned_part.empty() || unsigned_part[0] == '-' || unsigned_part[0] == '+')
    return std::nullopt;
  // from_chars reads nan(...) and what Python does not.
  if (unsigned_part.find('(') != std::string_view::npos) return std::nullopt;
  double value = 0;
  const char* begin = unsigned_part.data();
  const char* end = begin + unsigned_part.size();
  const auto read = std::from_chars(begin, end, value);
  if (read.ptr != end || read.ec == std::errc::invalid_argument) return std::nullopt;
  if (read.ec == std::errc::result_out_of_range)
    value = std::strtod(std::string(unsigned_part).c_str(), nullptr);
  return digits.starts_with('-') ? -value : value;
}

Value to_integer(Call& call) {
  const Value fallback = call.given(0) ? call.argument(0) : Value::integer(0);
  require_defined(call.input);
  if (call.input.is_integer()) return Value(call.input.whole());
  std::optional<double> real;
  if (const double* number = call.input.as<double>()) {
    real = *number;
  } else if (const Text* text = call.input.text()) {
    if (const auto whole = parsed_integer(text->bytes, call.integer(1, 10))) return Value(*whole);
    real = parsed_real(text->bytes);
  }
  if (!real || !std::isfinite(*real)) return fallback;
  return Value(truncated(*real));
}

Value to_real(Call& call) {
  const Value fallback = call.given(0) ? call.argument(0) : Value(0.0);
  require_defined(call.input);
  if (call.input.is_number()) return Value(call.input.real());
  const Text* text = call.input.text();
  const std::optional<double> real = text ? parsed_real(text->bytes) : std::nullopt;
  return real ? Value(*real) : fallback;
}

Value absolute(Call& call) {
  require_defined(call.input);
  ensure(call.input.is_number(), "bad operand type for abs(): '", type_name(call.input), "'");
  if (call.input.is_integer())
    return call.input.whole() < 0 ? negated(call.input, true) : Value(call.input.whole());
  return Value(std::abs(call.input.real()));
}

// round(): halves go to the even digit; printf decides exactly, from the binary value.
double rounded(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits < 0) {
    const double power = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / power) * power;
  }
  std::array<char, 700> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(digits), value);
  return std::strtod(buffer.data(), nullptr);
}

Value round_whole(std::int64_t value, std::int64_t digits) {
  if (digits >= 0) return Value(value);
  if (digits < -18) return Value::integer(0);
  std::int64_t power = 1;
  for (; digits < 0; ++digits) power *= 10;
  const std::int64_t rest = floor_modulo(value, power);
  const std::int64_t below = value - rest;
  const bool up =
      rest > power - rest || (rest == power - rest && floor_quotient(below, power) % 2 != 0);
  return Value(up ? checked(sum(below, power)) : below);
}

Value round_filter(Call& call) {
  require_defined(call.input);
  const std::int64_t digits = call.integer(0, 0);
  const std::string method = call.given(1) ? call.string(1) : "common";
  ensure(method == "common" || method == "ceil" || method == "floor",
         "method must be common, ceil or floor");
  ensure(call.input.is_number(), "type ", type_name(call.input),
         " doesn't define __round__ method");
  if (method == "common") {
    if (call.input.is_integer()) return round_whole(call.input.whole(), digits);
    return Value(rounded(call.input.real(), digits));
  }
  const double power = std::pow(10.0, static_cast<double>(digits));
  const double scaled = call.input.real() * power;
  const double whole = method == "ceil" ? std::ceil(scaled) : std::floor(scaled);
  truncated(whole);  // Python's is an integer here: the same refusals
  return Value(whole / power);
}

Value file_size(Call& call) {
  static constexpr std::string_view letters = "kMGTPEZY";
  Call inner{call.interpreter, call.budget, call.name, call.input, {}, {}};
  const double bytes = to_real(inner).real();
  const bool binary = call.flag(0, false);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value::text("1 Byte");
  if (bytes < base) return Value::text(std::to_string(truncated(bytes)) + " Bytes");
  double unit = base;
  for (std::size_t i = 0;; ++i) {
    unit *= base;
    if (bytes >= unit && i + 1 < letters.size()) continue;
    std::array<char, 400> buffer;
    std::snprintf(buffer.data(), buffer.size(), "%.1f ", base * bytes / unit);
    const char letter = binary && letters[i] == 'k' ? 'K' : letters[i];
    return Value::text(std::string(buffer.data()) + letter + (binary ? "iB" : "B"));
  }
}

Value to_json(Call& call) {
  JsonStyle style;
  style.ascii = call.flag(0, false);
  style.sorted = call.flag(3, false);
  if (call.given(1) && !call.argument(1).is_none()) {
    const bool spelled = call.argument(1).text() != nullptr;
    const std::int64_t width = spelled ? 0 : std::max<std::int64_t>(call.integer(1, 0), 0);
    call.budget.use(width);
    style.indent = spelled ? call.string(1) : std::string(static_cast<std::size_t>(width), ' ');
    style.comma = ",";
  }
  if (call.given(2) && !call.argument(2).is_none()) {
    const std::vector<Value> both = iterate(call.argument(2), call.budget);
    ensure(both.size() == 2 && both[0].text() && both[1].text(),
           "tojson(): separators are a pair of strings");
    style.comma = both[0].text()->bytes;
    style.colon = both[1].text()->bytes;
  }
  return Value::text(json_text(call.input, style, call.budget));
}

constexpr Row text_filter_rows[] = {
    {"upper", 0, {}, changed<upper>},
    {"lower", 0, {}, changed<lower>},
    {"title", 0, {}, changed<title_words>},
    {"capitalize", 0, {}, changed<capitalized>},
    {"trim", 0, {"chars"}, trim},
    {"replace", 2, {"old", "new", "count"}, replace},
    {"string", 0, {}, [](Call& call) { return Value::text(shown(call), is_markup(call)); }},
    {"safe", 0, {}, [](Call& call) { return Value::text(shown(call), true); }},
    {"escape", 0, {}, escape},
    {"e", 0, {}, escape},
    {"forceescape",
     0,
     {},
     [](Call& call) { return Value::text(escaped_html(shown(call), call.budget), true); }},
    {"indent", 0, {"width", "first", "blank"}, indent},
    {"truncate", 0, {"length", "killwords", "end", "leeway"}, truncate},
    {"wordcount", 0, {}, word_count},
    {"center", 0, {"width"}, center},
    {"format", -1, {}, format},
    {"urlencode", 0, {}, url_encode},
    {"xmlattr", 0, {"autospace"}, xml_attributes},
    {"int", 0, {"default", "base"}, to_integer},
    {"float", 0, {"default"}, to_real},
    {"abs", 0, {}, absolute},
    {"round", 0, {"precision", "method"}, round_filter},
    {"filesizeformat", 0, {"binary"}, file_size},
    {"tojson", 0, {"ensure_ascii", "indent", "separators", "sort_keys"}, to_json},
    {"pprint", 0, {}, nullptr},
    {"striptags", 0, {}, nullptr},
    {"urlize", 0, {}, nullptr},
    {"wordwrap", 0, {}, nullptr},
};

}  // namespace

std::span<const Row> text_filters() { return text_filter_rows; }

}  // namespace quaver::jinja
