// OPT (Zhang et al. 2022): learned positions, ReLU, biases. 350M differs from the other sizes: its
// norms come after what is added, and its tables are narrower than its blocks.
#include "models/arch.h"
#include "nn/attention.h"
#include "nn/ends.h"

namespace quaver::family::opt {
namespace {

// Rows of the position table before position 0, an inheritance from fairseq's padding index.
constexpr std::int64_t position_offset = 2;

bool has_norms_first(const Config& c) {
  return json_bool(c.json, "do_layer_norm_before", config_file, true);
}

LayerNorm norm(const Config& c) {
  const bool affine = json_bool(c.json, "layer_norm_elementwise_affine", config_file, true);
  return {.size = c.hidden, .eps = c.norm_eps, .has_bias = affine, .has_weight = affine};
}

class OptBlock final : public Block {
 public:
  explicit OptBlock(const Config& c)
      : attention_norm_(norm(c)),
        mlp_norm_(norm(c)),
        norm_first_(has_norms_first(c)),
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
    if (!norm_first_) {
      const Tensor h = attention_norm_(x + o_(attended(x, step), step));
      return mlp_norm_(h + fc2_(widened(h, step), step));
    }
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
  bool norm_first_;
  Linear q_, k_, v_, o_, fc1_, fc2_;
  SelfAttention attention_;
  Activation function_;
};

StandardEnds::Layout ends(const Config& c) {
  const bool normed =
      has_norms_first(c) && !json_bool(c.json, "_remove_final_layer_norm", config_file, false);
  StandardEnds::Layout e = {.hidden = c.hidden,
                            .vocab = c.vocab,
                            .embedding = "model.decoder.embed_tokens",
                            .positions = "model.decoder.embed_positions",
                            .position_rows = c.max_positions + position_offset,
                            .position_offset = position_offset,
                            .final_norm = "model.decoder.final_layer_norm",
                            .final_norm_kind = normed ? Norm(norm(c)) : Norm(),
                            .head = "lm_head",
                            .tied_head = c.tied_head};
  const std::int64_t width = config_size(c.json, {"word_embed_proj_dim"}, 1 << 20, c.hidden);
  if (width != c.hidden) {
    e.table_width = width;
    e.project_in = "model.decoder.project_in";
    e.project_out = "model.decoder.project_out";
  }
  return e;
}

Config config(const Json& j) {
  Json named = j;  // OPT's own name for the width of its MLP
  if (!named.contains("intermediate_size") && named.contains("ffn_dim"))
    named["intermediate_size"] = named["ffn_dim"];
  Config c = standard_config(named);
  c.json = j;
  config_plain_heads(c);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  c.max_positions = config_size(j, {"max_position_embeddings"}, 1 << 24, 2048);
  config_activation(j, "activation_function", "relu");
  ends(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "OPTForCausalLM",
    .model_type = "opt",
    .blocks = "model.decoder.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<OptBlock>(c);
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .positions_from_mask = true,
};

}  // namespace quaver::family::opt
