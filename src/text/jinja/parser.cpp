// The statements of jinja2/parser.py.
#include <initializer_list>
#include <utility>

#include "core/error.h"
#include "text/jinja/ast.h"
#include "text/jinja/expression_parser.h"

namespace quaver::jinja {
namespace {

using Kind = Expression::Kind;

class Parser {
 public:
  explicit Parser(std::string_view source) : read_(source) {}

  Body run() {
    Body body = parse_body({});
    if (read_.current().kind != Token::Kind::end) unknown_tag();
    return body;
  }

 private:
  using StatementPtr = std::unique_ptr<Statement>;
  using Parse = void (Parser::*)(Statement&);
  struct Tag {
    std::string_view name;
    Statement::Kind kind;
    Parse parse;  // null: refused by name
  };

  static const Tag* find_tag(std::string_view name) {
    using S = Statement::Kind;
    static constexpr Tag tags[] = {
        {"if", S::if_else, &Parser::parse_if},
        {"for", S::for_loop, &Parser::parse_for},
        {"set", S::set, &Parser::parse_set},
        {"macro", S::macro, &Parser::parse_macro},
        {"call", S::call_block, &Parser::parse_call_block},
        {"filter", S::filter_block, &Parser::parse_filter_block},
        {"with", S::with, &Parser::parse_with},
        {"print", S::output, &Parser::parse_print},
        {"generation", S::scope, &Parser::parse_generation},
        {"break", S::break_loop, &Parser::parse_loop_control},
        {"continue", S::continue_loop, &Parser::parse_loop_control},
        {"block", S::text, nullptr},
        {"extends", S::text, nullptr},
        {"include", S::text, nullptr},
        {"import", S::text, nullptr},
        {"from", S::text, nullptr},
        {"autoescape", S::text, nullptr},
    };
    for (const Tag& tag : tags) {
      if (tag.name == name) return &tag;
    }
    return nullptr;
  }

  [[noreturn]] void unknown_tag() const {
    const std::string open = open_tags_.empty()
                                 ? std::string()
                                 : text("; the innermost open block is '", open_tags_.back(), "'");
    if (read_.current().kind == Token::Kind::end) read_.refuse("Unexpected end of template", open);
    read_.refuse("Encountered unknown tag '", read_.shown(), "'", open);
  }

  StatementPtr make_statement(Statement::Kind kind) const {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = read_.current().line;
    return made;
  }

  // Statements up to a tag of `ends`, at whose name it stops; with no ends up to the end.
  Body parse_body(std::initializer_list<std::string_view> ends) {
    const ExpressionParser::Level level(read_);
    Body body;
    for (;;) {
      const auto kind = read_.current().kind;
      if (kind == Token::Kind::data) {
        auto made = make_statement(Statement::Kind::text);
        made->name = read_.current().text;
        read_.next();
        body.push_back(std::move(made));
      } else if (kind == Token::Kind::variable_begin) {
        auto made = make_statement(Statement::Kind::output);
        read_.next();
        made->expressions.push_back(read_.parse_tuple(true, false, {}));
        read_.expect(Token::Kind::variable_end, "end of print statement");
        body.push_back(std::move(made));
      } else if (kind == Token::Kind::block_begin) {
        read_.next();
        for (const std::string_view end : ends) {
          if (read_.current().is_name(end)) return body;
        }
        body.push_back(parse_statement());
        read_.expect(Token::Kind::block_end, "end of statement block");
      } else {
        if (ends.size() > 0) unknown_tag();
        return body;
      }
    }
  }

  StatementPtr parse_statement() {
    if (read_.current().kind != Token::Kind::name) read_.refuse("tag name expected");
    const Tag* tag = find_tag(read_.current().text);
    if (!tag) unknown_tag();
    if (!tag->parse)
      fail(Fault::unsupported, "line ", read_.current().line, ": tag '", tag->name,
           "' is not supported");
    open_tags_.push_back(read_.current().text);
    auto made = make_statement(tag->kind);
    if (tag->parse != &Parser::parse_loop_control) read_.next();
    (this->*tag->parse)(*made);
    open_tags_.pop_back();
    return made;
  }

  // The body after the rest of an opening tag, up to the closing one, which it takes.
  Body parse_block(std::string_view end) {
    Body body = parse_open_block({end});
    read_.next();
    return body;
  }
  Body parse_open_block(std::initializer_list<std::string_view> ends) {
    read_.skip_op(":");
    read_.expect(Token::Kind::block_end, "end of statement block");
    return parse_body(ends);
  }

  // A body that a break cannot leave, since its output is caught.
  Body parse_caught_block(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Body body = parse_block(end);
    loops_ = loops;
    return body;
  }

  void parse_if(Statement& made) {
    read_.enter_condition();
    for (;;) {
      Statement::Branch branch;
      branch.condition = read_.parse_tuple(false, false, {});
      branch.body = parse_open_block({"elif", "else", "endif"});
      made.branches.push_back(std::move(branch));
      if (read_.skip_name("elif")) continue;
      if (read_.skip_name("else"))
        made.otherwise = parse_block("endif");
      else
        read_.next();
      break;
    }
    read_.leave_condition();
  }

