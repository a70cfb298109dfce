// GPT-2 (Radford et al. 2019): layer norms, learned positions; its linears are stored transposed.
#include "models/standard_block.h"

namespace quaver::family::gpt2 {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l;
  l.attention.qkv = "attn.c_attn";
  l.attention.o = "attn.c_proj";
  l.attention.bias = l.attention.o_bias = l.attention.transposed = true;
  AttentionShape& shape = l.attention.core.shape = standard_attention(c);
  if (!json_bool(c.json, "scale_attn_weights", config_file, true)) shape.scale = 1;
  if (json_bool(c.json, "scale_attn_by_inverse_layer_idx", config_file, false))
    shape.scale /= static_cast<float>(layer + 1);
  l.attention_norm = "ln_1";
  l.mlp_norm = "ln_2";
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp = plain_mlp({.up = "c_fc", .down = "c_proj"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "activation_function", "gelu_new"),
                     .bias = true,
                     .transposed = true});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  return {.hidden = c.hidden,
          .vocab = c.vocab,
          .embedding = "transformer.wte",
          .positions = "transformer.wpe",
          .position_rows = c.max_positions,
          .final_norm = "transformer.ln_f",
          .final_norm_kind = norm(c),
          .head = "lm_head",
          .tied_head = c.tied_head};
}

Config config(const Json& j) {
  Config c = standard_config(j);
  config_plain_heads(c);
  c.max_positions = config_size(j, {"n_positions"}, 1 << 24, 1024);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  config_must_be(j, "add_cross_attention", false);
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "GPT2LMHeadModel",
    .model_type = "gpt2",
    .blocks = "transformer.h",
    .config = config,
    .block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c, layer));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers =
        [] {
          return std::vector<std::string_view>{"attn.bias", "attn.masked_bias"};
        },
};

}  // namespace quaver::family::gpt2
