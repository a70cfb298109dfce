#pragma once
// Calls, and the rows of the tables of filters, tests, methods and global functions.
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace quaver::jinja {

class Interpreter;

struct Call {
  Interpreter& interpreter;
  Budget& budget;
  std::string_view name;  // of the thing called, for messages
  Value input;            // what is filtered or tested; the receiver of a method
  std::vector<Value> positional;
  std::vector<Keyword> keywords;
  // By `bind`: the arguments in the order of the row's parameters.
  std::array<std::optional<Value>, 6> bound{};

  bool given(std::size_t i) const { return bound[i].has_value(); }
  const Value& argument(std::size_t i) const { return *bound[i]; }
  // The argument's value, or the fallback where it is missing. Throws when it is of another type.
  std::int64_t integer(std::size_t i, std::int64_t fallback) const;
  bool flag(std::size_t i, bool fallback) const;
  const std::string& string(std::size_t i) const;
  const std::string& input_text() const;  // throws unless the input is a string
};

struct Row {
  std::string_view name;
  int required;  // arguments that must be there; -1: the function looks at the call itself
  // What begins with / can only be given by its place.
  std::array<std::string_view, 6> parameters;
  Value (*run)(Call&);  // null: known to Jinja, refused by name here
};

// Binds the call's arguments to the row's parameters and runs it. Throws on missing, unknown and
// surplus arguments, and for a row without a function.
Value run(const Row& row, Call& call);

// Null: there is no such name.
const Row* find_filter(std::string_view name);
const Row* find_test(std::string_view name);
const Row* find_global(std::string_view name);
// The method of the value's type; `forbidden` is set when Python has an attribute of this name
// that templates may not use.
const Row* find_method(const Value& receiver, std::string_view name, bool& forbidden);

std::span<const Row> text_filters();
std::span<const Row> sequence_filters();
std::span<const Row> string_methods();

// A row as a value: a global function, or a method with its receiver.
Value bound_row(const Row& row, Value receiver);

// The object behind namespace(); null for other values.
struct Namespace;
Namespace* as_namespace(const Value& value);
void set_attribute(Namespace& space, const std::string& name, Value value);

// The date that strftime_now formats, and the formatting: the directives of C that need no locale.
std::string formatted_date(const std::string& format, const struct Date& date, Budget& budget);

}  // namespace quaver::jinja
