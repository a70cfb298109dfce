// GPT-NeoX (Black et al. 2022), and Pythia: partial rotary positions, parallel residual, q, k and v
// stored head by head.
#include "models/arch.h"
#include "nn/attention.h"
#include "nn/ends.h"

namespace quaver::family::gpt_neox {
namespace {

constexpr RopeKeys rope_keys{
    .theta = "rotary_emb_base", .partial = "rotary_pct", .default_partial = 0.25};

class NeoxBlock final : public Block {
 public:
  explicit NeoxBlock(const Config& c)
      : attention_norm_{.size = c.hidden, .eps = c.norm_eps},
        mlp_norm_{.size = c.hidden, .eps = c.norm_eps},
        function_(config_activation(c.json, "hidden_act", "gelu")),
        parallel_(json_bool(c.json, "use_parallel_residual", config_file, true)) {
    const bool bias = json_bool(c.json, "attention_bias", config_file, true);
    qkv_ = {.outputs = 3 * c.hidden, .inputs = c.hidden, .has_bias = bias};
    dense_ = {.outputs = c.hidden, .inputs = c.hidden, .has_bias = bias};
    up_ = {.outputs = c.intermediate, .inputs = c.hidden, .has_bias = true};
    down_ = {.outputs = c.hidden, .inputs = c.intermediate, .has_bias = true};
    attention_.shape = standard_attention(c);
    attention_.rope = make_rope(config_rope(c.json, rope_keys), c.head_dim);
  }

  void visit(Visitor& v) override {
    v("input_layernorm", attention_norm_);
    v("attention.query_key_value", qkv_);
    v("attention.dense", dense_);
    v("post_attention_layernorm", mlp_norm_);
    v("mlp.dense_h_to_4h", up_);
    v("mlp.dense_4h_to_h", down_);
  }

  Tensor forward(const Tensor& x, Step& step) override {
    const Tensor h = x + dense_(attended(attention_norm_(x), step), step);
    return h + down_(widened(mlp_norm_(parallel_ ? x : h), step), step);
  }

 private:
  // Functions of their own, so that what only they need is freed before the next linear.
  Tensor attended(const Tensor& x, Step& step) const {
    Qkv s = split_heads(qkv_(x, step), attention_.shape.heads, attention_.shape.head_dim);
    return attention_(std::move(s.q), std::move(s.k), s.v, step);
  }
  Tensor widened(const Tensor& x, Step& step) const { return activation(up_(x, step), function_); }

  LayerNorm attention_norm_, mlp_norm_;
  Linear qkv_, dense_, up_, down_;
  SelfAttention attention_;
  Activation function_;
  bool parallel_;
};

Config config(const Json& j) {
  Config c = standard_config(j);
  config_plain_heads(c);
  c.norm_eps = static_cast<float>(json_number(j, "layer_norm_eps", config_file, 1e-5));
  make_rope(config_rope(j, rope_keys), c.head_dim);  // reports what is out of range
  config_activation(j, "hidden_act", "gelu");
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "GPTNeoXForCausalLM",
    .model_type = "gpt_neox",
    .blocks = "gpt_neox.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<NeoxBlock>(c);
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(
          StandardEnds::Layout{.hidden = c.hidden,
                               .vocab = c.vocab,
                               .embedding = "gpt_neox.embed_in",
                               .final_norm = "gpt_neox.final_layer_norm",
                               .final_norm_kind = LayerNorm{.size = c.hidden, .eps = c.norm_eps},
                               .head = "embed_out",
                               .tied_head = c.tied_head});
    },
    .buffers =
        [] {
          return std::vector<std::string_view>{"attention.bias", "attention.masked_bias",
                                               "attention.rotary_emb.inv_freq",
                                               "gpt_neox.rotary_emb.inv_freq"};
        },
};

}  // namespace quaver::family::gpt_neox
