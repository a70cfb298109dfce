#pragma once
// Values with behaviour that the interpreter makes.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/interpreter.h"

namespace quaver::jinja {

struct Namespace final : Object {
  Dict attributes;
  std::string type_name() const override { return "TemplateNamespace"; }
  std::optional<Value> attribute(std::string_view name) override;
  void clear() override { attributes = {}; }
};

struct Macro final : Object {
  const Statement& statement;
  std::shared_ptr<Frame> frame;
  Macro(const Statement& made, std::shared_ptr<Frame> outer)
      : statement(made), frame(std::move(outer)) {}
  std::string type_name() const override { return "Macro"; }
  std::string shown() const override;
  std::optional<Value> attribute(std::string_view name) override;
  bool callable() const override { return true; }
  Value call(Call& arguments) override;
};

// What `loop` is in a loop's body.
struct Loop final : Object, std::enable_shared_from_this<Loop> {
  const Statement& statement;
  std::shared_ptr<Frame> outer;  // of a recursive loop, else null
  Value items;                   // a list
  std::int64_t index = 0;        // from 0
  int level = 1;                 // of recursion
  std::optional<Value> last_changed;

  Loop(const Statement& made, std::shared_ptr<Frame> frame, Value all, int recursion)
      : statement(made), outer(std::move(frame)), items(std::move(all)), level(recursion) {}
  const std::vector<Value>& values() const { return items.sequence()->values; }
  int depth() const override { return items.depth(); }
  std::string type_name() const override { return "LoopContext"; }
  std::string shown() const override;
  std::optional<Value> attribute(std::string_view name) override;
  bool callable() const override { return true; }
  Value call(Call& arguments) override;
  void clear() override { last_changed.reset(); }
};

}  // namespace quaver::jinja
