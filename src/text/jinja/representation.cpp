// str() and repr() as Python prints them, and JSON as json.dumps does.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "text/jinja/strings.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

namespace quaver::jinja {
namespace {

void append_hex(std::string& out, const char* format, char32_t value) {
  char digits[16];
  std::snprintf(digits, sizeof digits, format, static_cast<unsigned>(value));
  out += digits;
}

void append_quoted(std::string& out, std::string_view text) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  out += quote;
  for (const std::string_view character : characters(text)) {
    int length = 0;
    const char32_t value = tokens::valid_code_point(character.data(), length);
    if (value == static_cast<unsigned char>(quote) || value == '\\')
      (out += '\\') += static_cast<char>(value);
    else if (value == '\n')
      out += "\\n";
    else if (value == '\r')
      out += "\\r";
    else if (value == '\t')
      out += "\\t";
    else if (is_printable(value))
      out += character;
    else
      append_hex(out, value < 0x100 ? "\\x%02x" : value < 0x10000 ? "\\u%04x" : "\\U%08x", value);
  }
  out += quote;
}

void append_representation(std::string& out, const Value& value, Budget& budget);

void append_list(std::string& out, const std::vector<Value>& values, Budget& budget) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ", ";
    append_representation(out, values[i], budget);
  }
}

void append_sequence(std::string& out, const Sequence& sequence, Budget& budget) {
  using Form = Sequence::Form;
  const bool tuple = sequence.form == Form::tuple || sequence.form == Form::group;
  const bool list = sequence.form == Form::list;
  if (sequence.form == Form::keys) out += "dict_keys(";
  if (sequence.form == Form::values) out += "dict_values(";
  if (sequence.form == Form::items) out += "dict_items(";
  out += tuple ? '(' : '[';
  append_list(out, sequence.values, budget);
  if (tuple && sequence.values.size() == 1) out += ',';
  out += tuple ? ')' : ']';
  if (!tuple && !list) out += ')';
}

void append_dict(std::string& out, const Dict& dict, Budget& budget) {
  out += '{';
  bool first = true;
  for (const auto& [key, value] : dict.items()) {
    if (!first) out += ", ";
    first = false;
    append_representation(out, key, budget);
    out += ": ";
    append_representation(out, value, budget);
  }
  out += '}';
}

void append_range(std::string& out, const Range& range) {
  out += "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
  if (range.step != 1) out += ", " + std::to_string(range.step);
  out += ')';
}

