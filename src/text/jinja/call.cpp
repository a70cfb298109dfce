#include "text/jinja/call.h"

#include "core/error.h"
#include "text/jinja/interpreter.h"

namespace quaver::jinja {
namespace {

struct BoundRow final : Object {
  const Row& row;
  Value receiver;
  BoundRow(const Row& bound, Value of) : row(bound), receiver(std::move(of)) {}
  int depth() const override { return receiver.depth(); }
  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string shown() const override {
    fail(Fault::unsupported, "printing the function '", row.name,
         "' (its text in Python is an address)");
  }
  bool callable() const override { return true; }
  Value call(Call& arguments) override {
    arguments.name = row.name;
    arguments.input = receiver;
    arguments.budget.step();
    return run(row, arguments);
  }
};

// The place of a parameter; -1: no such parameter.
int place_of(const Row& row, std::string_view name) {
  for (std::size_t i = 0; i < row.parameters.size(); ++i) {
    if (!row.parameters[i].empty() && row.parameters[i] == name) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

std::int64_t Call::integer(std::size_t i, std::int64_t fallback) const {
  if (!given(i)) return fallback;
  require_defined(argument(i));
  ensure(argument(i).is_integer(), name, "(): '", type_name(argument(i)),
         "' object cannot be interpreted as an integer");
  return argument(i).whole();
}

bool Call::flag(std::size_t i, bool fallback) const {
  return given(i) ? truth(argument(i)) : fallback;
}

const std::string& Call::string(std::size_t i) const {
  require_defined(argument(i));
  ensure(argument(i).text() != nullptr, name, "() argument ", i + 1, " must be str, not ",
         type_name(argument(i)));
  return argument(i).text()->bytes;
}

const std::string& Call::input_text() const {
  require_defined(input);
  ensure(input.text() != nullptr, name, "(): expected a string, got '", type_name(input), "'");
  return input.text()->bytes;
}

Value run(const Row& row, Call& call) {
  if (!row.run) fail(Fault::unsupported, "'", row.name, "' is not supported");
  if (row.required < 0) return row.run(call);
  std::size_t most = 0;
  while (most < row.parameters.size() && !row.parameters[most].empty()) ++most;
  ensure(call.positional.size() <= most, row.name, "() takes at most ", most, " arguments (",
         call.positional.size(), " given)");
  for (std::size_t i = 0; i < call.positional.size(); ++i) call.bound[i] = call.positional[i];
  for (const Keyword& keyword : call.keywords) {
    const int place = place_of(row, keyword.first);
    ensure(place >= 0, row.name, "() got an unexpected keyword argument '", keyword.first, "'");
    const auto at = static_cast<std::size_t>(place);
    ensure(!call.bound[at], row.name, "() got multiple values for argument '", keyword.first, "'");
    call.bound[at] = keyword.second;
  }
  for (int i = 0; i < row.required; ++i) {
    const auto at = static_cast<std::size_t>(i);
    ensure(call.given(at), row.name, "() missing required argument '", row.parameters[at], "'");
  }
  return row.run(call);
}

Value bound_row(const Row& row, Value receiver) {
  return Value(std::shared_ptr<Object>(std::make_shared<BoundRow>(row, std::move(receiver))));
}

}  // namespace quaver::jinja
