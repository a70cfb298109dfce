#pragma once
// Runs the tree of a template.
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/call.h"
#include "text/jinja/value.h"

namespace quaver::jinja {

struct Date {
  std::tm parts{};
};

// Names and values of a block. Loops, macros and with have frames of their own; what a template
// does not find in its frames it seeks among the variables given, then the global functions.
struct Frame {
  std::shared_ptr<Frame> parent;
  std::vector<std::pair<std::string_view, Value>> names;  // the views are the tree's
  void set(std::string_view name, Value value);
  const Value* find(std::string_view name) const;
};

using FramePtr = std::shared_ptr<Frame>;

class Interpreter {
 public:
  Interpreter(const std::map<std::string, Value>& variables, Date date, Budget& budget,
              std::int64_t largest_output)
      : variables_(variables), date_(date), budget_(budget), largest_output_(largest_output) {}
  // Values may hold each other in rings through namespaces, macros and loops: cut here.
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  std::string run(const Body& body);
  int line() const { return line_; }
  Budget& budget() { return budget_; }
  const Date& date() const { return date_; }

  Value apply_filter(const std::string& name, const Value& input, std::vector<Value> positional,
                     std::vector<Keyword> keywords);
  bool apply_test(const std::string& name, const Value& input, std::vector<Value> positional,
                  std::vector<Keyword> keywords);
  Value call(const Value& callee, std::vector<Value> positional, std::vector<Keyword> keywords);

  Value call_macro(const Statement& macro, const FramePtr& outer, Call& call);
  std::string call_loop(const Statement& loop, const FramePtr& outer, const Value& values,
                        int depth);
  // Objects that change, and may so come to hold long chains or rings of others, live to the end.
  void remember(std::shared_ptr<Object> object);

 private:
  enum class Flow { normal, broken, continued };
  struct Deeper;
  struct Given {
    std::vector<Value> positional;
    std::vector<Keyword> keywords;
  };

  Flow execute(const Body& body, const FramePtr& frame);
  Flow execute(const Statement& statement, const FramePtr& frame);
  Flow execute_if(const Statement& statement, const FramePtr& frame);
  Flow execute_for(const Statement& statement, const FramePtr& frame);
  Flow execute_with(const Statement& statement, const FramePtr& frame);
  void execute_call_block(const Statement& statement, const FramePtr& frame);
  void execute_loop(const Statement& statement, const FramePtr& frame, const Value& values,
                    int depth);
  std::vector<Value> loop_values(const Statement& statement, const FramePtr& frame,
                                 const Value& values);
  std::string caught(const Body& body, const FramePtr& frame);
  void put(std::string_view text);
  void capture(const FramePtr& frame);
  void assign(const Expression& target, Value value, const FramePtr& frame);
  void bind_extra_arguments(const Statement& macro, Frame& frame, Call& call);

  Value evaluate(const Expression& expression, const FramePtr& frame);
  Value evaluate_name(const Expression& expression, const FramePtr& frame);
  Value evaluate_dict(const Expression& expression, const FramePtr& frame);
  Value evaluate_slice(const Expression& expression, const FramePtr& frame);
  Value evaluate_call(const Expression& expression, const FramePtr& frame);
  Value evaluate_filter(const Expression& expression, const FramePtr& frame, const Value& input);
  Value evaluate_filters(const Expression& expression, const FramePtr& frame, const Value& text);
  bool evaluate_test(const Expression& expression, const FramePtr& frame);
  Value evaluate_arithmetic(const Expression& expression, const FramePtr& frame);
  Value evaluate_concatenation(const Expression& expression, const FramePtr& frame);
  bool evaluate_compare(const Expression& expression, const FramePtr& frame);
  Value evaluate_condition(const Expression& expression, const FramePtr& frame);
  std::vector<Value> evaluate_all(const Expression& expression, const FramePtr& frame);
  Given evaluate_arguments(const Arguments& arguments, const FramePtr& frame);

  const std::map<std::string, Value>& variables_;
  Date date_;
  Budget& budget_;
  std::int64_t largest_output_;
  int line_ = 1;
  int depth_ = 0;
  int calls_ = 0;
  std::string* out_ = nullptr;
  std::vector<FramePtr> captured_;  // frames that a macro or a recursive loop refers to
  std::vector<std::shared_ptr<Object>> remembered_;
};

}  // namespace quaver::jinja