void append_representation(std::string& out, const Value& value, Budget& budget) {
  budget.step();
  const std::size_t before = out.size();
  if (const Text* text = value.text()) {
    budget.scan(static_cast<std::int64_t>(text->bytes.size()));
    if (text->markup) out += "Markup(";
    append_quoted(out, text->bytes);
    if (text->markup) out += ')';
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else if (const Sequence* sequence = value.sequence()) {
    append_sequence(out, *sequence, budget);
  } else if (const Dict* dict = value.dict()) {
    append_dict(out, *dict, budget);
  } else if (const Range* range = value.range()) {
    append_range(out, *range);
  } else {
    out += to_text(value, budget);
  }
  budget.scan(static_cast<std::int64_t>(out.size() - before));
}

// json.dumps, one value at a time.
class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  std::string out;

  void write(const Value& value, int level) {
    budget_.step();
    if (const Text* text = value.text())
      write_string(text->bytes);
    else if (value.is_none())
      put("null");
    else if (const bool* flag = value.as<bool>())
      put(*flag ? "true" : "false");
    else if (value.is_number())
      put(number(value));
    else if (const Dict* dict = value.dict())
      write_dict(*dict, level);
    else if (const Sequence* sequence = value.sequence(); sequence && is_array(*sequence))
      write_list(sequence->values, level);
    else
      fail(Fault::bad_argument, "Object of type ", type_name(value), " is not JSON serializable");
  }

 private:
  static bool is_array(const Sequence& sequence) {
    return sequence.form == Sequence::Form::list || sequence.form == Sequence::Form::tuple ||
           sequence.form == Sequence::Form::group;
  }

  static std::string number(const Value& value) {
    if (value.is_integer()) return std::to_string(value.whole());
    const double real = value.real();
    if (std::isnan(real)) return "NaN";
    if (std::isinf(real)) return real > 0 ? "Infinity" : "-Infinity";
    return real_representation(real);
  }

  void put(std::string_view part) {
    budget_.scan(static_cast<std::int64_t>(part.size()));
    out += part;
  }

  void new_line(int level) {
    if (!style_.indent) return;
    put("\n");
    for (int i = 0; i < level; ++i) put(*style_.indent);
  }

  void escape(char32_t value) {
    static constexpr std::string_view plain = "\"\\\n\r\t\f\b", letters = "\"\\nrtfb";
    const std::size_t place = value < 128 ? plain.find(static_cast<char>(value)) : plain.npos;
    if (place != plain.npos) {
      (out += '\\') += letters[place];
    } else if (value >= 0x10000) {
      append_hex(out, "\\u%04x", 0xD800 + ((value - 0x10000) >> 10));
      append_hex(out, "\\u%04x", 0xDC00 + ((value - 0x10000) & 0x3FF));
    } else {
      append_hex(out, "\\u%04x", value);
    }
  }

  void write_string(std::string_view text) {
    budget_.scan(static_cast<std::int64_t>(text.size()));
    const std::size_t before = out.size();
    out += '"';
    for (const std::string_view character : characters(text)) {
      int length = 0;
      const char32_t value = tokens::valid_code_point(character.data(), length);
      if (value < 0x20 || value == '"' || value == '\\' || (style_.ascii && value > 0x7E))
        escape(value);
      else
        out += character;
    }
    out += '"';
    budget_.scan(static_cast<std::int64_t>(out.size() - before));
  }

  void write_list(const std::vector<Value>& values, int level) {
    if (values.empty()) return put("[]");
    put("[");
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) put(style_.comma);
      new_line(level + 1);
      write(values[i], level + 1);
    }
    new_line(level);
    put("]");
  }

  std::string key_text(const Value& key) {
    if (const Text* text = key.text()) return text->bytes;
    if (key.is_none()) return "null";
    if (const bool* flag = key.as<bool>()) return *flag ? "true" : "false";
    ensure(key.is_number(), "keys must be str, int, float, bool or None, not ", type_name(key));
    return number(key);
  }

  void write_dict(const Dict& dict, int level) {
    std::vector<const Dict::Item*> items;
    for (const Dict::Item& item : dict.items()) items.push_back(&item);
    if (style_.sorted) {
      std::stable_sort(items.begin(), items.end(), [](const auto* a, const auto* b) {
        return order(a->first, b->first) == -1;
      });
    }
    if (items.empty()) return put("{}");
    put("{");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) put(style_.comma);
      new_line(level + 1);
      write_string(key_text(items[i]->first));
      put(style_.colon);
      write(items[i]->second, level + 1);
    }
    new_line(level);
    put("}");
  }

  const JsonStyle& style_;
  Budget& budget_;
};

}  // namespace

std::string real_representation(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  // -d.ddde±xx: Python writes exponents only below 1e-4 and from 1e16 on.
  std::string_view written(buffer, static_cast<std::size_t>(end.ptr - buffer));
  const std::size_t mark = written.find('e');
  int exponent = 0;
  const bool negative_exponent = written[mark + 1] == '-';
  std::from_chars(written.data() + mark + 2, written.data() + written.size(), exponent);
  if (negative_exponent) exponent = -exponent;
  if (exponent < -4 || exponent >= 16) return std::string(written);
  std::string digits, out;
  for (const char c : written.substr(0, mark)) {
    if (c == '-')
      out += c;
    else if (c != '.')
      digits += c;
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string to_text(const Value& value, Budget& budget) {
  if (const Text* text = value.text()) return text->bytes;
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (const bool* flag = value.as<bool>()) return *flag ? "True" : "False";
  if (const std::int64_t* number = value.as<std::int64_t>()) return std::to_string(*number);
  if (const double* number = value.as<double>()) return real_representation(*number);
  if (const Object* object = value.object()) return object->shown();
  if (value.iterator())
    fail(Fault::unsupported, "printing a generator (its text in Python is an address); use |list");
  return representation(value, budget);
}

std::string representation(const Value& value, Budget& budget) {
  std::string out;
  append_representation(out, value, budget);
  budget.use(static_cast<std::int64_t>(out.size()));
  return out;
}

std::string json_text(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  writer.write(value, 0);
  budget.use(static_cast<std::int64_t>(writer.out.size()));
  return std::move(writer.out);
}

}  // namespace quaver::jinja