  ExpressionPtr parse_target_name(bool with_space) {
    if (read_.current().kind != Token::Kind::name)
      read_.refuse("can't assign to '", read_.shown(), "'");
    ExpressionPtr name = read_.parse_name();
    if (name->kind != Kind::name) read_.refuse("can't assign to a constant");
    if (with_space && read_.skip_op(".")) {
      name->kind = Kind::space_name;
      name->operators.push_back(read_.expect_name());
    }
    return name;
  }

  // name, name.attribute, (a, b), or several of them with commas between
  ExpressionPtr parse_target_item(bool with_space) {
    if (!read_.skip_op("(")) return parse_target_name(with_space);
    ExpressionPtr inner = parse_target(with_space, {});
    read_.expect_op(")");
    return inner;
  }

  ExpressionPtr parse_target(bool with_space, std::string_view end) {
    const ExpressionParser::Level level(read_);
    const int line = read_.current().line;
    ExpressionPtr first = parse_target_item(with_space);
    if (!read_.current().is_op(",")) return first;
    auto made = read_.node(Kind::tuple, line, std::move(first));
    while (read_.skip_op(",")) {
      if (read_.current().is_op(")") || read_.current().is_op("=") ||
          read_.current().kind == Token::Kind::block_end ||
          (!end.empty() && read_.current().is_name(end)))
        break;
      made->parts.push_back(parse_target_item(with_space));
    }
    return read_.sealed(std::move(made));
  }

  void parse_for(Statement& made) {
    made.targets.push_back(parse_target(false, "in"));
    if (!read_.skip_name("in")) read_.refuse("expected token 'in', got '", read_.shown(), "'");
    made.expressions.push_back(read_.parse_tuple(false, false, "recursive"));
    made.expressions.push_back(read_.skip_name("if") ? read_.parse_expression() : nullptr);
    made.recursive = read_.skip_name("recursive");
    ++loops_;
    made.body = parse_open_block({"endfor", "else"});
    --loops_;
    if (read_.skip_name("else"))
      made.otherwise = parse_block("endfor");
    else
      read_.next();
  }

  void parse_set(Statement& made) {
    made.targets.push_back(parse_target(true, {}));
    if (read_.skip_op("=")) {
      made.expressions.push_back(read_.parse_tuple(true, false, {}));
      return;
    }
    made.kind = Statement::Kind::set_block;
    ExpressionPtr filters;
    while (read_.skip_op("|")) filters = read_.parse_filter(std::move(filters));
    made.expressions.push_back(std::move(filters));
    made.body = parse_caught_block("endset");
  }

  void parse_signature(Statement& made) {
    read_.expect_op("(");
    while (!read_.current().is_op(")")) {
      if (!made.parameters.empty()) read_.expect_op(",");
      made.parameters.push_back(read_.expect_name());
      if (read_.skip_op("="))
        made.defaults.push_back(read_.parse_expression());
      else if (!made.defaults.empty())
        read_.refuse("non-default argument follows default argument");
    }
    read_.next();
  }

  void parse_callable_body(Statement& made, std::string_view end) {
    Statement* outer = read_.enter_macro(&made);
    made.body = parse_caught_block(end);
    read_.enter_macro(outer);
  }

  void parse_macro(Statement& made) {
    made.name = read_.expect_name();
    parse_signature(made);
    parse_callable_body(made, "endmacro");
  }

  void parse_call_block(Statement& made) {
    made.name = "caller";
    if (read_.current().is_op("(")) parse_signature(made);
    made.expressions.push_back(read_.parse_expression());
    if (made.expressions[0]->kind != Kind::call) read_.refuse("expected call");
    parse_callable_body(made, "endcall");
  }

  void parse_filter_block(Statement& made) {
    ExpressionPtr filters = read_.parse_filter(nullptr);
    while (read_.skip_op("|")) filters = read_.parse_filter(std::move(filters));
    made.expressions.push_back(std::move(filters));
    made.body = parse_caught_block("endfilter");
  }

  void parse_with(Statement& made) {
    while (read_.current().kind != Token::Kind::block_end) {
      if (!made.targets.empty()) read_.expect_op(",");
      made.targets.push_back(parse_target_item(false));
      read_.expect_op("=");
      made.expressions.push_back(read_.parse_expression());
    }
    made.body = parse_block("endwith");
  }

  void parse_print(Statement& made) {
    while (read_.current().kind != Token::Kind::block_end) {
      if (!made.expressions.empty()) read_.expect_op(",");
      made.expressions.push_back(read_.parse_expression());
    }
  }

  void parse_generation(Statement& made) { made.body = parse_caught_block("endgeneration"); }

  void parse_loop_control(Statement&) {
    if (loops_ == 0) read_.refuse("'", read_.current().text, "' outside of a loop");
    read_.next();
  }

  ExpressionParser read_;
  int loops_ = 0;  // that a break would leave
  std::vector<std::string> open_tags_;
};

}  // namespace

Body parse(std::string_view source) { return Parser(source).run(); }

}  // namespace quaver::jinja
