#include "text/jinja/interpreter.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "text/jinja/objects.h"
#include "text/jinja/operators.h"

namespace quaver::jinja {
namespace {

using Kind = Expression::Kind;

constexpr int deepest_call = 64;         // of macros, call blocks and recursive loops
constexpr int deepest_evaluation = 700;  // of the tree walk, all calls together

}  // namespace

// Counts the levels of the tree walk, so that no template can exhaust the stack.
struct Interpreter::Deeper {
  explicit Deeper(int& levels, int limit, std::string_view what) : levels_(levels) {
    if (levels_ >= limit) fail(Fault::resource, what, " nested deeper than ", limit, " levels");
    ++levels_;
  }
  ~Deeper() { --levels_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;
  int& levels_;
};

void Frame::set(std::string_view name, Value value) {
  for (auto& entry : names) {
    if (entry.first == name) {
      entry.second = std::move(value);
      return;
    }
  }
  names.emplace_back(name, std::move(value));
}

const Value* Frame::find(std::string_view name) const {
  for (const Frame* frame = this; frame; frame = frame->parent.get()) {
    for (const auto& entry : frame->names) {
      if (entry.first == name) return &entry.second;
    }
  }
  return nullptr;
}

Interpreter::~Interpreter() {
  for (const auto& frame : captured_) frame->names.clear();
  for (const auto& object : remembered_) object->clear();
}

void Interpreter::remember(std::shared_ptr<Object> object) {
  budget_.use(256);  // about what an object and its place take
  remembered_.push_back(std::move(object));
}

void Interpreter::capture(const FramePtr& frame) {
  budget_.use(256);
  captured_.push_back(frame);
}

std::string Interpreter::run(const Body& body) {
  const auto frame = std::make_shared<Frame>();
  return caught(body, frame);
}

void Interpreter::put(std::string_view text) {
  budget_.scan(static_cast<std::int64_t>(text.size()));
  if (static_cast<std::int64_t>(out_->size() + text.size()) > largest_output_)
    fail(Fault::resource, "the output is longer than ", largest_output_, " bytes");
  *out_ += text;
}

std::string Interpreter::caught(const Body& body, const FramePtr& frame) {
  std::string text;
  std::string* outer = std::exchange(out_, &text);
  try {
    execute(body, frame);
  } catch (...) {
    out_ = outer;
    throw;
  }
  out_ = outer;
  return text;
}

Interpreter::Flow Interpreter::execute(const Body& body, const FramePtr& frame) {
  const Deeper level(depth_, deepest_evaluation, "evaluation");
  for (const auto& statement : body) {
    const Flow flow = execute(*statement, frame);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::execute(const Statement& statement, const FramePtr& frame) {
  using S = Statement::Kind;
  budget_.step();
  line_ = statement.line;
  const auto inner = [&frame] {
    auto made = std::make_shared<Frame>();
    made->parent = frame;
    return made;
  };
  switch (statement.kind) {
    case S::text:
      put(statement.name);
      break;
    case S::output:
      for (const auto& expression : statement.expressions)
        put(to_text(evaluate(*expression, frame), budget_));
      break;
    case S::set:
      assign(*statement.targets[0], evaluate(*statement.expressions[0], frame), frame);
      break;
    case S::set_block: {
      Value text = Value::text(caught(statement.body, inner()));
      if (statement.expressions[0]) text = evaluate_filters(*statement.expressions[0], frame, text);
      assign(*statement.targets[0], std::move(text), frame);
      break;
    }
    case S::if_else:
      return execute_if(statement, frame);
    case S::for_loop:
      return execute_for(statement, frame);
    case S::break_loop:
      return Flow::broken;
    case S::continue_loop:
      return Flow::continued;
    case S::with:
      return execute_with(statement, frame);
    case S::macro:
      capture(frame);
      frame->set(statement.name,
                 Value(std::shared_ptr<Object>(std::make_shared<Macro>(statement, frame))));
      break;
    case S::call_block:
      execute_call_block(statement, frame);
      break;
    case S::filter_block: {
      const Value text = Value::text(caught(statement.body, inner()));
      put(to_text(evaluate_filters(*statement.expressions[0], frame, text), budget_));
      break;
    }
    case S::scope:
      put(caught(statement.body, inner()));
      break;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::execute_if(const Statement& statement, const FramePtr& frame) {
  for (const auto& branch : statement.branches) {
    if (truth(evaluate(*branch.condition, frame))) return execute(branch.body, frame);
  }
  return execute(statement.otherwise, frame);
}

Interpreter::Flow Interpreter::execute_with(const Statement& statement, const FramePtr& frame) {
  const auto inner = std::make_shared<Frame>();
  inner->parent = frame;
  for (std::size_t i = 0; i < statement.targets.size(); ++i)
    assign(*statement.targets[i], evaluate(*statement.expressions[i], frame), inner);
  return execute(statement.body, inner);
}

std::vector<Value> Interpreter::loop_values(const Statement& statement, const FramePtr& frame,
                                            const Value& values) {
  std::vector<Value> all = iterate(values, budget_);
  const Expression* condition = statement.expressions[1].get();
  if (!condition) return all;
  std::vector<Value> chosen;
  for (Value& value : all) {
    const auto inner = std::make_shared<Frame>();
    inner->parent = frame;
    assign(*statement.targets[0], value, inner);
    if (truth(evaluate(*condition, inner))) chosen.push_back(std::move(value));
  }
  return chosen;
}

void Interpreter::execute_loop(const Statement& statement, const FramePtr& frame,
                               const Value& values, int depth) {
  std::vector<Value> chosen = loop_values(statement, frame, values);
  if (chosen.empty()) {
    const auto inner = std::make_shared<Frame>();
    inner->parent = frame;
    execute(statement.otherwise, inner);
    return;
  }
  if (statement.recursive) capture(frame);
  const auto loop = std::make_shared<Loop>(statement, statement.recursive ? frame : nullptr,
                                           Value::list(std::move(chosen)), depth);
  const Value shown{std::shared_ptr<Object>(loop)};
  for (std::size_t i = 0; i < loop->values().size(); ++i) {
    budget_.step();
    loop->index = static_cast<std::int64_t>(i);
    const auto inner = std::make_shared<Frame>();
    inner->parent = frame;
    inner->set("loop", shown);
    assign(*statement.targets[0], loop->values()[i], inner);
    if (execute(statement.body, inner) == Flow::broken) break;
  }
}

Interpreter::Flow Interpreter::execute_for(const Statement& statement, const FramePtr& frame) {
  execute_loop(statement, frame, evaluate(*statement.expressions[0], frame), 1);
  return Flow::normal;
}

std::string Interpreter::call_loop(const Statement& loop, const FramePtr& outer,
                                   const Value& values, int depth) {
  const Deeper level(calls_, deepest_call, "calls");
  std::string text;
  std::string* caller_out = std::exchange(out_, &text);
  try {
    execute_loop(loop, outer, values, depth);
  } catch (...) {
    out_ = caller_out;
    throw;
  }
  out_ = caller_out;
  return text;
}

void Interpreter::execute_call_block(const Statement& statement, const FramePtr& frame) {
  capture(frame);
  const Expression& expression = *statement.expressions[0];
  const Value callee = evaluate(*expression.parts[0], frame);
  Given given = evaluate_arguments(expression.arguments, frame);
  given.keywords.emplace_back(
      "caller", Value(std::shared_ptr<Object>(std::make_shared<Macro>(statement, frame))));
  put(to_text(call(callee, std::move(given.positional), std::move(given.keywords)), budget_));
}

void Interpreter::bind_extra_arguments(const Statement& macro, Frame& frame, Call& call) {
  auto& keywords = call.keywords;
  const auto named = [&keywords](std::string_view name) {
    return std::find_if(keywords.begin(), keywords.end(),
                        [name](const Keyword& keyword) { return keyword.first == name; });
  };
  const auto& parameters = macro.parameters;
  if (macro.uses_caller &&
      std::find(parameters.begin(), parameters.end(), "caller") == parameters.end()) {
    const auto caller = named("caller");
    frame.set("caller",
              caller == keywords.end() ? Value::undefined("No caller defined") : caller->second);
    if (caller != keywords.end()) keywords.erase(caller);
  }
  if (macro.uses_kwargs) {
    Dict dict;
    for (const Keyword& keyword : keywords) dict.set(Value::text(keyword.first), keyword.second);
    frame.set("kwargs", make_dict(std::move(dict)));
  } else if (!keywords.empty()) {
    fail(Fault::bad_argument, "macro '", macro.name, "' takes no keyword argument '",
         keywords[0].first, "'");
  }
  const std::size_t taken = std::min(call.positional.size(), parameters.size());
  if (macro.uses_varargs) {
    frame.set("varargs", Value::tuple({call.positional.begin() + static_cast<std::ptrdiff_t>(taken),
                                       call.positional.end()}));
  } else {
    ensure(call.positional.size() <= parameters.size(), "macro '", macro.name,
           "' takes not more than ", parameters.size(), " argument(s)");
  }
}

Value Interpreter::call_macro(const Statement& macro, const FramePtr& outer, Call& call) {
  const Deeper level(calls_, deepest_call, "calls");
  const auto frame = std::make_shared<Frame>();
  frame->parent = outer;
  const std::size_t required = macro.parameters.size() - macro.defaults.size();
  auto& keywords = call.keywords;
  std::vector<std::size_t> defaulted;
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const std::string& name = macro.parameters[i];
    if (i < call.positional.size()) {
      frame->set(name, call.positional[i]);
      continue;
    }
    const auto place = std::find_if(keywords.begin(), keywords.end(),
                                    [&name](const Keyword& given) { return given.first == name; });
    if (place == keywords.end()) {
      defaulted.push_back(i);
      continue;
    }
    frame->set(name, place->second);
    keywords.erase(place);
  }
  bind_extra_arguments(macro, *frame, call);
  for (const std::size_t i : defaulted) {
    frame->set(macro.parameters[i],
               i < required
                   ? Value::undefined("parameter '" + macro.parameters[i] + "' was not provided")
                   : evaluate(*macro.defaults[i - required], frame));
  }
  const int line = line_;
  Value text = Value::text(caught(macro.body, frame));
  line_ = line;
  return text;
}

void Interpreter::assign(const Expression& target, Value value, const FramePtr& frame) {
  if (target.kind == Kind::name) {
    frame->set(target.name, std::move(value));
    return;
  }
  if (target.kind == Kind::space_name) {
    const Value holder = evaluate_name(target, frame);
    Namespace* space = as_namespace(holder);
    ensure(space != nullptr, "cannot assign attribute on non-namespace object");
    set_attribute(*space, target.operators[0], std::move(value));
    return;
  }
  require_defined(value);
  const std::vector<Value> values = iterate(value, budget_);
  ensure(values.size() >= target.parts.size(), "not enough values to unpack (expected ",
         target.parts.size(), ", got ", values.size(), ")");
  ensure(values.size() == target.parts.size(), "too many values to unpack (expected ",
         target.parts.size(), ")");
  for (std::size_t i = 0; i < values.size(); ++i) assign(*target.parts[i], values[i], frame);
}

Value Interpreter::call(const Value& callee, std::vector<Value> positional,
                        std::vector<Keyword> keywords) {
  require_defined(callee);
  Object* object = callee.object();
  ensure(object && object->callable(), "'", type_name(callee), "' object is not callable");
  Call made{*this, budget_, {}, Value(), std::move(positional), std::move(keywords)};
  return object->call(made);
}

Value Interpreter::apply_filter(const std::string& name, const Value& input,
                                std::vector<Value> positional, std::vector<Keyword> keywords) {
  budget_.step();
  const Row* row = find_filter(name);
  ensure(row != nullptr, "No filter named '", name, "'.");
  Call made{*this, budget_, row->name, input, std::move(positional), std::move(keywords)};
  return jinja::run(*row, made);
}

bool Interpreter::apply_test(const std::string& name, const Value& input,
                             std::vector<Value> positional, std::vector<Keyword> keywords) {
  budget_.step();
  const Row* row = find_test(name);
  ensure(row != nullptr, "No test named '", name, "'.");
  Call made{*this, budget_, row->name, input, std::move(positional), std::move(keywords)};
  return truth(jinja::run(*row, made));
}

// ---- expressions

Value Interpreter::evaluate(const Expression& expression, const FramePtr& frame) {
  const Deeper level(depth_, deepest_evaluation, "evaluation");
  budget_.step();
  line_ = expression.line;
  const auto part = [&](std::size_t i) { return evaluate(*expression.parts[i], frame); };
  switch (expression.kind) {
    case Kind::constant:
      return expression.value;
    case Kind::name:
      return evaluate_name(expression, frame);
    case Kind::list:
      return Value::list(evaluate_all(expression, frame));
    case Kind::tuple:
      return Value::tuple(evaluate_all(expression, frame));
    case Kind::dict:
      return evaluate_dict(expression, frame);
    case Kind::attribute:
      return attribute(part(0), expression.name);
    case Kind::item: {
      const Value from = part(0);
      return item(from, part(1), budget_);
    }
    case Kind::slice:
      return evaluate_slice(expression, frame);
    case Kind::call:
      return evaluate_call(expression, frame);
    case Kind::filter:
      return evaluate_filter(expression, frame, part(0));
    case Kind::test:
      return Value(evaluate_test(expression, frame));
    case Kind::arithmetic:
      return evaluate_arithmetic(expression, frame);
    case Kind::concatenate:
      return evaluate_concatenation(expression, frame);
    case Kind::compare:
      return Value(evaluate_compare(expression, frame));
    case Kind::both:
    case Kind::either: {
      const bool wanted = expression.kind == Kind::either;  // the truth that ends the search
      Value value = part(0);
      for (std::size_t i = 1; i < expression.parts.size() && truth(value) != wanted; ++i)
        value = part(i);
      return value;
    }
    case Kind::negation:
      return Value(!truth(part(0)));
    case Kind::sign:
      return negated(part(0), expression.operators[0] == "-");
    case Kind::condition:
      return evaluate_condition(expression, frame);
    case Kind::space_name:
      return evaluate_name(expression, frame);
  }
  fail(Fault::internal, "[chat template] an expression without a kind");
}

Value Interpreter::evaluate_name(const Expression& expression, const FramePtr& frame) {
  if (const Value* found = frame->find(expression.name)) return *found;
  if (const auto place = variables_.find(expression.name); place != variables_.end())
    return place->second;
  if (const Row* row = find_global(expression.name)) return bound_row(*row, Value());
  return Value::undefined("'" + expression.name + "' is undefined");
}

std::vector<Value> Interpreter::evaluate_all(const Expression& expression, const FramePtr& frame) {
  budget_.use_product(static_cast<std::int64_t>(expression.parts.size()), sizeof(Value));
  std::vector<Value> values;
  values.reserve(expression.parts.size());
  for (const auto& part : expression.parts) values.push_back(evaluate(*part, frame));
  return values;
}

Value Interpreter::evaluate_dict(const Expression& expression, const FramePtr& frame) {
  Dict dict;
  for (std::size_t i = 0; i < expression.parts.size(); i += 2) {
    const Value key = evaluate(*expression.parts[i], frame);
    dict.set(key, evaluate(*expression.parts[i + 1], frame));
  }
  budget_.use_product(static_cast<std::int64_t>(expression.parts.size()), 128);
  return make_dict(std::move(dict));
}

Value Interpreter::evaluate_slice(const Expression& expression, const FramePtr& frame) {
  const Value from = evaluate(*expression.parts[0], frame);
  const auto bound = [&](std::size_t i) -> std::optional<std::int64_t> {
    if (!expression.parts[i]) return std::nullopt;
    const Value value = evaluate(*expression.parts[i], frame);
    if (value.is_none()) return std::nullopt;
    ensure(value.is_integer(),
           "slice indices must be integers or None or have an __index__ method");
    return value.whole();
  };
  const SliceBounds bounds{bound(1), bound(2), bound(3)};
  return slice(from, bounds, budget_);
}

Interpreter::Given Interpreter::evaluate_arguments(const Arguments& arguments,
                                                   const FramePtr& frame) {
  Given given;
  for (const auto& part : arguments.positional) given.positional.push_back(evaluate(*part, frame));
  if (arguments.star) {
    for (Value& value : iterate(evaluate(*arguments.star, frame), budget_))
      given.positional.push_back(std::move(value));
  }
  for (const auto& [name, part] : arguments.keywords)
    given.keywords.emplace_back(name, evaluate(*part, frame));
  if (!arguments.star_star) return given;
  const Value more = evaluate(*arguments.star_star, frame);
  ensure(more.dict() != nullptr, "argument after ** must be a mapping, not ", type_name(more));
  for (const auto& [key, value] : more.dict()->items()) {
    ensure(key.text() != nullptr, "keywords must be strings");
    for (const Keyword& keyword : given.keywords)
      ensure(keyword.first != key.text()->bytes, "got multiple values for keyword argument '",
             keyword.first, "'");
    budget_.step(static_cast<std::int64_t>(given.keywords.size()));
    given.keywords.emplace_back(key.text()->bytes, value);
  }
  return given;
}

Value Interpreter::evaluate_call(const Expression& expression, const FramePtr& frame) {
  const Value callee = evaluate(*expression.parts[0], frame);
  Given given = evaluate_arguments(expression.arguments, frame);
  line_ = expression.line;
  return call(callee, std::move(given.positional), std::move(given.keywords));
}

Value Interpreter::evaluate_filter(const Expression& expression, const FramePtr& frame,
                                   const Value& input) {
  Given given = evaluate_arguments(expression.arguments, frame);
  line_ = expression.line;
  return apply_filter(expression.name, input, std::move(given.positional),
                      std::move(given.keywords));
}

// The filters of a block: the innermost has no operand of its own but the text.
Value Interpreter::evaluate_filters(const Expression& expression, const FramePtr& frame,
                                    const Value& text) {
  const Deeper level(depth_, deepest_evaluation, "evaluation");
  const Expression* inner = expression.parts[0].get();
  return evaluate_filter(expression, frame, inner ? evaluate_filters(*inner, frame, text) : text);
}

bool Interpreter::evaluate_test(const Expression& expression, const FramePtr& frame) {
  const Value input = evaluate(*expression.parts[0], frame);
  Given given = evaluate_arguments(expression.arguments, frame);
  line_ = expression.line;
  return apply_test(expression.name, input, std::move(given.positional), std::move(given.keywords));
}

Value Interpreter::evaluate_arithmetic(const Expression& expression, const FramePtr& frame) {
  Value value = evaluate(*expression.parts[0], frame);
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = evaluate(*expression.parts[i + 1], frame);
    value = arithmetic(expression.operators[i], value, right, budget_);
  }
  return value;
}

Value Interpreter::evaluate_concatenation(const Expression& expression, const FramePtr& frame) {
  std::string joined;
  for (const auto& part : expression.parts) {
    const std::string shown = to_text(evaluate(*part, frame), budget_);
    budget_.scan(static_cast<std::int64_t>(shown.size()));
    joined += shown;
  }
  budget_.use(static_cast<std::int64_t>(joined.size()));
  return Value::text(std::move(joined));
}

bool Interpreter::evaluate_compare(const Expression& expression, const FramePtr& frame) {
  Value left = evaluate(*expression.parts[0], frame);
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1], frame);
    const std::string& op = expression.operators[i];
    bool holds = false;
    if (op == "==" || op == "!=") {
      holds = equal(left, right) == (op == "==");
    } else if (op == "in" || op == "not in") {
      holds = contains(right, left, budget_) == (op == "in");
    } else {
      const int found = order(left, right, op);
      holds = op == "<"    ? found == -1
              : op == ">"  ? found == 1
              : op == "<=" ? found <= 0
                           : found == 0 || found == 1;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::evaluate_condition(const Expression& expression, const FramePtr& frame) {
  if (truth(evaluate(*expression.parts[0], frame))) return evaluate(*expression.parts[1], frame);
  if (expression.parts[2]) return evaluate(*expression.parts[2], frame);
  return Value::undefined(text("the inline if-expression on line ", expression.line,
                               " evaluated to false and no else section was defined."));
}

}  // namespace quaver::jinja
