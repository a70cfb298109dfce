// OPT (Zhang et al. 2022), the pre-norm sizes: learned positions, ReLU, biases.
#include "models/arch.h"
#include "nn/attention.h"
#include "nn/ends.h"

namespace quaver {
namespace {

// Rows of the position table before position 0, an inheritance from fairseq's padding index.
constexpr std::int64_t position_offset = 2;

class OptBlock final : public Block {
 public:
  explicit OptBlock(const Config& c)
      : attention_norm_{.size = c.hidden, .eps = c.norm_eps},
        mlp_norm_{.size = c.hidden, .eps = c.norm_eps},
        function_(config_activation(c.json, "activation_function", "relu")) {
    const bool bias = json_bool(c.json, "enable_bias", config_file, true);
    q_ = k_ = v_ = o_ = {.outputs = c.hidden, .inputs = c.hidden, .has_bias = bias};
    fc1_ = {.outputs = c.intermediate, .inputs = c.hidden, .has_bias = bias};
    fc2_ = {.outputs = c.hidden, .inputs = c.intermediate, .has_bias = bias};
    attention_.shape = standard_attention(c);
  }

  void visit(Visitor& v) override {
    v("self_attn_layer_norm", attention_norm_);
    v("self_attn.q_proj", q_);
    v("self_attn.k_proj", k_);
    v("self_attn.v_proj", v_);
    v("self_attn.out_proj", o_);
    v("final_layer_norm", mlp_norm_);
    v("fc1", fc1_);
    v("fc2", fc2_);
  }

  Tensor forward(const Tensor& x, Step& step) override {
    const Tensor h = x + o_(attended(attention_norm_(x), step), step);
    return h + fc2_(widened(mlp_norm_(h), step), step);
  }

 private:
  // Functions of their own, so that what only they need is freed before the next linear.
  Tensor attended(const Tensor& x, Step& step) const {
    Tensor q = q_(x, step), k = k_(x, step), v = v_(x, step);
    return attention_(std::move(q), std::move(k), v, step);
  }
  Tensor widened(const Tensor& x, Step& step) const { return activation(fc1_(x, step), function_); }

  LayerNorm attention_norm_, mlp_norm_;
  Linear q_, k_, v_, o_, fc1_, fc2_;
  SelfAttention attention_;
  Activation function_;
};

Config config(const Json& j) {
  Json named = j;  // OPT's own name for the width of its MLP
  if (!named.contains("intermediate_size") && named.contains("ffn_dim"))
    named["intermediate_size"] = named["ffn_dim"];
  Config c = standard_config(named);
  c.json = j;
  config_plain_heads(c);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  config_must_be(j, "do_layer_norm_before", true);
  config_must_be(j, "_remove_final_layer_norm", false);
  config_must_be(j, "layer_norm_elementwise_affine", true);
  config_must_be(j, "word_embed_proj_dim", c.hidden);
  c.max_positions = config_size(j, {"max_position_embeddings"}, 1 << 24, 2048);
  config_activation(j, "activation_function", "relu");
  return c;
}

}  // namespace

constinit const Arch opt = {
    .name = "OPTForCausalLM",
    .model_type = "opt",
    .blocks = "model.decoder.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<OptBlock>(c);
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(
          StandardEnds::Layout{.hidden = c.hidden,
                               .vocab = c.vocab,
                               .embedding = "model.decoder.embed_tokens",
                               .positions = "model.decoder.embed_positions",
                               .position_rows = c.max_positions + position_offset,
                               .position_offset = position_offset,
                               .final_norm = "model.decoder.final_layer_norm",
                               .final_norm_kind = LayerNorm{.size = c.hidden, .eps = c.norm_eps},
                               .head = "lm_head",
                               .tied_head = c.tied_head});
    },
    .positions_from_mask = true,
};

}  // namespace quaver
