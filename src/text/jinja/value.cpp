#include "text/jinja/value.h"

#include <cmath>
#include <limits>

#include "core/error.h"
#include "text/jinja/call.h"
#include "text/jinja/strings.h"

namespace quaver::jinja {
namespace {

constexpr int deepest_container = 100;  // bounds the recursion of everything that walks values

int depth_above(int inner) {
  ensure(inner < deepest_container, "containers are nested deeper than ", deepest_container,
         " levels");
  return inner + 1;
}

int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) {
    const std::int64_t x = a.whole(), y = b.whole();
    return x < y ? -1 : x > y ? 1 : 0;
  }
  const double x = a.real(), y = b.real();
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y ? 1 : 0;
}

bool equal_values(const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items().size() != b.items().size()) return false;
  for (const auto& [key, value] : a.items()) {
    const Value* other = b.find(key);
    if (!other || !equal(value, *other)) return false;
  }
  return true;
}

// group (the pairs of groupby) is a tuple to everything but attribute access.
Sequence::Form plain(Sequence::Form form) {
  return form == Sequence::Form::group ? Sequence::Form::tuple : form;
}

}  // namespace

void Budget::step(std::int64_t count) {
  if (count > steps_)
    fail(Fault::resource, "the template takes more than ", steps_limit_, " steps");
  steps_ -= count;
}

void Budget::use(std::int64_t count) {
  if (count > largest_)
    fail(Fault::resource, "a value of ", count, " bytes, the limit is ", largest_);
  scan(count);
}

void Budget::scan(std::int64_t count) {
  if (count > bytes_)
    fail(Fault::resource, "the template handles more than ", bytes_limit_, " bytes");
  bytes_ -= count;
}

void Budget::use_product(std::int64_t count, std::int64_t size) {
  if (count <= 0 || size <= 0) return;
  const auto product = static_cast<double>(count) * static_cast<double>(size);
  use(product > 1e18 ? std::numeric_limits<std::int64_t>::max() : count * size);
}

std::int64_t Range::size() const {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  // Unsigned, so that the distance of any two bounds fits.
  const auto far = step > 0 ? static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start)
                            : static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop);
  const auto stride = step > 0 ? static_cast<std::uint64_t>(step)
                               : std::uint64_t{0} - static_cast<std::uint64_t>(step);
  const std::uint64_t count = (far - 1) / stride + 1;
  return count > std::uint64_t{1} << 62 ? std::int64_t{1} << 62 : static_cast<std::int64_t>(count);
}

Value Value::undefined(std::string message) {
  return Value(Undefined{std::make_shared<const std::string>(std::move(message))});
}

Value Value::text(std::string bytes, bool markup) {
  const std::int64_t size = count_code_points(bytes);
  return Value(std::make_shared<const Text>(Text{std::move(bytes), size, markup}));
}

Value Value::sequence(Sequence::Form form, std::vector<Value> values) {
  int inner = 0;
  for (const Value& value : values) inner = std::max(inner, value.depth());
  return Value(
      std::make_shared<const Sequence>(Sequence{form, std::move(values), depth_above(inner)}));
}

Value Value::list(std::vector<Value> values) {
  return sequence(Sequence::Form::list, std::move(values));
}

Value Value::tuple(std::vector<Value> values) {
  return sequence(Sequence::Form::tuple, std::move(values));
}

Value Value::iterator(std::vector<Value> values) {
  int inner = 0;
  for (const Value& value : values) inner = std::max(inner, value.depth());
  return Value(std::make_shared<Iterator>(Iterator{std::move(values), 0, depth_above(inner)}));
}

namespace {
template <class T>
auto* pointed(const Value& value) {
  const auto* shared = value.as<std::shared_ptr<T>>();
  return shared ? shared->get() : nullptr;
}
}  // namespace

const Text* Value::text() const { return pointed<const Text>(*this); }
const Sequence* Value::sequence() const { return pointed<const Sequence>(*this); }
const Dict* Value::dict() const { return pointed<const Dict>(*this); }
const Range* Value::range() const { return pointed<const Range>(*this); }
Iterator* Value::iterator() const { return pointed<Iterator>(*this); }
Object* Value::object() const { return pointed<Object>(*this); }

