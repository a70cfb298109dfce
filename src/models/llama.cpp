// Llama (Touvron et al. 2023): RMS norms, rotary positions, grouped heads, gated SiLU.
#include "models/arch.h"
#include "nn/attention.h"
#include "nn/ends.h"

namespace quaver {
namespace {

class LlamaBlock final : public Block {
 public:
  explicit LlamaBlock(const Config& c)
      : attention_norm_{.size = c.hidden, .eps = c.norm_eps},
        mlp_norm_{.size = c.hidden, .eps = c.norm_eps},
        function_(config_activation(c.json, "hidden_act", "silu")) {
    const bool bias = json_bool(c.json, "attention_bias", config_file, false);
    const bool mlp_bias = json_bool(c.json, "mlp_bias", config_file, false);
    const std::int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim;
    q_ = {.outputs = queries, .inputs = c.hidden, .has_bias = bias};
    k_ = v_ = {.outputs = keys, .inputs = c.hidden, .has_bias = bias};
    o_ = {.outputs = c.hidden, .inputs = queries, .has_bias = bias};
    gate_ = up_ = {.outputs = c.intermediate, .inputs = c.hidden, .has_bias = mlp_bias};
    down_ = {.outputs = c.hidden, .inputs = c.intermediate, .has_bias = mlp_bias};
    attention_.shape = standard_attention(c);
    attention_.rope = make_rope(c.head_dim, config_rope(c.json, "rope_theta", nullptr, 1).theta);
  }

  void visit(Visitor& v) override {
    v("input_layernorm", attention_norm_);
    v("self_attn.q_proj", q_);
    v("self_attn.k_proj", k_);
    v("self_attn.v_proj", v_);
    v("self_attn.o_proj", o_);
    v("post_attention_layernorm", mlp_norm_);
    v("mlp.gate_proj", gate_);
    v("mlp.up_proj", up_);
    v("mlp.down_proj", down_);
  }

  Tensor forward(const Tensor& x, Step& step) override {
    const Tensor h = x + o_(attended(attention_norm_(x), step), step);
    return h + down_(widened(mlp_norm_(h), step), step);
  }

 private:
  // Functions of their own, so that what only they need is freed before the next linear.
  Tensor attended(const Tensor& x, Step& step) const {
    Tensor q = q_(x, step), k = k_(x, step), v = v_(x, step);
    return attention_(std::move(q), std::move(k), v, step);
  }
  Tensor widened(const Tensor& x, Step& step) const {
    const Tensor gate = gate_(x, step), up = up_(x, step);
    return gated(gate, function_, up);
  }

  RmsNorm attention_norm_, mlp_norm_;
  Linear q_, k_, v_, o_, gate_, up_, down_;
  SelfAttention attention_;
  Activation function_;
};

Config config(const Json& j) {
  Config c = standard_config(j);
  c.norm_eps = static_cast<float>(json_number(j, "rms_norm_eps", config_file, 1e-6));
  config_rope(j, "rope_theta", nullptr, 1);
  config_activation(j, "hidden_act", "silu");
  return c;
}

}  // namespace

constinit const Arch llama = {
    .name = "LlamaForCausalLM",
    .model_type = "llama",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<LlamaBlock>(c);
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(
          StandardEnds::Layout{.hidden = c.hidden,
                               .vocab = c.vocab,
                               .embedding = "model.embed_tokens",
                               .final_norm = "model.norm",
                               .final_norm_kind = RmsNorm{.size = c.hidden, .eps = c.norm_eps},
                               .head = "lm_head",
                               .tied_head = c.tied_head});
    },
    .buffers = [] { return std::vector<std::string_view>{"rotary_emb.inv_freq"}; },
};

}  // namespace quaver
