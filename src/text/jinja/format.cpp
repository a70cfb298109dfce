// Python's two string formattings: text % values and text.format(values).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace quaver::jinja {
namespace {

constexpr std::int64_t longest_precision = 500;  // a double has no more digits worth printing
constexpr std::int64_t widest_field = 1 << 20;

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > ^ =; 0: by type
  char sign = '-';
  bool alternate = false;
  char grouping = 0;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char type = 0;
};

std::int64_t read_number(std::string_view text, std::size_t& at, std::int64_t limit) {
  std::int64_t number = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    number = number * 10 + (text[at] - '0');
    if (number > limit) fail(Fault::unsupported, "a format width or precision above ", limit);
  }
  return number;
}

// The sign, if one is shown, and the rest.
std::pair<std::string, std::string> signed_parts(bool negative, std::string digits,
                                                 const Spec& spec) {
  std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return {std::move(sign), std::move(digits)};
}

std::string grouped(const std::string& digits, char separator) {
  std::size_t whole = digits.find_first_not_of("0123456789");
  if (whole == std::string::npos) whole = digits.size();
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % 3 == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

std::string filled(const std::string& sign, const std::string& body, const Spec& spec,
                   char usual_align, Budget& budget) {
  const char align = spec.align ? spec.align : usual_align;
  if (align == '=') {
    const std::int64_t width = spec.width - static_cast<std::int64_t>(sign.size());
    return sign + padded(body, width, spec.fill, Side::right, budget);
  }
  const Side side = align == '<' ? Side::left : align == '>' ? Side::right : Side::both;
  if (side != Side::both) return padded(sign + body, spec.width, spec.fill, side, budget);
  // format() puts the odd blank on the right, unlike str.center.
  const std::string whole = sign + body;
  const std::int64_t missing = spec.width - count_code_points(whole);
  if (missing <= 0) return whole;
  const std::string left =
      padded(whole, count_code_points(whole) + missing / 2, spec.fill, Side::right, budget);
  return padded(left, spec.width, spec.fill, Side::left, budget);
}

std::string in_base(std::uint64_t value, unsigned base, bool capital) {
  std::string digits;
  do {
    digits += (capital ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
    value /= base;
  } while (value > 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string integer_field(std::int64_t value, const Spec& spec, bool zero_precision,
                          Budget& budget) {
  const std::uint64_t magnitude = value < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(value)
                                            : static_cast<std::uint64_t>(value);
  const char type = spec.type ? spec.type : 'd';
  const unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  std::string digits = in_base(magnitude, base, type == 'X');
  if (zero_precision && spec.precision > 0)
    digits = padded(digits, spec.precision, "0", Side::right, budget);
  if (spec.grouping) digits = grouped(digits, spec.grouping);
  auto [sign, body] = signed_parts(value < 0, digits, spec);
  if (spec.alternate && base != 10) sign += std::string("0") + type;
  return filled(sign, body, spec, '>', budget);
}

std::string real_digits(double magnitude, char type, std::int64_t precision, bool alternate) {
  ensure(precision <= longest_precision, "precision ", precision, " is above ", longest_precision);
  const std::string format = std::string("%") + (alternate ? "#" : "") + ".*" + type;
  std::array<char, 900> buffer;  // 309 digits before the point, 500 after it
  const int length = std::snprintf(buffer.data(), buffer.size(), format.c_str(),
                                   static_cast<int>(precision), magnitude);
  return std::string(buffer.data(), static_cast<std::size_t>(length));
}

std::string real_field(double value, const Spec& spec, Budget& budget) {
  const bool percent = spec.type == '%';
  const char type = percent ? 'f' : spec.type;
  const double shown = percent ? value * 100 : value;
  const std::int64_t precision = spec.precision < 0 ? 6 : spec.precision;
  std::string digits = real_digits(std::abs(shown), type, precision, spec.alternate);
  if (spec.grouping) digits = grouped(digits, spec.grouping);
  if (percent) digits += '%';
  auto [sign, body] = signed_parts(std::signbit(value), digits, spec);
  return filled(sign, body, spec, '>', budget);
}

std::string text_field(const std::string& text, const Spec& spec, char align, Budget& budget) {
  std::string shown = text;
  if (spec.precision >= 0 && spec.precision < count_code_points(text)) {
    const auto all = characters(text);
    shown.clear();
    for (std::int64_t i = 0; i < spec.precision; ++i) shown += all[static_cast<std::size_t>(i)];
  }
  return filled("", shown, spec, align, budget);
}

// ---- text % values

class PercentFormatter {
 public:
  PercentFormatter(const Text& format, const Value& arguments, Budget& budget)
      : format_(format.bytes), arguments_(arguments), budget_(budget) {
    const Sequence* sequence = arguments.sequence();
    tuple_ = sequence && (sequence->form == Sequence::Form::tuple ||
                          sequence->form == Sequence::Form::group)
                 ? sequence
                 : nullptr;
  }

  std::string run() {
    std::string out;
    std::size_t at = 0;
    while (at < format_.size()) {
      if (format_[at] != '%') {
        out += format_[at++];
        continue;
      }
      ++at;
      out += field(at);
      budget_.use(static_cast<std::int64_t>(out.size()) / 16 + 1);
    }
    const bool mapping = arguments_.dict() || (arguments_.sequence() && !tuple_);
    const std::size_t count = tuple_ ? tuple_->values.size() : 1;
    ensure(used_ >= count || mapping, "not all arguments converted during string formatting");
    return out;
  }

 private:
  std::string field(std::size_t& at) {
    Value keyed;
    bool has_key = false;
    if (at < format_.size() && format_[at] == '(') {
      const std::size_t end = format_.find(')', at);
      ensure(end != std::string_view::npos, "incomplete format key");
      const std::string key(format_.substr(at + 1, end - at - 1));
      ensure(arguments_.dict() != nullptr, "format requires a mapping");
      const Value* found = arguments_.dict()->find(key);
      ensure(found != nullptr, "'", key, "'");
      keyed = *found;
      has_key = true;
      at = end + 1;
    }
    const Spec spec = read_spec(at);
    ensure(at < format_.size(), "incomplete format");
    const char type = format_[at++];
    if (type == '%') return "%";
    return converted(has_key ? keyed : next(), spec, type);
  }

  Spec read_spec(std::size_t& at) {
    Spec spec;
    bool zero = false;
    for (; at < format_.size(); ++at) {
      const char c = format_[at];
      if (c == '-')
        spec.align = '<';
      else if (c == '+' || (c == ' ' && spec.sign != '+'))
        spec.sign = c;
      else if (c == '#')
        spec.alternate = true;
      else if (c == '0')
        zero = true;
      else if (c != ' ')
        break;
    }
    if (zero && spec.align != '<') {
      spec.fill = "0";
      spec.align = '=';
    }
    spec.width = star(at) ? next_integer() : read_number(format_, at, widest_field);
    if (at < format_.size() && format_[at] == '.') {
      ++at;
      spec.precision = star(at) ? next_integer() : read_number(format_, at, longest_precision);
    }
    while (at < format_.size() && (format_[at] == 'l' || format_[at] == 'h' || format_[at] == 'L'))
      ++at;
    return spec;
  }

  bool star(std::size_t& at) {
    if (at >= format_.size() || format_[at] != '*') return false;
    ++at;
    return true;
  }

  const Value& next() {
    if (!tuple_) {
      ensure(used_ == 0, "not enough arguments for format string");
      ++used_;
      return arguments_;
    }
    ensure(used_ < tuple_->values.size(), "not enough arguments for format string");
    return tuple_->values[used_++];
  }

  std::int64_t next_integer() {
    const Value& value = next();
    ensure(value.is_integer(), "* wants int");
    ensure(value.whole() >= 0 && value.whole() <= longest_precision, "a width of ", value.whole());
    return value.whole();
  }

  std::string converted(const Value& value, Spec spec, char type) {
    static constexpr std::string_view integers = "diuxXo", reals = "fFeEgG", texts = "sra";
    if (texts.find(type) != std::string_view::npos) {
      if (type == 'a') fail(Fault::unsupported, "the format %a");
      if (spec.fill == "0") spec.fill = " ", spec.align = 0;
      return text_field(type == 's' ? to_text(value, budget_) : representation(value, budget_),
                        spec, '>', budget_);
    }
    if (type == 'c') {
      ensure(value.text() && value.text()->size == 1, "%c requires int or char");
      return text_field(value.text()->bytes, spec, '>', budget_);
    }
    ensure(
        integers.find(type) != std::string_view::npos || reals.find(type) != std::string_view::npos,
        "unsupported format character '", type, "'");
    require_defined(value);
    ensure(value.is_number(), "%", type, " format: a real number is required, not ",
           type_name(value));
    if (reals.find(type) != std::string_view::npos) {
      spec.type = type;
      return real_field(value.real(), spec, budget_);
    }
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    if (value.is_integer()) return integer_field(value.whole(), spec, true, budget_);
    ensure(spec.type == 'd', "%", type, " format: an integer is required, not float");
    return integer_field(truncated(value.real()), spec, true, budget_);
  }

  std::string_view format_;
  const Value& arguments_;
  Budget& budget_;
  const Sequence* tuple_ = nullptr;
  std::size_t used_ = 0;
};

// ---- text.format(values)

// [[fill]align][sign][#][0][width][,][.precision][type]
Spec parse_spec(std::string_view text) {
  Spec spec;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  std::size_t at = 0;
  const auto first =
      text.empty() ? std::size_t{0} : static_cast<std::size_t>(tokens::character_length(text[0]));
  if (text.size() > first && is_align(text[first])) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    at = first + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[at++];
  }
  const auto take = [&](std::string_view any) {
    return at < text.size() && any.find(text[at]) != std::string_view::npos ? text[at++] : '\0';
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  spec.alternate = take("#") != 0;
  if (take("0") != 0 && spec.align == 0) {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = read_number(text, at, widest_field);
  spec.grouping = take(",_");
  if (take(".") != 0) spec.precision = read_number(text, at, longest_precision);
  if (at < text.size()) spec.type = text[at++];
  ensure(at == text.size(), "Invalid format specifier '", text, "'");
  return spec;
}

std::string formatted(const Value& value, std::string_view spec_text, Budget& budget) {
  if (spec_text.empty()) return to_text(value, budget);
  const Spec spec = parse_spec(spec_text);
  static constexpr std::string_view reals = "fFeEgG%";
  const bool real_type = spec.type != 0 && reals.find(spec.type) != std::string_view::npos;
  if (value.text()) {
    ensure(spec.type == 0 || spec.type == 's', "Unknown format code '", spec.type,
           "' for object of type 'str'");
    ensure(spec.align != '=' || spec.fill == "0",
           "'=' alignment not allowed in string format specifier");
    Spec field = spec;
    if (field.align == '=') field.align = '<';
    return text_field(value.text()->bytes, field, '<', budget);
  }
  ensure(value.is_number(), "unsupported format string passed to ", type_name(value),
         ".__format__");
  if (real_type) return real_field(value.real(), spec, budget);
  if (value.is_integer()) {
    static constexpr std::string_view integers = "dxXob";
    ensure(spec.type == 0 || integers.find(spec.type) != std::string_view::npos,
           "Unknown format code '", spec.type, "' for object of type 'int'");
    ensure(spec.precision < 0, "Precision not allowed in integer format specifier");
    return integer_field(value.whole(), spec, false, budget);
  }
  if (spec.type != 0 || spec.precision >= 0 || spec.grouping)
    fail(Fault::unsupported, "the format '", spec_text, "' of a float");
  auto [sign, body] =
      signed_parts(std::signbit(value.real()), real_representation(std::abs(value.real())), spec);
  return filled(sign, body, spec, '>', budget);
}

class BraceFormatter {
 public:
  BraceFormatter(std::string_view format, const std::vector<Value>& positional,
                 const std::vector<Keyword>& keywords, Budget& budget)
      : format_(format), positional_(positional), keywords_(keywords), budget_(budget) {}

  std::string run() {
    std::string out;
    for (std::size_t at = 0; at < format_.size(); ++at) {
      const char c = format_[at];
      if (c != '{' && c != '}') {
        out += c;
        continue;
      }
      if (at + 1 < format_.size() && format_[at + 1] == c) {
        out += c;
        ++at;
        continue;
      }
      ensure(c == '{', "Single '}' encountered in format string");
      const std::size_t end = format_.find('}', at);
      ensure(end != std::string_view::npos, "expected '}' before end of string");
      out += field(format_.substr(at + 1, end - at - 1));
      budget_.use(static_cast<std::int64_t>(out.size()) / 16 + 1);
      at = end;
    }
    return out;
  }

 private:
  std::string field(std::string_view text) {
    // std::find, since GCC 12 sees an overread where it inlines string_view's own.
    const auto place = [text](char sought) {
      return static_cast<std::size_t>(std::find(text.begin(), text.end(), sought) - text.begin());
    };
    if (place('{') < text.size()) fail(Fault::unsupported, "a field inside a format specifier");
    const std::size_t colon = place(':');
    const std::size_t mark = std::min(place('!'), colon);
    const std::string_view spec = colon < text.size() ? text.substr(colon + 1) : "";
    const Value value = look_up(text.substr(0, mark));
    if (mark == colon) return formatted(value, spec, budget_);
    const std::string_view conversion = text.substr(mark + 1, colon - mark - 1);
    ensure(conversion == "s" || conversion == "r", "Unknown conversion specifier ", conversion);
    return formatted(
        Value::text(conversion == "s" ? to_text(value, budget_) : representation(value, budget_)),
        spec, budget_);
  }

  Value look_up(std::string_view path) {
    const std::size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = first(path.substr(0, end));
    std::string_view rest = path.substr(end);
    while (!rest.empty()) {
      if (rest[0] == '.') {
        const std::size_t stop = std::min(rest.find_first_of(".[", 1), rest.size());
        value = attribute(value, std::string(rest.substr(1, stop - 1)));
        rest = rest.substr(stop);
      } else {
        const std::size_t stop = rest.find(']');
        ensure(rest[0] == '[' && stop != std::string_view::npos, "Missing ']' in format string");
        value = item(value, index(rest.substr(1, stop - 1)), budget_);
        rest = rest.substr(stop + 1);
      }
    }
    return value;
  }

  static bool all_digits(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  }

  static Value index(std::string_view text) {
    std::size_t at = 0;
    if (all_digits(text)) return Value(read_number(text, at, widest_field));
    return Value::text(std::string(text));
  }

  Value first(std::string_view name) {
    if (name.empty() || all_digits(name)) {
      std::size_t at = 0;
      const auto place = name.empty()
                             ? automatic_++
                             : static_cast<std::size_t>(read_number(name, at, widest_field));
      ensure(place < positional_.size(), "Replacement index ", place,
             " out of range for positional args tuple");
      return positional_[place];
    }
    for (const Keyword& keyword : keywords_) {
      if (keyword.first == name) return keyword.second;
    }
    fail(Fault::bad_argument, "'", name, "'");
  }

  std::string_view format_;
  const std::vector<Value>& positional_;
  const std::vector<Keyword>& keywords_;
  Budget& budget_;
  std::size_t automatic_ = 0;
};

}  // namespace

std::string percent_formatted(const Text& format, const Value& arguments, Budget& budget) {
  return PercentFormatter(format, arguments, budget).run();
}

std::string brace_formatted(const Text& format, const std::vector<Value>& positional,
                            const std::vector<Keyword>& keywords, Budget& budget) {
  return BraceFormatter(format.bytes, positional, keywords, budget).run();
}

}  // namespace quaver::jinja