std::int64_t Value::whole() const {
  if (const bool* flag = as<bool>()) return *flag ? 1 : 0;
  return *as<std::int64_t>();
}

double Value::real() const {
  if (const double* number = as<double>()) return *number;
  return static_cast<double>(whole());
}

int Value::depth() const {
  if (const Sequence* values = sequence()) return values->depth;
  if (const Dict* items = dict()) return items->depth();
  if (const Iterator* values = iterator()) return values->depth;
  if (const Object* held = object()) return held->depth();
  return 0;
}

const void* Value::identity() const {
  if (const Text* value = text()) return value;
  if (const Sequence* value = sequence()) return value;
  if (const Dict* value = dict()) return value;
  if (const Range* value = range()) return value;
  if (const Iterator* value = iterator()) return value;
  return object();
}

Value Object::call(Call&) {
  fail(Fault::bad_argument, "'", type_name(), "' object is not callable");
}

std::string hash_key(const Value& key) {
  if (const Text* text = key.text()) return "s" + text->bytes;
  if (key.is_none()) return "n";
  if (key.is_undefined()) return "u";
  if (key.is_integer()) return "i" + std::to_string(key.whole());
  if (const double* number = key.as<double>()) {
    if (*number == std::floor(*number) && std::abs(*number) < 9e18)
      return "i" + std::to_string(static_cast<std::int64_t>(*number));
    return "f" + real_representation(*number);
  }
  if (const Sequence* values = key.sequence();
      values && plain(values->form) == Sequence::Form::tuple) {
    std::string joined = "t";
    for (const Value& value : values->values) {
      const std::string part = hash_key(value);
      joined += std::to_string(part.size()) + ":" + part;
    }
    return joined;
  }
  ensure(!key.sequence() && !key.dict(), "unhashable type: '", type_name(key), "'");
  return "o" + std::to_string(reinterpret_cast<std::uintptr_t>(key.identity()));
}

void Dict::set(const Value& key, Value value) {
  depth_ = std::max({depth_, depth_above(value.depth()), depth_above(key.depth())});
  const auto [place, added] = places_.emplace(hash_key(key), items_.size());
  if (added)
    items_.emplace_back(key, std::move(value));
  else
    items_[place->second].second = std::move(value);
}

const Value* Dict::find(const Value& key) const {
  const auto place = places_.find(hash_key(key));
  return place == places_.end() ? nullptr : &items_[place->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto place = places_.find("s" + std::string(key));
  return place == places_.end() ? nullptr : &items_[place->second].second;
}

Value make_dict(Dict dict) { return Value(std::make_shared<const Dict>(std::move(dict))); }

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_integer()) return value.whole() != 0;
  if (const double* number = value.as<double>()) return *number != 0;
  return length_of(value).value_or(1) != 0;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.text() && b.text()) return a.text()->bytes == b.text()->bytes;
  if (a.sequence() && b.sequence()) {
    const auto form = plain(a.sequence()->form);
    if (form != plain(b.sequence()->form)) return false;
    if (form == Sequence::Form::values) return a.identity() == b.identity();
    return equal_values(a.sequence()->values, b.sequence()->values);
  }
  if (a.dict() && b.dict()) return equal_dicts(*a.dict(), *b.dict());
  if (a.range() && b.range()) {
    const Range &x = *a.range(), &y = *b.range();
    const std::int64_t size = x.size();
    if (size != y.size()) return false;
    return size == 0 || (x.start == y.start && (size == 1 || x.step == y.step));
  }
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  return a.identity() != nullptr && a.identity() == b.identity();
}

