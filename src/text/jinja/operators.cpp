#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "text/jinja/call.h"
#include "text/jinja/strings.h"

namespace quaver::jinja {
namespace {

[[noreturn]] void unsupported_operands(std::string_view operation, const Value& a, const Value& b) {
  fail(Fault::bad_argument, "unsupported operand type(s) for ", operation, ": '", type_name(a),
       "' and '", type_name(b), "'");
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    ensure(base != 0, "0.0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1) return Value(exponent == 0 ? std::int64_t{1} : base);
  if (base == -1) return Value(std::int64_t{exponent % 2 == 0 ? 1 : -1});
  std::int64_t result = 1;
  for (; exponent > 0; --exponent) result = checked(product(result, base));  // at most 63 turns
  return Value(result);
}

Value integer_arithmetic(std::string_view operation, std::int64_t a, std::int64_t b) {
  if (operation == "+") return Value(checked(sum(a, b)));
  if (operation == "*") return Value(checked(product(a, b)));
  if (operation == "-") {
    std::int64_t difference = 0;
    if (__builtin_sub_overflow(a, b, &difference)) checked(std::nullopt);
    return Value(difference);
  }
  if (operation == "**") return integer_power(a, b);
  if (operation == "/") {
    ensure(b != 0, "division by zero");
    return Value(static_cast<double>(a) / static_cast<double>(b));
  }
  ensure(b != 0, "integer division or modulo by zero");
  return Value(operation == "//" ? floor_quotient(a, b) : floor_modulo(a, b));
}

Value real_power(double a, double b) {
  ensure(a != 0 || b >= 0, "0.0 cannot be raised to a negative power");
  if (a < 0 && b != std::floor(b)) fail(Fault::unsupported, "a complex number");
  const double result = std::pow(a, b);
  ensure(!std::isinf(result) || std::isinf(a) || std::isinf(b), "Numerical result out of range");
  return Value(result);
}

Value real_arithmetic(std::string_view operation, double a, double b) {
  if (operation == "+") return Value(a + b);
  if (operation == "-") return Value(a - b);
  if (operation == "*") return Value(a * b);
  if (operation == "**") return real_power(a, b);
  ensure(b != 0, operation == "%" ? "float modulo" : "float division by zero");
  if (operation == "/") return Value(a / b);
  if (operation == "%") return Value(floor_modulo(a, b));
  return Value(std::floor((a - floor_modulo(a, b)) / b + 0.5));
}

Value joined(const Value& a, const Value& b, Budget& budget) {
  const Text &left = *a.text(), &right = *b.text();
  const bool markup = left.markup || right.markup;
  const auto part = [&](const Text& text) {
    return markup && !text.markup ? escaped_html(text.bytes, budget) : text.bytes;
  };
  budget.use(static_cast<std::int64_t>(left.bytes.size() + right.bytes.size()));
  return Value::text(part(left) + part(right), markup);
}

Value appended(const Sequence& left, const Sequence& right, Budget& budget) {
  budget.use_product(static_cast<std::int64_t>(left.values.size() + right.values.size()),
                     sizeof(Value));
  std::vector<Value> values = left.values;
  values.insert(values.end(), right.values.begin(), right.values.end());
  return Value::sequence(left.form == Sequence::Form::list ? left.form : Sequence::Form::tuple,
                         std::move(values));
}

bool is_list(const Value& value) {
  return value.sequence() && value.sequence()->form == Sequence::Form::list;
}

bool is_tuple(const Value& value) {
  return value.sequence() && (value.sequence()->form == Sequence::Form::tuple ||
                              value.sequence()->form == Sequence::Form::group);
}

Value repeated(const Value& value, std::int64_t count, Budget& budget) {
  count = std::max<std::int64_t>(count, 0);
  if (const Text* text = value.text()) {
    budget.use_product(count, static_cast<std::int64_t>(text->bytes.size()));
    std::string out;
    if (!text->bytes.empty()) {
      for (std::int64_t i = 0; i < count; ++i) out += text->bytes;
    }
    return Value::text(std::move(out), text->markup);
  }
  const Sequence& sequence = *value.sequence();
  budget.use_product(count, static_cast<std::int64_t>(sequence.values.size() * sizeof(Value)));
  std::vector<Value> values;
  if (!sequence.values.empty()) {
    for (std::int64_t i = 0; i < count; ++i)
      values.insert(values.end(), sequence.values.begin(), sequence.values.end());
  }
  return Value::sequence(is_list(value) ? Sequence::Form::list : Sequence::Form::tuple,
                         std::move(values));
}

bool is_repeatable(const Value& value) { return value.text() || is_list(value) || is_tuple(value); }

Value sequence_sum(const Value& a, const Value& b, Budget& budget) {
  if (a.text() && b.text()) return joined(a, b, budget);
  if ((is_list(a) && is_list(b)) || (is_tuple(a) && is_tuple(b)))
    return appended(*a.sequence(), *b.sequence(), budget);
  ensure(!a.text(), "can only concatenate str (not \"", type_name(b), "\") to str");
  ensure(!is_list(a) && !is_tuple(a), "can only concatenate ", type_name(a), " (not \"",
         type_name(b), "\") to ", type_name(a));
  unsupported_operands("+", a, b);
}

// The places that a slice takes, first to last.
Range slice_places(std::int64_t size, const SliceBounds& bounds) {
  const std::int64_t step = bounds.step.value_or(1);
  ensure(step != 0, "slice step cannot be zero");
  const std::int64_t least = step > 0 ? 0 : -1, most = step > 0 ? size : size - 1;
  const auto place = [&](std::optional<std::int64_t> bound, std::int64_t otherwise) {
    if (!bound) return otherwise;
    const std::int64_t from_start = *bound < 0 ? *bound + size : *bound;
    return std::clamp(from_start, least, most);
  };
  return {place(bounds.start, step > 0 ? least : most), place(bounds.stop, step > 0 ? most : least),
          step};
}

Value text_slice(const Text& text, const Range& places, Budget& budget) {
  budget.use(static_cast<std::int64_t>(text.bytes.size()));
  const std::int64_t count = places.size();
  if (count == 0) return Value::text("", text.markup);
  if (places.step == 1) {
    const std::size_t begin = byte_of(text, places.start), end = byte_of(text, places.stop);
    return Value::text(text.bytes.substr(begin, end - begin), text.markup);
  }
  const std::vector<std::string_view> all = characters(text.bytes);
  std::string out;
  for (std::int64_t i = 0; i < count; ++i) out += all[static_cast<std::size_t>(places.at(i))];
  return Value::text(std::move(out), text.markup);
}

Value missing_attribute(const Value& from, const std::string& name) {
  return Value::undefined("'" + described_type(from) + "' has no attribute '" + name + "'");
}

Value missing_item(const Value& from, const Value& key, Budget& budget) {
  if (key.text()) return missing_attribute(from, key.text()->bytes);
  const std::string shown =
      key.iterator() || key.object() ? type_name(key) : representation(key, budget);
  return Value::undefined(described_type(from) + " has no element " + shown);
}

// What Python finds by getattr: methods, and the properties of objects.
std::optional<Value> own_attribute(const Value& from, const std::string& name) {
  bool forbidden = name.size() > 4 && name.starts_with("__") && name.ends_with("__");
  const Row* method = forbidden ? nullptr : find_method(from, name, forbidden);
  if (forbidden) {
    return Value::undefined("access to attribute '" + name + "' of '" + type_name(from) +
                            "' object is unsafe.");
  }
  if (method) {
    if (method->run == nullptr)
      fail(Fault::unsupported, "attribute '", name, "' of '", type_name(from), "'");
    return bound_row(*method, from);
  }
  if (Object* object = from.object()) return object->attribute(name);
  if (const Sequence* group = from.sequence();
      group && group->form == Sequence::Form::group && group->values.size() == 2) {
    if (name == "grouper") return group->values[0];
    if (name == "list") return group->values[1];
  }
  return std::nullopt;
}

std::optional<Value> element(const Value& from, const Value& key, Budget& budget) {
  if (const Dict* dict = from.dict()) {
    const bool hashable = !key.dict() && !(key.sequence() && !is_tuple(key));
    const Value* found = hashable ? dict->find(key) : nullptr;
    return found ? std::optional<Value>(*found) : std::nullopt;
  }
  if (!key.is_integer()) return std::nullopt;
  const bool indexed = from.text() || is_list(from) || is_tuple(from) || from.range();
  if (!indexed) return std::nullopt;
  const std::int64_t size = *length_of(from);
  const std::int64_t place = key.whole() < 0 ? key.whole() + size : key.whole();
  if (place < 0 || place >= size) return std::nullopt;
  if (const Sequence* sequence = from.sequence())
    return sequence->values[static_cast<std::size_t>(place)];
  if (const Range* range = from.range()) return Value(range->at(place));
  return text_slice(*from.text(), {place, place + 1, 1}, budget);
}

}  // namespace

std::optional<std::int64_t> sum(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_add_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}

std::optional<std::int64_t> product(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_mul_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}

std::int64_t checked(std::optional<std::int64_t> result) {
  if (!result) fail(Fault::unsupported, "an integer of more than 64 bits");
  return *result;
}

std::int64_t truncated(double value) {
  ensure(std::isfinite(value), "cannot convert float ", std::isnan(value) ? "NaN" : "infinity",
         " to integer");
  if (std::abs(value) >= 9.2e18) checked(std::nullopt);
  return static_cast<std::int64_t>(value);
}

double floor_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

std::int64_t floor_modulo(std::int64_t a, std::int64_t b) {
  if (b == -1) return 0;  // where a % b would overflow
  const std::int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  if (b == -1) {
    if (a == std::numeric_limits<std::int64_t>::min()) checked(std::nullopt);
    return -a;
  }
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
}

Value arithmetic(std::string_view operation, const Value& left, const Value& right,
                 Budget& budget) {
  if (operation == "%" && left.text()) {
    return Value::text(percent_formatted(*left.text(), right, budget));
  }
  require_defined(left);
  require_defined(right);
  if (left.is_integer() && right.is_integer())
    return integer_arithmetic(operation, left.whole(), right.whole());
  if (left.is_number() && right.is_number())
    return real_arithmetic(operation, left.real(), right.real());
  if (operation == "+") return sequence_sum(left, right, budget);
  if (operation == "*" && is_repeatable(left) && right.is_integer())
    return repeated(left, right.whole(), budget);
  if (operation == "*" && left.is_integer() && is_repeatable(right))
    return repeated(right, left.whole(), budget);
  unsupported_operands(operation, left, right);
}

Value negated(const Value& value, bool minus) {
  require_defined(value);
  if (value.is_integer()) {
    if (!minus) return Value(value.whole());
    std::int64_t result = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, value.whole(), &result)) checked(std::nullopt);
    return Value(result);
  }
  ensure(value.is_number(), "bad operand type for unary ", minus ? "-" : "+", ": '",
         type_name(value), "'");
  return Value(minus ? -value.real() : value.real());
}

