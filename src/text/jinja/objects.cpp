#include "text/jinja/objects.h"

#include "core/error.h"

namespace quaver::jinja {
namespace {

Loop& loop_of(Call& call) { return static_cast<Loop&>(*call.input.object()); }

Value loop_cycle(Call& call) {
  ensure(!call.positional.empty() && call.keywords.empty(), "no items for cycling given");
  const auto count = static_cast<std::int64_t>(call.positional.size());
  return call.positional[static_cast<std::size_t>(loop_of(call).index % count)];
}

Value loop_changed(Call& call) {
  Loop& loop = loop_of(call);
  Value given = Value::tuple(call.positional);
  if (loop.last_changed && equal(*loop.last_changed, given)) return Value(false);
  if (!loop.last_changed) call.interpreter.remember(loop.shared_from_this());
  loop.last_changed = std::move(given);
  return Value(true);
}

constexpr Row cycle_row{"cycle", -1, {}, loop_cycle};
constexpr Row changed_row{"changed", -1, {}, loop_changed};

struct LoopNumber {
  std::string_view name;
  Value (*value)(const Loop&, std::int64_t size);
};

constexpr LoopNumber loop_numbers[] = {
    {"index", [](const Loop& loop, std::int64_t) { return Value(loop.index + 1); }},
    {"index0", [](const Loop& loop, std::int64_t) { return Value(loop.index); }},
    {"revindex", [](const Loop& loop, std::int64_t size) { return Value(size - loop.index); }},
    {"revindex0", [](const Loop& loop, std::int64_t size) { return Value(size - loop.index - 1); }},
    {"first", [](const Loop& loop, std::int64_t) { return Value(loop.index == 0); }},
    {"last", [](const Loop& loop, std::int64_t size) { return Value(loop.index + 1 >= size); }},
    {"length", [](const Loop&, std::int64_t size) { return Value(size); }},
    {"depth",
     [](const Loop& loop, std::int64_t) { return Value(static_cast<std::int64_t>(loop.level)); }},
    {"depth0", [](const Loop& loop,
                  std::int64_t) { return Value(static_cast<std::int64_t>(loop.level - 1)); }},
};

}  // namespace

std::optional<Value> Namespace::attribute(std::string_view name) {
  const Value* found = attributes.find(name);
  return found ? std::optional<Value>(*found) : std::nullopt;
}

Namespace* as_namespace(const Value& value) { return dynamic_cast<Namespace*>(value.object()); }

void set_attribute(Namespace& space, const std::string& name, Value value) {
  ensure(!name.starts_with('_'),
         "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '",
         name, "'. Please rename the attribute.");
  space.attributes.set(Value::text(name), std::move(value));
}

std::string Macro::shown() const { return "<Macro '" + statement.name + "'>"; }

std::optional<Value> Macro::attribute(std::string_view name) {
  if (name == "name") return Value::text(statement.name);
  if (name == "caller") return Value(statement.uses_caller);
  if (name == "catch_kwargs") return Value(statement.uses_kwargs);
  if (name == "catch_varargs") return Value(statement.uses_varargs);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const std::string& parameter : statement.parameters) names.push_back(Value::text(parameter));
  return Value::tuple(std::move(names));
}

Value Macro::call(Call& arguments) {
  return arguments.interpreter.call_macro(statement, frame, arguments);
}

std::string Loop::shown() const {
  return text("<LoopContext ", index + 1, "/", values().size(), ">");
}

std::optional<Value> Loop::attribute(std::string_view name) {
  const auto size = static_cast<std::int64_t>(values().size());
  for (const LoopNumber& number : loop_numbers) {
    if (number.name == name) return number.value(*this, size);
  }
  const auto at = static_cast<std::size_t>(index);
  if (name == "previtem")
    return index > 0 ? values()[at - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < size ? values()[at + 1] : Value::undefined("there is no next item");
  if (name == "cycle")
    return bound_row(cycle_row, Value(std::shared_ptr<Object>(shared_from_this())));
  if (name == "changed")
    return bound_row(changed_row, Value(std::shared_ptr<Object>(shared_from_this())));
  return std::nullopt;
}

Value Loop::call(Call& arguments) {
  ensure(statement.recursive,
         "The loop must have the 'recursive' marker to be called recursively.");
  ensure(arguments.positional.size() == 1 && arguments.keywords.empty(),
         "a recursive loop takes one argument");
  return Value::text(
      arguments.interpreter.call_loop(statement, outer, arguments.positional[0], level + 1));
}

}  // namespace quaver::jinja
