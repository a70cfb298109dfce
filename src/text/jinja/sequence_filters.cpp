// Filters over lists, dicts and other iterables.
#include <algorithm>
#include <unordered_set>

#include "core/error.h"
#include "text/jinja/call.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"

namespace quaver::jinja {
namespace {

using Values = std::vector<Value>;

Values input_values(Call& call) { return iterate(call.input, call.budget); }

std::optional<Value> optional_argument(const Call& call, std::size_t i) {
  if (!call.given(i) || call.argument(i).is_none()) return std::nullopt;
  return call.argument(i);
}

Value keyless(const Value& value, bool ignore_case) {
  if (!ignore_case || !value.text()) return value;
  return Value::text(lower(value.text()->bytes));
}

// What `attribute` (a number, or names and numbers with dots between) finds in a value.
class Getter {
 public:
  Getter(const std::optional<Value>& attribute, std::optional<Value> fallback = std::nullopt)
      : fallback_(std::move(fallback)) {
    if (!attribute) return;
    if (!attribute->text()) {
      path_.push_back(*attribute);
      return;
    }
    for (const std::string& part : split(attribute->text()->bytes, ".", -1)) {
      const bool number = !part.empty() && part.size() < 19 &&
                          part.find_first_not_of("0123456789") == std::string::npos;
      path_.push_back(number ? Value(static_cast<std::int64_t>(std::stoll(part)))
                             : Value::text(part));
    }
  }

  Value operator()(Value value, Budget& budget) const {
    for (const Value& part : path_) {
      budget.step();
      value = item(value, part, budget);
      if (fallback_ && value.is_undefined()) value = *fallback_;
    }
    return value;
  }

 private:
  Values path_;
  std::optional<Value> fallback_;
};

using Keyed = std::pair<Value, Value>;  // what to sort by, and the value

// Stable, by the keys. Comparing counts: the template chooses how long the keys are.
void sort_keyed(std::vector<Keyed>& keyed, bool reverse, Budget& budget) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    budget.step();
    return order(reverse ? b.first : a.first, reverse ? a.first : b.first) == -1;
  });
}

Values second_of(std::vector<Keyed> keyed) {
  Values values;
  values.reserve(keyed.size());
  for (Keyed& entry : keyed) values.push_back(std::move(entry.second));
  return values;
}

Value sort(Call& call) {
  const bool ignore_case = !call.flag(1, false);
  std::vector<Getter> getters;
  const std::optional<Value> attribute = optional_argument(call, 2);
  if (attribute && attribute->text()) {
    for (const std::string& part : split(attribute->text()->bytes, ",", -1))
      getters.emplace_back(Value::text(part));
  } else {
    getters.emplace_back(attribute);
  }
  std::vector<Keyed> keyed;
  for (Value& value : input_values(call)) {
    Values key;
    for (const Getter& get : getters) key.push_back(keyless(get(value, call.budget), ignore_case));
    keyed.emplace_back(Value::list(std::move(key)), std::move(value));
  }
  sort_keyed(keyed, call.flag(0, false), call.budget);
  return Value::list(second_of(std::move(keyed)));
}

Value dictsort(Call& call) {
  require_defined(call.input);
  ensure(call.input.dict() != nullptr, "dictsort(): expected a mapping, got '",
         type_name(call.input), "'");
  const std::string by = call.given(1) ? call.string(1) : "key";
  ensure(by == "key" || by == "value", "You can only sort by either \"key\" or \"value\"");
  std::vector<Keyed> keyed;
  call.budget.use_product(static_cast<std::int64_t>(call.input.dict()->items().size()), 128);
  for (const auto& [key, value] : call.input.dict()->items()) {
    keyed.emplace_back(keyless(by == "key" ? key : value, !call.flag(0, false)),
                       Value::tuple({key, value}));
  }
  sort_keyed(keyed, call.flag(2, false), call.budget);
  return Value::list(second_of(std::move(keyed)));
}

Value unique(Call& call) {
  const bool ignore_case = !call.flag(0, false);
  const Getter get(optional_argument(call, 1));
  std::unordered_set<std::string> seen;
  Values values;
  for (Value& value : input_values(call)) {
    if (seen.insert(hash_key(keyless(get(value, call.budget), ignore_case))).second)
      values.push_back(std::move(value));
  }
  return Value::iterator(std::move(values));
}

template <int wanted>
Value extreme(Call& call) {
  const bool ignore_case = !call.flag(0, false);
  const Getter get(optional_argument(call, 1));
  std::optional<Keyed> best;
  for (Value& value : input_values(call)) {
    Value key = keyless(get(value, call.budget), ignore_case);
    call.budget.step();
    if (!best || order(key, best->first, wanted < 0 ? "<" : ">") == wanted)
      best = Keyed{std::move(key), std::move(value)};
  }
  return best ? best->second : Value::undefined("No aggregated item, sequence was empty.");
}

