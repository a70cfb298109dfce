#pragma once
// A mixture of experts: a router sends each token to a few of many gated MLPs.
#include <vector>

#include "nn/module.h"

namespace quaver {

// down(function(gate(x)) * up(x)), the MLP of most models since Llama.
struct GatedMlp {
  struct Names {
    std::string gate = "gate_proj", up = "up_proj", down = "down_proj";
  };
  Linear gate, up, down;
  Activation function = Activation::silu;
  Names names;
  bool fused = false;     // `gate` holds up too, as the second half of its outputs
  bool by_turns = false;  // of the outputs of gate, then up, every other one is gate's (gpt-oss)
  float limit =
      0;  // gpt-oss: min(gate, limit), up cut to the limits, and (up + 1) * f(gate); 0: not

  GatedMlp() = default;
  GatedMlp(std::int64_t hidden, std::int64_t inner, Activation f, bool bias = false);
  void visit(Visitor& v);
  Tensor operator()(const Tensor& x, Step& step) const;

 private:
  void take_turns(Tensor& g, Tensor& u) const;
};

struct Experts {
  struct Router {
    std::int64_t chosen = 2;      // experts a token
    bool sigmoid = false;         // scores are sigmoids (DeepSeek v3), else a softmax over all
    bool softmax_chosen = false;  // softmax over the chosen ones' logits only
    bool normalize = true;        // the chosen ones' weights sum to 1
    bool has_correction = false;  // a bias that counts for choosing only
    std::int64_t groups = 1, chosen_groups = 1;  // choose groups of experts first
    bool group_by_best_two = false;  // a group's score: its best two's sum, else its best
    float scale = 1;                 // of the weights, at last
    bool has_bias = false;           // of the gate
  };
  Router router;
  std::string router_name = "gate", expert_prefix = "experts";
  Linear gate;        // [experts, hidden]
  Tensor correction;  // f32 [experts]
  std::vector<GatedMlp> experts;

  void visit(Visitor& v);
  Tensor operator()(const Tensor& x, Step& step) const;

 private:
  struct Choice {
    std::vector<std::int32_t> rows;
    std::vector<float> weights;
  };
  std::vector<Choice> choose(const Tensor& logits) const;
};

}  // namespace quaver
