#pragma once
// Reads a template's tokens and the expressions among them, by the grammar of jinja2/parser.py.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace quaver::jinja {

constexpr int deepest_nesting = 64;  // of statements and brackets in the template
constexpr int deepest_tree = 200;    // of an expression, chains of filters and attributes included

class ExpressionParser {
  using Kind = Expression::Kind;

 public:
  explicit ExpressionParser(std::string_view source) : tokens_(tokenize(source)) {}

  void enter_condition() { ++conditions_; }
  void leave_condition() { --conditions_; }
  // Whose body is read from now on; returns whose it was.
  Statement* enter_macro(Statement* macro) { return std::exchange(macro_, macro); }

  struct Level {
    explicit Level(ExpressionParser& parser) : parser_(parser) {
      if (++parser.nesting_ > deepest_nesting)
        parser.refuse("nested deeper than ", deepest_nesting, " levels");
    }
    ~Level() { --parser_.nesting_; }
    ExpressionParser& parser_;
  };

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Fault::bad_file, "line ", current().line, ": ", parts...);
  }

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool skip_op(std::string_view op) {
    const bool there = current().is_op(op);
    if (there) next();
    return there;
  }
  bool skip_name(std::string_view name) {
    const bool there = current().is_name(name);
    if (there) next();
    return there;
  }

  std::string shown() const {
    switch (current().kind) {
      case Token::Kind::data:
        return "template text";
      case Token::Kind::variable_begin:
        return "begin of print statement";
      case Token::Kind::variable_end:
        return "end of print statement";
      case Token::Kind::block_begin:
        return "begin of statement block";
      case Token::Kind::block_end:
        return "end of statement block";
      case Token::Kind::end:
        return "end of template";
      case Token::Kind::integer:
        return "integer";
      case Token::Kind::real:
        return "float";
      default:
        return current().text;
    }
  }

  void expect_op(std::string_view op) {
    if (!skip_op(op)) refuse("expected token '", op, "', got '", shown(), "'");
  }
  void expect(Token::Kind kind, std::string_view what) {
    if (current().kind != kind) refuse("expected token '", what, "', got '", shown(), "'");
    next();
  }
  std::string expect_name() {
    if (current().kind != Token::Kind::name) refuse("expected token 'name', got '", shown(), "'");
    std::string name = current().text;
    next();
    return name;
  }

  ExpressionPtr make(Kind kind, int line) const {
    auto made = std::make_unique<Expression>();
    made->kind = kind;
    made->line = line;
    return made;
  }

  // To be called when all that stands below a node is there.
  ExpressionPtr sealed(ExpressionPtr node) const {
    int depth = 0;
    const auto look = [&depth](const ExpressionPtr& part) {
      if (part) depth = std::max(depth, part->depth);
    };
    for (const auto& part : node->parts) look(part);
    for (const auto& part : node->arguments.positional) look(part);
    for (const auto& part : node->arguments.keywords) look(part.second);
    look(node->arguments.star);
    look(node->arguments.star_star);
    node->depth = depth + 1;
    if (node->depth > deepest_tree)
      refuse("an expression is deeper than ", deepest_tree, " levels");
    return node;
  }

  template <class... Nodes>
  ExpressionPtr node(Kind kind, int line, Nodes... nodes) const {
    auto made = make(kind, line);
    (made->parts.push_back(std::move(nodes)), ...);
    return sealed(std::move(made));
  }

  ExpressionPtr constant(Value value, int line) const {
    auto made = make(Kind::constant, line);
    made->value = std::move(value);
    return made;
  }

  ExpressionPtr parse_expression() {
    const Level level(*this);
    return parse_condition();
  }

  ExpressionPtr parse_condition() {
    const Level level(*this);
    ++soft_;  // see resolve(); whether an `if` follows shows only later
    const int line = current().line;
    const std::size_t begin = pending_.size();
    ExpressionPtr value = parse_either();
    --soft_;
    const bool conditional = current().is_name("if");
    settle(begin, conditional);
    while (skip_name("if")) {
      ++soft_;
      ExpressionPtr condition = parse_either();
      ExpressionPtr otherwise;
      if (skip_name("else")) otherwise = parse_condition();
      --soft_;
      settle(begin, true);
      value =
          node(Kind::condition, line, std::move(condition), std::move(value), std::move(otherwise));
    }
    return value;
  }

  ExpressionPtr parse_either() {
    const int line = current().line;
    ExpressionPtr left = parse_both();
    if (!current().is_name("or")) return left;
    auto made = node(Kind::either, line, std::move(left));
    while (skip_name("or")) made->parts.push_back(parse_both());
    return sealed(std::move(made));
  }

  ExpressionPtr parse_both() {
    const int line = current().line;
    ExpressionPtr left = parse_negation();
    if (!current().is_name("and")) return left;
    auto made = node(Kind::both, line, std::move(left));
    while (skip_name("and")) made->parts.push_back(parse_negation());
    return sealed(std::move(made));
  }

  ExpressionPtr parse_negation() {
    const int line = current().line;
    if (!skip_name("not")) return parse_compare();
    const Level level(*this);
    return node(Kind::negation, line, parse_negation());
  }

  std::string compare_operator() {
    static constexpr std::array<std::string_view, 6> operators = {"==", "!=", "<", "<=", ">", ">="};
    for (const std::string_view op : operators) {
      if (skip_op(op)) return std::string(op);
    }
    if (skip_name("in")) return "in";
    if (current().is_name("not") && ahead().is_name("in")) {
      next();
      next();
      return "not in";
    }
    return "";
  }

  ExpressionPtr parse_compare() {
    const int line = current().line;
    ExpressionPtr left = parse_sum();
    std::string op = compare_operator();
    if (op.empty()) return left;
    auto made = node(Kind::compare, line, std::move(left));
    for (; !op.empty(); op = compare_operator()) {
      made->operators.push_back(op);
      made->parts.push_back(parse_sum());
    }
    return sealed(std::move(made));
  }

  // operand (op operand)*, of operators of one rank
  template <class Operand>
  ExpressionPtr parse_chain(std::initializer_list<std::string_view> operators, Operand operand) {
    const int line = current().line;
    ExpressionPtr left = operand();
    const auto at_operator = [&] {
      return std::any_of(operators.begin(), operators.end(),
                         [this](std::string_view op) { return current().is_op(op); });
    };
    if (!at_operator()) return left;
    auto made = node(Kind::arithmetic, line, std::move(left));
    while (at_operator()) {
      made->operators.push_back(current().text);
      next();
      made->parts.push_back(operand());
    }
    return sealed(std::move(made));
  }

  ExpressionPtr parse_sum() {
    return parse_chain({"+", "-"}, [this] { return parse_concatenation(); });
  }

  ExpressionPtr parse_concatenation() {
    const int line = current().line;
    ExpressionPtr left = parse_product();
    if (!current().is_op("~")) return left;
    auto made = node(Kind::concatenate, line, std::move(left));
    while (skip_op("~")) made->parts.push_back(parse_product());
    return sealed(std::move(made));
  }

  ExpressionPtr parse_product() {
    return parse_chain({"*", "/", "//", "%"}, [this] {
      return parse_chain({"**"}, [this] { return parse_unary(true); });
    });
  }

  ExpressionPtr parse_unary(bool with_filter) {
    const int line = current().line;
    ExpressionPtr value;
    if (current().is_op("-") || current().is_op("+")) {
      const Level level(*this);
      const std::string op = current().text;
      next();
      value = node(Kind::sign, line, parse_unary(false));
      value->operators.push_back(op);
    } else {
      value = parse_primary();
    }
    value = parse_postfix(std::move(value));
    return with_filter ? parse_filters_and_tests(std::move(value)) : std::move(value);
  }

  ExpressionPtr parse_name() {
    const Token token = current();
    next();
    const std::string& name = token.text;
    if (name == "true" || name == "True") return constant(Value(true), token.line);
    if (name == "false" || name == "False") return constant(Value(false), token.line);
    if (name == "none" || name == "None") return constant(Value(), token.line);
    if (macro_) {
      macro_->uses_caller |= name == "caller";
      macro_->uses_varargs |= name == "varargs";
      macro_->uses_kwargs |= name == "kwargs";
    }
    auto made = make(Kind::name, token.line);
    made->name = name;
    return made;
  }

  ExpressionPtr parse_primary() {
    const int line = current().line;
    switch (current().kind) {
      case Token::Kind::name:
        return parse_name();
      case Token::Kind::string: {
        std::string text;
        for (; current().kind == Token::Kind::string; next()) text += current().text;
        return constant(Value::text(std::move(text)), line);
      }
      case Token::Kind::integer: {
        const std::int64_t value = current().integer;
        next();
        return constant(Value(value), line);
      }
      case Token::Kind::real: {
        const double value = current().real;
        next();
        return constant(Value(value), line);
      }
      default:
        break;
    }
    if (skip_op("(")) {
      ExpressionPtr inner = parse_tuple(true, true, {});
      expect_op(")");
      return inner;
    }
    if (skip_op("[")) return parse_list(line);
    if (skip_op("{")) return parse_dict(line);
    refuse("unexpected '", shown(), "'");
  }

  // One expression, or several with commas between them: a tuple. `end` is a name that ends it.
  ExpressionPtr parse_tuple(bool conditions, bool in_brackets, std::string_view end) {
    const Level level(*this);
    const int line = current().line;
    auto made = make(Kind::tuple, line);
    bool tuple = false;
    for (;;) {
      if (!made->parts.empty()) expect_op(",");
      const auto kind = current().kind;
      if (kind == Token::Kind::variable_end || kind == Token::Kind::block_end ||
          current().is_op(")") || (!end.empty() && current().is_name(end)))
        break;
      made->parts.push_back(conditions ? parse_expression() : parse_either());
      if (!current().is_op(",")) break;
      tuple = true;
    }
    if (!tuple && !made->parts.empty()) return std::move(made->parts[0]);
    if (!tuple && !in_brackets) refuse("Expected an expression, got '", shown(), "'");
    return sealed(std::move(made));
  }

  ExpressionPtr parse_list(int line) {
    auto made = make(Kind::list, line);
    while (!current().is_op("]")) {
      if (!made->parts.empty()) expect_op(",");
      if (current().is_op("]")) break;
      made->parts.push_back(parse_expression());
    }
    next();
    return sealed(std::move(made));
  }

  ExpressionPtr parse_dict(int line) {
    auto made = make(Kind::dict, line);
    while (!current().is_op("}")) {
      if (!made->parts.empty()) expect_op(",");
      if (current().is_op("}")) break;
      made->parts.push_back(parse_expression());
      expect_op(":");
      made->parts.push_back(parse_expression());
    }
    next();
    return sealed(std::move(made));
  }

  ExpressionPtr parse_postfix(ExpressionPtr value) {
    for (;;) {
      if (current().is_op("."))
        value = parse_attribute(std::move(value));
      else if (current().is_op("["))
        value = parse_subscript(std::move(value));
      else if (current().is_op("("))
        value = parse_call(std::move(value));
      else
        return value;
    }
  }

  ExpressionPtr parse_attribute(ExpressionPtr value) {
    const int line = current().line;
    next();
    if (current().kind == Token::Kind::integer) {
      auto index = constant(Value(current().integer), line);
      next();
      return node(Kind::item, line, std::move(value), std::move(index));
    }
    if (current().kind != Token::Kind::name) refuse("expected name or number");
    auto made = node(Kind::attribute, line, std::move(value));
    made->name = current().text;
    next();
    return made;
  }

  ExpressionPtr parse_subscript(ExpressionPtr value) {
    const int line = current().line;
    next();
    std::vector<ExpressionPtr> keys;
    bool sliced = false;
    auto slice = make(Kind::slice, line);
    while (!current().is_op("]")) {
      if (!keys.empty()) expect_op(",");
      ExpressionPtr first;
      if (!current().is_op(":")) first = parse_expression();
      if (current().is_op(":")) {
        sliced = true;
        parse_slice(*slice, std::move(first));
      } else {
        keys.push_back(std::move(first));
      }
      if (sliced && (!keys.empty() || !current().is_op("]")))
        refuse("a slice next to another subscript is not supported");
    }
    next();
    if (sliced) {
      slice->parts[0] = std::move(value);
      return sealed(std::move(slice));
    }
    if (keys.size() == 1) return node(Kind::item, line, std::move(value), std::move(keys[0]));
    auto tuple = make(Kind::tuple, line);
    tuple->parts = std::move(keys);
    return node(Kind::item, line, std::move(value), sealed(std::move(tuple)));
  }

  // What follows the first bound, which is null where it is left out.
  void parse_slice(Expression& slice, ExpressionPtr first) {
    slice.parts.resize(4);
    slice.parts[1] = std::move(first);
    const auto bound_ends = [this] { return current().is_op("]") || current().is_op(","); };
    next();
    if (!current().is_op(":") && !bound_ends()) slice.parts[2] = parse_expression();
    if (skip_op(":") && !bound_ends()) slice.parts[3] = parse_expression();
  }

  Arguments parse_arguments() {
    expect_op("(");
    Arguments given;
    bool first = true;
    const auto demand = [this](bool ok) {
      if (!ok) refuse("invalid syntax for function call expression");
    };
    while (!current().is_op(")")) {
      if (!first) {
        expect_op(",");
        if (current().is_op(")")) break;
      }
      first = false;
      if (skip_op("*")) {
        demand(!given.star && !given.star_star);
        given.star = parse_expression();
      } else if (skip_op("**")) {
        demand(!given.star_star);
        given.star_star = parse_expression();
      } else if (current().kind == Token::Kind::name && ahead().is_op("=")) {
        demand(!given.star_star);
        std::string name = expect_name();
        for (const auto& keyword : given.keywords) {
          if (keyword.first == name) refuse("keyword argument repeated: ", name);
        }
        next();
        given.keywords.emplace_back(std::move(name), parse_expression());
      } else {
        demand(!given.star && !given.star_star && given.keywords.empty());
        given.positional.push_back(parse_expression());
      }
    }
    next();
    return given;
  }

  ExpressionPtr parse_call(ExpressionPtr callee) {
    auto made = make(Kind::call, current().line);
    made->parts.push_back(std::move(callee));
    made->arguments = parse_arguments();
    return sealed(std::move(made));
  }

  ExpressionPtr parse_filters_and_tests(ExpressionPtr value) {
    for (;;) {
      if (skip_op("|"))
        value = parse_filter(std::move(value));
      else if (current().is_name("is"))
        value = parse_test(std::move(value));
      else if (current().is_op("("))
        value = parse_call(std::move(value));
      else
        return value;
    }
  }

  std::string dotted_name() {
    std::string name = expect_name();
    while (skip_op(".")) name += "." + expect_name();
    return name;
  }

  // An unknown filter or test is an error of the template, but one below a condition only when it
  // is run, so that templates can ask first. What stands before an inline `if` is settled when the
  // `if` is seen.
  void resolve(Expression& made, const Row* row, std::string_view what) {
    made.row = row;
    if (row && row->run) return;
    const std::string reason = row ? text(what, " '", made.name, "' is not supported")
                                   : text("No ", what, " named '", made.name, "'.");
    if (conditions_ > 0) return;
    if (soft_ > 0)
      pending_.push_back(text("line ", made.line, ": ", reason));
    else
      refuse(reason);
  }

  void settle(std::size_t begin, bool conditional) {
    if (conditional)
      pending_.resize(begin);
    else if (soft_ == 0 && pending_.size() > begin)
      fail(Fault::unsupported, pending_[begin]);
  }

  ExpressionPtr parse_filter(ExpressionPtr value) {
    auto made = make(Kind::filter, current().line);
    made->name = dotted_name();
    made->parts.push_back(std::move(value));
    if (current().is_op("(")) made->arguments = parse_arguments();
    resolve(*made, find_filter(made->name), "filter");
    return sealed(std::move(made));
  }

  bool at_test_argument() const {
    const Token& token = current();
    if (token.kind == Token::Kind::name)
      return !token.is_name("else") && !token.is_name("or") && !token.is_name("and");
    return token.kind == Token::Kind::string || token.kind == Token::Kind::integer ||
           token.kind == Token::Kind::real || token.is_op("[") || token.is_op("{");
  }

  ExpressionPtr parse_test(ExpressionPtr value) {
    const int line = current().line;
    next();
    const bool negated = skip_name("not");
    auto made = make(Kind::test, line);
    made->name = dotted_name();
    made->parts.push_back(std::move(value));
    if (current().is_op("(")) {
      made->arguments = parse_arguments();
    } else if (at_test_argument()) {
      if (current().is_name("is")) refuse("You cannot chain multiple tests with is");
      made->arguments.positional.push_back(parse_postfix(parse_primary()));
    }
    resolve(*made, find_test(made->name), "test");
    made = sealed(std::move(made));
    return negated ? node(Kind::negation, line, std::move(made)) : std::move(made);
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int nesting_ = 0;
  int soft_ = 0;                // levels of expressions that may turn out to be conditional
  int conditions_ = 0;          // levels of {% if %}
  Statement* macro_ = nullptr;  // the innermost macro or call block being parsed
  std::vector<std::string> pending_;
};

}  // namespace quaver::jinja
