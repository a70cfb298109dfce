#pragma once
// The tree of a template.
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/call.h"
#include "text/jinja/value.h"

namespace quaver::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Arguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr star, star_star;
};

struct Expression {
  enum class Kind {
    constant,     // value
    name,         // name
    list,         // parts
    tuple,        // parts
    dict,         // parts: key, value, key, value ...
    attribute,    // parts[0].name
    item,         // parts[0][parts[1]]
    slice,        // parts[0][parts[1]:parts[2]:parts[3]], null where left out
    call,         // parts[0](arguments)
    filter,       // parts[0]|name(arguments); parts[0] null: of the block's text
    test,         // parts[0] is name(arguments)
    arithmetic,   // parts[0] operators[0] parts[1] operators[1] ..., from left to right
    concatenate,  // parts joined by ~
    compare,      // parts[0] operators[0] parts[1] ..., chained
    both,         // and
    either,       // or
    negation,     // not parts[0]
    sign,         // -parts[0] or +parts[0]: operators[0]
    condition,    // parts[1] if parts[0] else parts[2], the last null where left out
    space_name    // name.operators[0], as the target of a set
  };
  Kind kind;
  int line = 0;
  int depth = 1;  // of the tree below
  std::string name;
  Value value;
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> operators;
  Arguments arguments;
  const Row* row = nullptr;  // of a filter or test; null: refused when it is run
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind {
    text,       // name, as it stands
    output,     // expressions, printed
    set,        // target = expressions[0]
    set_block,  // target = body, through expressions[0] (filters) if there
    if_else,    // branches, then otherwise
    for_loop,   // for target in expressions[0] if expressions[1]: body, otherwise
    break_loop,
    continue_loop,
    with,          // targets = expressions: body
    macro,         // name(parameters): body
    call_block,    // {% call(parameters) expressions[0] %} body
    filter_block,  // expressions[0] over body
    scope          // body with names of its own ({% generation %})
  };
  struct Branch {
    ExpressionPtr condition;
    Body body;
  };
  Kind kind;
  int line = 0;
  std::string name;
  std::vector<ExpressionPtr> targets;
  std::vector<ExpressionPtr> expressions;
  std::vector<Branch> branches;
  Body body, otherwise;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  bool recursive = false;
  // Whether a macro's body speaks of these: only then does it take more arguments.
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

// Throws Error with a message that begins "line N: ".
Body parse(std::string_view source);

}  // namespace quaver::jinja