int order(const Value& a, const Value& b, std::string_view operation) {
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.text() && b.text()) {  // bytes of UTF-8 sort as the code points do
    const int order = a.text()->bytes.compare(b.text()->bytes);
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  const Sequence *x = a.sequence(), *y = b.sequence();
  if (x && y && plain(x->form) == plain(y->form) &&
      (plain(x->form) == Sequence::Form::list || plain(x->form) == Sequence::Form::tuple)) {
    for (std::size_t i = 0; i < std::min(x->values.size(), y->values.size()); ++i) {
      if (!equal(x->values[i], y->values[i])) return order(x->values[i], y->values[i], operation);
    }
    return x->values.size() < y->values.size() ? -1 : x->values.size() > y->values.size() ? 1 : 0;
  }
  fail(Fault::bad_argument, "'", operation, "' not supported between instances of '", type_name(a),
       "' and '", type_name(b), "'");
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (const Text* text = container.text()) {
    ensure(item.text() != nullptr, "'in <string>' requires string as left operand, not ",
           type_name(item));
    budget.use(static_cast<std::int64_t>(text->bytes.size()));
    return text->bytes.find(item.text()->bytes) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(item) != nullptr;
  if (const Range* range = container.range(); range && item.is_number()) {
    const std::int64_t size = range->size();
    const double place =
        (item.real() - static_cast<double>(range->start)) / static_cast<double>(range->step);
    return place >= 0 && place < static_cast<double>(size) && place == std::floor(place);
  }
  if (const Sequence* values = container.sequence()) {
    budget.use(static_cast<std::int64_t>(values->values.size() * sizeof(Value)));
    for (const Value& value : values->values) {
      if (equal(value, item)) return true;
    }
    return false;
  }
  ensure(is_iterable(container), "argument of type '", type_name(container), "' is not iterable");
  for (const Value& value : iterate(container, budget)) {
    if (equal(value, item)) return true;
  }
  return false;
}

std::string type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.as<bool>()) return "bool";
  if (value.as<std::int64_t>()) return "int";
  if (value.as<double>()) return "float";
  if (const Text* text = value.text()) return text->markup ? "Markup" : "str";
  if (value.dict()) return "dict";
  if (value.range()) return "range";
  if (value.iterator()) return "generator";
  if (const Sequence* values = value.sequence()) {
    switch (values->form) {
      case Sequence::Form::list:
        return "list";
      case Sequence::Form::keys:
        return "dict_keys";
      case Sequence::Form::values:
        return "dict_values";
      case Sequence::Form::items:
        return "dict_items";
      default:
        return "tuple";
    }
  }
  return value.object()->type_name();
}

std::string described_type(const Value& value) {
  return value.is_none() ? "None" : type_name(value) + " object";
}

std::optional<std::int64_t> length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const Text* text = value.text()) return text->size;
  if (const Sequence* values = value.sequence())
    return static_cast<std::int64_t>(values->values.size());
  if (const Dict* dict = value.dict()) return static_cast<std::int64_t>(dict->items().size());
  if (const Range* range = value.range()) return range->size();
  return std::nullopt;
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.text() || value.sequence() || value.dict() ||
         value.range() || value.iterator();
}

std::vector<Value> iterate(const Value& value, Budget& budget) {
  ensure(is_iterable(value), "'", type_name(value), "' object is not iterable");
  std::int64_t count = length_of(value).value_or(0);
  if (const Iterator* rest = value.iterator())
    count = static_cast<std::int64_t>(rest->values.size() - rest->next);
  budget.use_product(count, sizeof(Value));
  std::vector<Value> values;
  values.reserve(static_cast<std::size_t>(count));
  if (const Text* text = value.text()) {
    budget.step(text->size / 8);  // each character becomes an allocation
    for (const std::string_view character : characters(text->bytes))
      values.push_back(Value::text(std::string(character)));
  } else if (const Sequence* sequence = value.sequence()) {
    values = sequence->values;
  } else if (const Dict* dict = value.dict()) {
    for (const auto& entry : dict->items()) values.push_back(entry.first);
  } else if (const Range* range = value.range()) {
    for (std::int64_t i = 0; i < count; ++i) values.emplace_back(range->at(i));
  } else if (Iterator* rest = value.iterator()) {
    values.assign(rest->values.begin() + static_cast<std::ptrdiff_t>(rest->next),
                  rest->values.end());
    rest->next = rest->values.size();
  }
  return values;
}

void require_defined(const Value& value) {
  if (const Undefined* missing = value.as<Undefined>())
    fail(Fault::bad_argument, *missing->message);
}

}  // namespace quaver::jinja
