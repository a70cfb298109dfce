#pragma once
// Modules: what a block is made of. A module lists its parameters once, in visit(), under their
// checkpoint names; loading, saving, counting, moving and quantizing are all visitors.
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "nn/step.h"
#include "ops/ops.h"

namespace quaver {

struct Linear;

class Visitor {
 public:
  virtual ~Visitor() = default;
  // A norm gain, a bias, an embedding table. `shape` is what the model expects.
  virtual void parameter(const std::string& name, Tensor& t, const Shape& shape) = 0;
  // A linear; `name` is the module's, without ".weight". Its bias, if any, belongs to it.
  virtual void linear(const std::string& name, Linear& l) = 0;

  template <class Module>
  void operator()(std::string_view name, Module& module) {
    const Scope scope(*this, name);
    if constexpr (std::is_same_v<Module, Linear>)
      linear(path_, module);
    else
      module.visit(*this);
  }
  void operator()(std::string_view name, Tensor& t, const Shape& shape) {
    const Scope scope(*this, name);
    parameter(path_, t, shape);
  }

 private:
  struct Scope {
    Scope(Visitor& v, std::string_view name) : visitor(v), outer(v.path_.size()) {
      if (!v.path_.empty() && !name.empty()) v.path_ += '.';
      v.path_ += name;
    }
    ~Scope() { visitor.path_.resize(outer); }
    Visitor& visitor;
    std::size_t outer;
  };
  std::string path_;
};

// Where a linear's weight is a part of a tensor that holds those of several: experts stacked on
// top of each other, gate and up in one. A checkpoint may hold the linear by itself instead, as
// quantized ones do: under the linear's own name.
struct Stacked {
  std::string weight, bias;  // of the tensors, in place of the last `levels` parts of the name
  int levels = 1;
  std::int64_t index = 0, count = 1;  // of the first dimension
  std::int64_t begin = 0, width = 0;  // the outputs from `begin`, of `width`
  bool transposed = false;            // [count, inputs, width], else [count, width, inputs]

  // The stacked tensor that holds the weight of the linear of this name.
  std::string weight_of(const std::string& linear) const { return replaced(linear, weight); }
  std::string bias_of(const std::string& linear) const { return replaced(linear, bias); }

 private:
  std::string replaced(std::string linear, const std::string& ending) const;
};

// Whose statistics a linear's input counts in, where the experts of a mixture share theirs: those
// of all that enters the experts (the router sees the same), or of all that reaches their last
// linears.
enum class Pool : std::uint8_t { none, entry, inner };

struct Linear {
  std::int64_t outputs = 0, inputs = 0;
  bool has_bias = false;
  bool transposed = false;  // stored as [inputs, outputs] (GPT-2's Conv1D); loading turns it
  std::shared_ptr<const Stacked> stacked;  // null: the weight is a tensor of its own
  bool keep_precision = false;             // never quantized: the router of a mixture of experts
  bool routed = false;  // an expert's: which tokens it sees depends on the router
  Pool pool = Pool::none;
  bool unit_rows = false;  // computes with rows of length 1, whatever is stored; loading scales
  Weight weight;
  Tensor bias;  // f32 [outputs]; empty without a bias

  // x f32 [m, inputs] -> f32 [m, outputs]
  Tensor operator()(const Tensor& x, Step& step) const;
};

// What each linear makes of x, in one go where their layouts allow.
std::vector<Tensor> side_by_side(std::initializer_list<const Linear*> linears, const Tensor& x,
                                 Step& step);

struct LayerNorm {
  std::int64_t size = 0;
  float eps = 1e-5f;
  bool has_bias = true, has_weight = true;
  float offset = 0;        // added to the stored gains (Nemotron: 1)
  std::int64_t heads = 0;  // gains [heads, size] for rows that are heads; 0: [size]
  bool separate = false;   // each head's gains are a tensor of their own, norms.<head>.weight
  Tensor weight, bias;
  std::vector<Tensor> each;

  void visit(Visitor& v);
  Tensor operator()(const Tensor& x) const;
};

struct RmsNorm {
  std::int64_t size = 0;
  float eps = 1e-6f;
  float offset = 0;  // added to the stored gains (Gemma: 1)
  Tensor weight;

  void visit(Visitor& v);
  Tensor operator()(const Tensor& x) const { return rms_norm(x, weight, eps, offset); }
};

// A norm whose kind a family chooses, or none at all.
struct Norm {
  std::variant<std::monostate, LayerNorm, RmsNorm> kind;

  Norm() = default;
  Norm(LayerNorm n) : kind(std::move(n)) {}
  Norm(RmsNorm n) : kind(std::move(n)) {}
  explicit operator bool() const { return kind.index() != 0; }
  void visit(Visitor& v);
  Tensor operator()(const Tensor& x) const;  // x itself without a norm
};

// One repeated layer of a decoder.
class Block {
 public:
  virtual ~Block() = default;
  virtual void visit(Visitor& v) = 0;
  virtual Tensor forward(const Tensor& x, Step& step) = 0;  // x f32 [rows, hidden]
};

// Gives `to` the parameters of `from`, a block of the same shape. They share their memory until one
// of them gets others.
void share_parameters(Block& from, Block& to);

// What stands before the first block and after the last one.
class Ends {
 public:
  virtual ~Ends() = default;
  virtual void visit(Visitor& v) = 0;
  // Positions from which the model cannot embed a token: its learned table ends; 0: no limit.
  virtual std::int64_t position_limit() const { return 0; }
  virtual Tensor embed(const Tensor& ids, Step& step) = 0;      // i32 [rows] -> f32 [rows, hidden]
  virtual Tensor norm(const Tensor& x) = 0;                     // after the last block
  virtual Tensor logits(const Tensor& normed, Step& step) = 0;  // -> f32 [rows, vocabulary]
  // The head as a linear like those of the blocks, which visit() lists from now on; one that showed
  // the embedding table gets it as a weight of its own. Null: the logits are no such product.
  virtual Linear* own_head() { return nullptr; }
};

}  // namespace quaver