Value slice(const Value& from, const SliceBounds& bounds, Budget& budget) {
  require_defined(from);
  ensure(!from.dict(), "unhashable type: 'slice'");
  const bool sliced = from.text() || is_list(from) || is_tuple(from) || from.range();
  ensure(sliced, "'", type_name(from), "' object is not subscriptable");
  const Range places = slice_places(*length_of(from), bounds);
  if (const Text* text = from.text()) return text_slice(*text, places, budget);
  const std::int64_t count = places.size();
  if (const Range* range = from.range()) {
    const auto at = [range](std::int64_t i) {
      return checked(sum(range->start, checked(product(i, range->step))));
    };
    return Value(std::make_shared<const Range>(
        Range{at(places.start), at(places.stop), checked(product(range->step, places.step))}));
  }
  budget.use_product(count, sizeof(Value));
  std::vector<Value> values;
  for (std::int64_t i = 0; i < count; ++i)
    values.push_back(from.sequence()->values[static_cast<std::size_t>(places.at(i))]);
  return Value::sequence(is_list(from) ? Sequence::Form::list : Sequence::Form::tuple,
                         std::move(values));
}

Value attribute(const Value& from, const std::string& name) {
  require_defined(from);
  if (auto own = own_attribute(from, name)) return *std::move(own);
  if (const Dict* dict = from.dict()) {
    if (const Value* found = dict->find(name)) return *found;
  }
  return missing_attribute(from, name);
}

Value item(const Value& from, const Value& key, Budget& budget) {
  require_defined(from);
  if (auto found = element(from, key, budget)) return *std::move(found);
  if (key.text()) {
    if (auto own = own_attribute(from, key.text()->bytes)) return *std::move(own);
  }
  return missing_item(from, key, budget);
}

}  // namespace quaver::jinja