Value groupby(Call& call) {
  const std::optional<Value> fallback = optional_argument(call, 1);
  const bool ignore_case = !call.flag(2, false);
  const Getter get(call.argument(0), fallback);
  std::vector<Keyed> keyed;
  for (Value& value : input_values(call)) {
    Value key = keyless(get(value, call.budget), ignore_case);
    keyed.emplace_back(std::move(key), std::move(value));
  }
  sort_keyed(keyed, false, call.budget);
  Values groups;
  for (std::size_t begin = 0, end; begin < keyed.size(); begin = end) {
    Values members;
    for (end = begin; end < keyed.size() && equal(keyed[begin].first, keyed[end].first); ++end)
      members.push_back(keyed[end].second);
    if (end == begin) end = begin + 1;  // a key that is not even equal to itself, as NaN
    if (members.empty()) members.push_back(keyed[begin].second);
    Value name = get(members[0], call.budget);
    groups.push_back(
        Value::sequence(Sequence::Form::group, {std::move(name), Value::list(std::move(members))}));
  }
  return Value::list(std::move(groups));
}

Value sum_filter(Call& call) {
  const Getter get(optional_argument(call, 0));
  Value total = call.given(1) ? call.argument(1) : Value::integer(0);
  ensure(!total.text(), "sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& value : input_values(call))
    total = arithmetic("+", total, get(value, call.budget), call.budget);
  return total;
}

Value join(Call& call) {
  const std::string between = call.given(0) ? to_text(call.argument(0), call.budget) : "";
  const Getter get(optional_argument(call, 1));
  std::string out;
  bool first = true;
  for (const Value& value : input_values(call)) {
    const std::string part = to_text(get(value, call.budget), call.budget);
    call.budget.use(static_cast<std::int64_t>(between.size() + part.size()));
    if (!first) out += between;
    first = false;
    out += part;
  }
  return Value::text(std::move(out));
}

Value first(Call& call) {
  if (Iterator* rest = call.input.iterator()) {
    if (rest->next < rest->values.size()) return rest->values[rest->next++];
    return Value::undefined("No first item, sequence was empty.");
  }
  const Values values = input_values(call);
  return values.empty() ? Value::undefined("No first item, sequence was empty.") : values.front();
}

Value last(Call& call) {
  ensure(!call.input.iterator(), "'generator' object is not reversible");
  const Values values = input_values(call);
  return values.empty() ? Value::undefined("No last item, sequence was empty.") : values.back();
}

Value length(Call& call) {
  const auto size = length_of(call.input);
  ensure(size.has_value(), "object of type '", type_name(call.input), "' has no len()");
  return Value(*size);
}

Value reverse(Call& call) {
  if (const Text* text = call.input.text()) {
    call.budget.use(static_cast<std::int64_t>(text->bytes.size()));
    std::string out;
    const auto all = characters(text->bytes);
    for (auto it = all.rbegin(); it != all.rend(); ++it) out += *it;
    return Value::text(std::move(out), text->markup);
  }
  ensure(is_iterable(call.input), "argument must be iterable");
  Values values = input_values(call);
  std::reverse(values.begin(), values.end());
  // Python's reversed() is an iterator; for what has no order of its own Jinja makes a list.
  if (call.input.iterator() || call.input.is_undefined()) return Value::list(std::move(values));
  return Value::iterator(std::move(values));
}

Value batch(Call& call) {
  const std::int64_t size = call.integer(0, 0);
  const std::optional<Value> fill = optional_argument(call, 1);
  Values rows, row;
  for (Value& value : input_values(call)) {
    if (static_cast<std::int64_t>(row.size()) == size)
      rows.push_back(Value::list(std::exchange(row, {})));
    row.push_back(std::move(value));
  }
  if (!row.empty()) {
    const std::int64_t missing = size - static_cast<std::int64_t>(row.size());
    if (fill && missing > 0) {
      call.budget.use_product(missing, sizeof(Value));
      row.insert(row.end(), static_cast<std::size_t>(missing), *fill);
    }
    rows.push_back(Value::list(std::move(row)));
  }
  return Value::iterator(std::move(rows));
}

Value slice_filter(Call& call) {
  const Values values = input_values(call);
  const std::int64_t slices = call.integer(0, 0);
  const std::optional<Value> fill = optional_argument(call, 1);
  ensure(slices != 0, "integer division or modulo by zero");
  call.budget.step(std::max<std::int64_t>(slices, 0));
  const auto size = static_cast<std::int64_t>(values.size());
  const std::int64_t each = floor_quotient(size, slices), longer = floor_modulo(size, slices);
  Values rows;
  auto place = values.begin();
  for (std::int64_t i = 0; i < slices; ++i) {
    const auto end = place + static_cast<std::ptrdiff_t>(each + (i < longer ? 1 : 0));
    Values row(place, end);
    place = end;
    if (fill && i >= longer) row.push_back(*fill);
    rows.push_back(Value::list(std::move(row)));
  }
  return Value::iterator(std::move(rows));
}

Value items(Call& call) {
  if (call.input.is_undefined()) return Value::iterator({});
  ensure(call.input.dict() != nullptr, "Can only get item pairs from a mapping.");
  call.budget.use_product(static_cast<std::int64_t>(call.input.dict()->items().size()), 128);
  Values pairs;
  for (const auto& [key, value] : call.input.dict()->items())
    pairs.push_back(Value::tuple({key, value}));
  return Value::iterator(std::move(pairs));
}

Value default_filter(Call& call) {
  const bool replaces = call.input.is_undefined() || (call.flag(1, false) && !truth(call.input));
  if (!replaces) return call.input;
  return call.given(0) ? call.argument(0) : Value::text("");
}

Value attribute_filter(Call& call) {
  const std::string& name = call.string(0);
  // Unlike a dot it does not look among a dict's keys.
  if (call.input.dict()) {
    bool forbidden = false;
    if (!find_method(call.input, name, forbidden) && !forbidden)
      return Value::undefined("'dict object' has no attribute '" + name + "'");
  }
  return attribute(call.input, name);
}

// ---- filters that take the name of another filter or test

std::string taken_name(Call& call, std::string_view what) {
  ensure(!call.positional.empty(), what);
  const Value name = call.positional.front();
  call.positional.erase(call.positional.begin());
  ensure(name.text() != nullptr, call.name, "(): expected a name, got '", type_name(name), "'");
  return name.text()->bytes;
}

Value map(Call& call) {
  Values out;
  if (!truth(call.input)) return Value::iterator({});
  if (call.positional.empty()) {
    std::optional<Value> attribute, fallback;
    for (const Keyword& keyword : call.keywords) {
      if (keyword.first == "attribute")
        attribute = keyword.second;
      else if (keyword.first == "default" && !keyword.second.is_none())
        fallback = keyword.second;
      else
        ensure(keyword.first == "default", "Unexpected keyword argument '", keyword.first, "'");
    }
    ensure(attribute.has_value(), "map requires a filter argument");
    const Getter get(attribute, fallback);
    for (Value& value : input_values(call)) out.push_back(get(std::move(value), call.budget));
    return Value::iterator(std::move(out));
  }
  const std::string name = taken_name(call, "map requires a filter argument");
  for (const Value& value : input_values(call))
    out.push_back(call.interpreter.apply_filter(name, value, call.positional, call.keywords));
  return Value::iterator(std::move(out));
}

template <bool wanted, bool of_attribute>
Value select(Call& call) {
  if (!truth(call.input)) return Value::iterator({});
  std::optional<Value> attribute;
  if (of_attribute) {
    ensure(!call.positional.empty(), "Missing parameter for attribute name");
    attribute = call.positional.front();
    call.positional.erase(call.positional.begin());
  }
  const Getter get(attribute);
  const bool tested = !call.positional.empty();
  const std::string test = tested ? taken_name(call, "") : "";
  Values out;
  for (Value& value : input_values(call)) {
    const Value asked = get(value, call.budget);
    const bool holds =
        tested ? call.interpreter.apply_test(test, asked, call.positional, call.keywords)
               : truth(asked);
    if (holds == wanted) out.push_back(std::move(value));
  }
  return Value::iterator(std::move(out));
}

constexpr Row sequence_filter_rows[] = {
    {"sort", 0, {"reverse", "case_sensitive", "attribute"}, sort},
    {"dictsort", 0, {"case_sensitive", "by", "reverse"}, dictsort},
    {"unique", 0, {"case_sensitive", "attribute"}, unique},
    {"min", 0, {"case_sensitive", "attribute"}, extreme<-1>},
    {"max", 0, {"case_sensitive", "attribute"}, extreme<1>},
    {"groupby", 1, {"attribute", "default", "case_sensitive"}, groupby},
    {"sum", 0, {"attribute", "start"}, sum_filter},
    {"join", 0, {"d", "attribute"}, join},
    {"first", 0, {}, first},
    {"last", 0, {}, last},
    {"length", 0, {}, length},
    {"count", 0, {}, length},
    {"list", 0, {}, [](Call& call) { return Value::list(input_values(call)); }},
    {"reverse", 0, {}, reverse},
    {"batch", 1, {"linecount", "fill_with"}, batch},
    {"slice", 1, {"slices", "fill_with"}, slice_filter},
    {"items", 0, {}, items},
    {"default", 0, {"default_value", "boolean"}, default_filter},
    {"d", 0, {"default_value", "boolean"}, default_filter},
    {"attr", 1, {"name"}, attribute_filter},
    {"map", -1, {}, map},
    {"select", -1, {}, select<true, false>},
    {"reject", -1, {}, select<false, false>},
    {"selectattr", -1, {}, select<true, true>},
    {"rejectattr", -1, {}, select<false, true>},
    {"random", 0, {}, nullptr},
};

}  // namespace

std::span<const Row> sequence_filters() { return sequence_filter_rows; }

const Row* find_filter(std::string_view name) {
  for (const std::span<const Row> table : {text_filters(), sequence_filters()}) {
    for (const Row& row : table) {
      if (row.name == name) return &row;
    }
  }
  return nullptr;
}

}  // namespace quaver::jinja
