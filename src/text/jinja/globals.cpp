// The functions that every template sees: Jinja's, and those transformers adds.
#include <array>
#include <string>

#include "core/error.h"
#include "text/jinja/call.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/objects.h"
#include "text/jinja/operators.h"

namespace quaver::jinja {
namespace {

constexpr std::int64_t longest_range = 100'000;

Value range(Call& call) {
  ensure(call.keywords.empty(), "range() takes no keyword arguments");
  ensure(!call.positional.empty() && call.positional.size() <= 3,
         "range expected 1 to 3 arguments, got ", call.positional.size());
  std::array<std::int64_t, 3> numbers{0, 0, 1};
  for (std::size_t i = 0; i < call.positional.size(); ++i) {
    require_defined(call.positional[i]);
    ensure(call.positional[i].is_integer(), "'", type_name(call.positional[i]),
           "' object cannot be interpreted as an integer");
    numbers[i] = call.positional[i].whole();
  }
  if (call.positional.size() == 1) numbers = {0, numbers[0], 1};
  const Range made{numbers[0], numbers[1], numbers[2]};
  ensure(made.step != 0, "range() arg 3 must not be zero");
  if (made.size() > longest_range)
    fail(Fault::resource, "Range too big. Templates may not have ranges larger than ",
         longest_range);
  return Value(std::make_shared<const Range>(made));
}

// dict(pairs or mapping, key=value ...)
Dict dict_of(Call& call) {
  ensure(call.positional.size() <= 1, "dict expected at most 1 argument, got ",
         call.positional.size());
  Dict made;
  if (call.positional.size() == 1) {
    const Value& from = call.positional[0];
    if (from.dict()) {
      made = *from.dict();
      call.budget.use_product(static_cast<std::int64_t>(made.items().size()), 128);
    } else {
      for (const Value& pair : iterate(from, call.budget)) {
        const std::vector<Value> both = iterate(pair, call.budget);
        ensure(both.size() == 2, "dictionary update sequence element has length ", both.size(),
               "; 2 is required");
        made.set(both[0], both[1]);
      }
    }
  }
  for (const Keyword& keyword : call.keywords) made.set(Value::text(keyword.first), keyword.second);
  return made;
}

Value make_namespace(Call& call) {
  const Dict given = dict_of(call);
  const auto space = std::make_shared<Namespace>();
  for (const auto& [key, value] : given.items()) {
    ensure(key.text() != nullptr, "a namespace has names for keys, not ", type_name(key));
    set_attribute(*space, key.text()->bytes, value);
  }
  call.interpreter.remember(space);
  return Value(std::shared_ptr<Object>(space));
}

Value raise_exception(Call& call) {
  fail(Fault::bad_argument, to_text(call.argument(0), call.budget));
}

Value strftime_now(Call& call) {
  return Value::text(formatted_date(call.string(0), call.interpreter.date(), call.budget));
}

struct Cycler final : Object {
  Value items;  // a tuple
  std::size_t place = 0;
  explicit Cycler(Value all) : items(std::move(all)) {}
  int depth() const override { return items.depth(); }
  std::string type_name() const override { return "Cycler"; }
  const Value& current() const { return items.sequence()->values[place]; }
  std::optional<Value> attribute(std::string_view name) override;
};

Value cycler_next(Call& call) {
  auto& cycler = static_cast<Cycler&>(*call.input.object());
  Value current = cycler.current();
  cycler.place = (cycler.place + 1) % cycler.items.sequence()->values.size();
  return current;
}

Value cycler_reset(Call& call) {
  static_cast<Cycler&>(*call.input.object()).place = 0;
  return Value();
}

// next and reset need the cycler itself as receiver, which an attribute cannot name; find_method
// asks for them here.
constexpr Row cycler_rows[] = {{"next", 0, {}, cycler_next}, {"reset", 0, {}, cycler_reset}};

std::optional<Value> Cycler::attribute(std::string_view name) {
  return name == "current" ? std::optional<Value>(current()) : std::nullopt;
}

Value make_cycler(Call& call) {
  ensure(!call.positional.empty(), "at least one item has to be provided");
  ensure(call.keywords.empty(), "cycler() takes no keyword arguments");
  return Value(std::shared_ptr<Object>(std::make_shared<Cycler>(Value::tuple(call.positional))));
}

struct Joiner final : Object {
  std::string separator;
  bool used = false;
  explicit Joiner(std::string between) : separator(std::move(between)) {}
  std::string type_name() const override { return "Joiner"; }
  bool callable() const override { return true; }
  Value call(Call&) override {
    if (std::exchange(used, true)) return Value::text(separator);
    return Value::text("");
  }
};

Value make_joiner(Call& call) {
  return Value(
      std::shared_ptr<Object>(std::make_shared<Joiner>(call.given(0) ? call.string(0) : ", ")));
}

constexpr Row global_rows[] = {
    {"range", -1, {}, range},
    {"dict", -1, {}, [](Call& call) { return make_dict(dict_of(call)); }},
    {"namespace", -1, {}, make_namespace},
    {"raise_exception", 1, {"message"}, raise_exception},
    {"strftime_now", 1, {"format"}, strftime_now},
    {"cycler", -1, {}, make_cycler},
    {"joiner", 0, {"sep"}, make_joiner},
    {"lipsum", 0, {}, nullptr},  // random text
};

}  // namespace

const Row* find_global(std::string_view name) {
  for (const Row& row : global_rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

const Row* find_cycler_method(const Value& receiver, std::string_view name) {
  if (!dynamic_cast<Cycler*>(receiver.object())) return nullptr;
  for (const Row& row : cycler_rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::string formatted_date(const std::string& format, const Date& date, Budget& budget) {
  static constexpr std::string_view known = "aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyY%";
  static constexpr std::string_view numeric = "CdegGHIjmMSUuVwWyY";
  budget.use(static_cast<std::int64_t>(format.size()) * 4);
  std::string out;
  for (std::size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out += format[at];
      continue;
    }
    const bool bare = at + 1 < format.size() && format[at + 1] == '-';  // without leading zeros
    if (bare) ++at;
    const char letter = ++at < format.size() ? format[at] : '\0';
    if (known.find(letter) == std::string_view::npos || letter == '\0' ||
        (bare && numeric.find(letter) == std::string_view::npos))
      fail(Fault::unsupported, "strftime_now: the directive '%", bare ? "-" : "",
           letter ? std::string(1, letter) : std::string(), "'");
    const std::string directive = std::string("%") + (bare ? "-" : "") + letter;
    char buffer[128];
    out.append(buffer, std::strftime(buffer, sizeof buffer, directive.c_str(), &date.parts));
  }
  return out;
}

}  // namespace quaver::jinja
