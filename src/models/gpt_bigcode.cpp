// GPT-BigCode, StarCoder (Li et al. 2023): GPT-2 with one key head for all.
#include "models/standard_block.h"

namespace quaver::family::gpt_bigcode {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

BlockLayout layout(const Config& c, int) {
  BlockLayout l;
  l.attention.qkv = "attn.c_attn";
  l.attention.o = "attn.c_proj";
  l.attention.bias = l.attention.o_bias = true;
  AttentionShape& shape = l.attention.core.shape = standard_attention(c);
  if (json_bool(c.json, "multi_query", config_file, true))
    shape.kv_heads = 1;
  else
    l.attention.partitions = c.heads;  // stored head by head
  if (!json_bool(c.json, "scale_attn_weights", config_file, true)) shape.scale = 1;
  l.attention_norm = "ln_1";
  l.mlp_norm = "ln_2";
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp =
      plain_mlp({.up = "c_fc", .down = "c_proj"},
                {.hidden = c.hidden,
                 .inner = c.intermediate,
                 .function = config_activation(c.json, "activation_function", "gelu_pytorch_tanh"),
                 .bias = true});
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
  Json named = j;
  named.erase("num_key_value_heads");  // says what multi_query says
  Config c = standard_config(named);
  c.json = j;
  config_plain_heads(c);
  c.max_positions = config_size(j, {"n_positions"}, 1 << 24, 1024);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  config_must_be(j, "add_cross_attention", false);
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "GPTBigCodeForCausalLM",
    .model_type = "gpt_bigcode",
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

}  // namespace quaver::family::gpt_bigcode
