// Jinja's tests: {{ value is name(arguments) }}.
#include <cmath>

#include "core/error.h"
#include "text/jinja/call.h"
#include "text/jinja/operators.h"
#include "text/jinja/strings.h"

namespace quaver::jinja {
namespace {

Value answer(bool holds) { return Value(holds); }

std::string input_text(Call& call) { return to_text(call.input, call.budget); }

Value remainder(Call& call, const Value& divisor) {
  return arithmetic("%", call.input, divisor, call.budget);
}

bool is_callable(const Value& value) {
  return value.object() ? value.object()->callable() : value.is_undefined();
}

bool same(const Value& a, const Value& b) {
  if (type_name(a) != type_name(b)) return false;
  return a.identity() ? a.identity() == b.identity() || (a.text() && equal(a, b)) : equal(a, b);
}

constexpr Row test_rows[] = {
    {"odd",
     0,
     {},
     [](Call& call) {
       return answer(equal(remainder(call, Value::integer(2)), Value::integer(1)));
     }},
    {"even",
     0,
     {},
     [](Call& call) {
       return answer(equal(remainder(call, Value::integer(2)), Value::integer(0)));
     }},
    {"divisibleby",
     1,
     {"num"},
     [](Call& call) {
       return answer(equal(remainder(call, call.argument(0)), Value::integer(0)));
     }},
    {"defined", 0, {}, [](Call& call) { return answer(!call.input.is_undefined()); }},
    {"undefined", 0, {}, [](Call& call) { return answer(call.input.is_undefined()); }},
    {"none", 0, {}, [](Call& call) { return answer(call.input.is_none()); }},
    {"boolean", 0, {}, [](Call& call) { return answer(call.input.as<bool>() != nullptr); }},
    {"true",
     0,
     {},
     [](Call& call) { return answer(call.input.as<bool>() && *call.input.as<bool>()); }},
    {"false",
     0,
     {},
     [](Call& call) { return answer(call.input.as<bool>() && !*call.input.as<bool>()); }},
    {"integer", 0, {}, [](Call& call) { return answer(call.input.as<std::int64_t>() != nullptr); }},
    {"float", 0, {}, [](Call& call) { return answer(call.input.as<double>() != nullptr); }},
    {"number", 0, {}, [](Call& call) { return answer(call.input.is_number()); }},
    {"string", 0, {}, [](Call& call) { return answer(call.input.text() != nullptr); }},
    {"mapping", 0, {}, [](Call& call) { return answer(call.input.dict() != nullptr); }},
    {"sequence",
     0,
     {},
     [](Call& call) {
       const Sequence* sequence = call.input.sequence();
       const bool indexed = sequence && (sequence->form == Sequence::Form::list ||
                                         sequence->form == Sequence::Form::tuple ||
                                         sequence->form == Sequence::Form::group);
       return answer(indexed || call.input.text() || call.input.dict() || call.input.range() ||
                     call.input.is_undefined());
     }},
    {"iterable", 0, {}, [](Call& call) { return answer(is_iterable(call.input)); }},
    {"callable", 0, {}, [](Call& call) { return answer(is_callable(call.input)); }},
    {"escaped",
     0,
     {},
     [](Call& call) { return answer(call.input.text() && call.input.text()->markup); }},
    {"sameas", 1, {"other"}, [](Call& call) { return answer(same(call.input, call.argument(0))); }},
    {"lower", 0, {}, [](Call& call) { return answer(is_lower_text(input_text(call))); }},
    {"upper", 0, {}, [](Call& call) { return answer(is_upper_text(input_text(call))); }},
    {"filter",
     0,
     {},
     [](Call& call) {
       const Row* row = call.input.text() ? find_filter(call.input.text()->bytes) : nullptr;
       return answer(row != nullptr);
     }},
    {"test",
     0,
     {},
     [](Call& call) {
       const Row* row = call.input.text() ? find_test(call.input.text()->bytes) : nullptr;
       return answer(row != nullptr);
     }},
    {"in",
     1,
     {"seq"},
     [](Call& call) { return answer(contains(call.argument(0), call.input, call.budget)); }},
    {"eq", 1, {"other"}, [](Call& call) { return answer(equal(call.input, call.argument(0))); }},
    {"ne", 1, {"other"}, [](Call& call) { return answer(!equal(call.input, call.argument(0))); }},
    {"lt",
     1,
     {"other"},
     [](Call& call) { return answer(order(call.input, call.argument(0), "<") == -1); }},
    {"gt",
     1,
     {"other"},
     [](Call& call) { return answer(order(call.input, call.argument(0), ">") == 1); }},
    {"le",
     1,
     {"other"},
     [](Call& call) { return answer(order(call.input, call.argument(0), "<=") <= 0); }},
    {"ge",
     1,
     {"other"},
     [](Call& call) {
       const int found = order(call.input, call.argument(0), ">=");
       return answer(found == 0 || found == 1);
     }},
};

// Other names of the same rows.
struct Alias {
  std::string_view name, row;
};
constexpr Alias aliases[] = {{"==", "eq"},          {"equalto", "eq"},  {"!=", "ne"},
                             {"<", "lt"},           {"lessthan", "lt"}, {">", "gt"},
                             {"greaterthan", "gt"}, {"<=", "le"},       {">=", "ge"}};

}  // namespace

const Row* find_test(std::string_view name) {
  for (const Alias& alias : aliases) {
    if (alias.name == name) name = alias.row;
  }
  for (const Row& row : test_rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace quaver::jinja
