#pragma once
// The block that most decoders share, as data: a family fills in names, sizes and switches.
#include <memory>
#include <string>

#include "models/arch.h"
#include "nn/attention.h"
#include "nn/ends.h"
#include "nn/experts.h"

namespace quaver {

// The second half of a block.
class Mlp {
 public:
  virtual ~Mlp() = default;
  virtual void visit(Visitor& v) = 0;
  virtual Tensor operator()(const Tensor& x, Step& step) const = 0;
};

struct MlpNames {
  std::string prefix = "mlp", gate = "gate_proj", up = "up_proj", down = "down_proj";
};
struct MlpSizes {
  std::int64_t hidden = 0, inner = 0;
  Activation function = Activation::silu;
  bool bias = false, transposed = false;
};
// down(function(up(x)))
std::unique_ptr<Mlp> plain_mlp(const MlpNames& names, const MlpSizes& sizes);
// down(function(gate(x)) * up(x))
std::unique_ptr<Mlp> gated_mlp(const MlpNames& names, const MlpSizes& sizes);
// The same with gate and up as the halves of one linear, named `gate`.
std::unique_ptr<Mlp> fused_mlp(const MlpNames& names, const MlpSizes& sizes);
// A mixture of `experts`, all alike. `shared`, if given, is an MLP for every token beside it, under
// `shared_name`; with `shared_gate`, times the sigmoid of a linear of that name.
struct MixtureLayout {
  std::string prefix = "mlp";
  std::int64_t experts = 0;
  GatedMlp::Names expert_names = {};
  MlpSizes sizes = {};
  Experts::Router router = {};
  std::int64_t shared_inner = 0;  // 0: none
  bool shared_bias = false;
  std::string shared_name, shared_gate;
  std::string router_name = "gate", expert_prefix = "experts";
  // All experts in two tensors: gate and up, and down. Empty: a module for each expert. The names
  // of what a quantized checkpoint has in their place are `expert_names`, with # for the expert's
  // number; no name for up: gate and up are one linear there too.
  std::string stacked_gate_up, stacked_down;
  bool stacked_transposed = false;  // [experts, inputs, outputs]
  bool stacked_by_turns = false;    // gate and up take turns, else gate first
  std::string stacked_bias;         // ending of the biases' names
  float limit = 0;                  // GatedMlp::limit
};
std::unique_ptr<Mlp> mixture_mlp(const MixtureLayout& layout);

struct BlockLayout {
  struct Attention {
    std::string q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj",
                o = "self_attn.o_proj";
    // One linear for q, k and v. Its outputs are `partitions` equal parts, each with its share of
    // q, then of k, then of v (or v before k).
    std::string qkv;
    std::int64_t partitions = 1;
    bool v_before_k = false;
    bool bias = false, o_bias = false, transposed = false;
    std::string q_norm, k_norm;
    Norm q_norm_kind, k_norm_kind;
    bool norm_each_head = true;  // else over all heads together
    bool norm_after_rope = false;
    std::string sinks;  // name of a score of no key for each head; empty: none
    bool clip_after_norm = false;
    float clip = 0;  // q, k and v are cut to -clip .. clip; 0: not
    SelfAttention core;
  } attention;

  // Serial: x += attention(norm(x)); x += mlp(norm(x)). Parallel: x += attention(norm(x)) +
  // mlp(norm(x)), where an absent mlp norm is the attention's.
  bool parallel = false;
  std::string attention_norm = "input_layernorm", mlp_norm = "post_attention_layernorm";
  Norm attention_norm_kind, mlp_norm_kind;
  // Of what is added to x (Gemma 2, OLMo 2).
  std::string attention_output_norm, mlp_output_norm;
  Norm attention_output_norm_kind, mlp_output_norm_kind;
  float residual_scale = 1;  // of what is added to x
  std::shared_ptr<Mlp> mlp;
};

class StandardBlock final : public Block {
 public:
  StandardBlock(const Config& c, BlockLayout layout);
  void visit(Visitor& v) override;
  Tensor forward(const Tensor& x, Step& step) override;

 private:
  Tensor attended(const Tensor& x, Step& step) const;

  BlockLayout layout_;
  Linear q_, k_, v_, o_, qkv_;
};

// The layout of Llama and its many relatives: RMS norms, rotary positions, grouped heads, a gated
// MLP. Reads attention_bias, mlp_bias, hidden_act and the rope settings.
BlockLayout llama_layout(const Config& c, const RopeKeys& rope = {});
// RMS norms on the heads of q and k, as self_attn.q_norm and self_attn.k_norm.
void norm_heads(BlockLayout& layout, const Config& c);
// The router of num_experts_per_tok experts with a softmax over all.
Experts::Router config_router(const Json& j, std::int64_t default_chosen, bool normalize);
// Qwen's way to say which layers have a sliding window, and which a mixture of experts.
std::int64_t qwen_window(const Json& j, int layer);
bool is_sparse(const Json& j, int layer);
// Whether the layer has rotary positions, where some have none (no_rope_layers).
bool config_rotates(const Json& j, int layer);
// standard_config with rms_norm_eps.
Config llama_config(const Json& config_json);
// model.embed_tokens, model.norm (of the kind given) and lm_head.
StandardEnds::Layout llama_ends(const Config& c);
inline std::vector<std::string_view> llama_buffers() { return {"rotary_emb.inv_freq"}; }

}  // namespace quaver
