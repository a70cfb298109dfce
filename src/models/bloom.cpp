// BLOOM (BigScience 2022): ALiBi, a norm on the embeddings, q, k and v stored head by head.
#include "models/arch.h"
#include "nn/attention.h"
#include "nn/ends.h"

namespace quaver::family::bloom {
namespace {

class BloomBlock final : public Block {
 public:
  explicit BloomBlock(const Config& c)
      : attention_norm_{.size = c.hidden, .eps = c.norm_eps},
        mlp_norm_{.size = c.hidden, .eps = c.norm_eps},
        residual_after_norm_(
            json_bool(c.json, "apply_residual_connection_post_layernorm", config_file, false)) {
    qkv_ = {.outputs = 3 * c.hidden, .inputs = c.hidden, .has_bias = true};
    dense_ = {.outputs = c.hidden, .inputs = c.hidden, .has_bias = true};
    up_ = {.outputs = c.intermediate, .inputs = c.hidden, .has_bias = true};
    down_ = {.outputs = c.hidden, .inputs = c.intermediate, .has_bias = true};
    attention_.shape = standard_attention(c);
    attention_.slopes = alibi_slopes(c.heads);
  }

  void visit(Visitor& v) override {
    v("input_layernorm", attention_norm_);
    v("self_attention.query_key_value", qkv_);
    v("self_attention.dense", dense_);
    v("post_attention_layernorm", mlp_norm_);
    v("mlp.dense_h_to_4h", up_);
    v("mlp.dense_4h_to_h", down_);
  }

  Tensor forward(const Tensor& x, Step& step) override {
    const Tensor a = attention_norm_(x);
    const Tensor h = (residual_after_norm_ ? a : x) + dense_(attended(a, step), step);
    const Tensor m = mlp_norm_(h);
    return (residual_after_norm_ ? m : h) + down_(widened(m, step), step);
  }

 private:
  // Functions of their own, so that what only they need is freed before the next linear.
  Tensor attended(const Tensor& x, Step& step) const {
    Qkv s = split_heads(qkv_(x, step), attention_.shape.heads, attention_.shape.head_dim);
    return attention_(std::move(s.q), std::move(s.k), s.v, step);
  }
  Tensor widened(const Tensor& x, Step& step) const {
    return activation(up_(x, step), Activation::gelu_tanh);
  }

  LayerNorm attention_norm_, mlp_norm_;
  Linear qkv_, dense_, up_, down_;
  SelfAttention attention_;
  bool residual_after_norm_;
};

Config config(const Json& j) {
  Json named = j;  // the MLP is always four times as wide
  named["intermediate_size"] = 4 * config_size(j, {"hidden_size", "n_embed"}, 1 << 20);
  Config c = standard_config(named);
  c.json = j;
  config_plain_heads(c);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  c.max_positions = 0;  // ALiBi has no table that ends; seq_length is the training length
  // slow_but_exact and pretraining_tp change how the reference sums, not what it computes.
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "BloomForCausalLM",
    .model_type = "bloom",
    .blocks = "transformer.h",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<BloomBlock>(c);
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      const LayerNorm norm{.size = c.hidden, .eps = c.norm_eps};
      return std::make_unique<StandardEnds>(
          StandardEnds::Layout{.hidden = c.hidden,
                               .vocab = c.vocab,
                               .embedding = "transformer.word_embeddings",
                               .embedding_norm = "transformer.word_embeddings_layernorm",
                               .embedding_norm_kind = norm,
                               .final_norm = "transformer.ln_f",
                               .final_norm_kind = norm,
                               .head = "lm_head",
                               .tied_head = c.tied_head});
    },
};

}  // namespace quaver::family::bloom
