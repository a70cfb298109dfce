// MPT (MosaicML 2023): ALiBi, norms and linears without biases.
#include "models/standard_block.h"

namespace quaver::family::mpt {
namespace {

Json attention_config(const Config& c) {
  const auto it = c.json.find("attn_config");
  return it != c.json.end() && it->is_object() ? *it : Json::object();
}

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps, .has_bias = false}; }

BlockLayout layout(const Config& c) {
  const Json a = attention_config(c);
  BlockLayout l;
  l.attention.qkv = "attn.Wqkv";
  l.attention.o = "attn.out_proj";
  l.attention.clip = config_float(a, "clip_qkv", 0);
  AttentionShape& shape = l.attention.core.shape = standard_attention(c);
  shape.scale = config_float(a, "softmax_scale", shape.scale);
  l.attention.core.slopes = alibi_slopes(c.heads, config_float(a, "alibi_bias_max", 8), true);
  l.attention_norm = "norm_1";
  l.mlp_norm = "norm_2";
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp = plain_mlp({.prefix = "ffn", .up = "up_proj", .down = "down_proj"},
                    {.hidden = c.hidden, .inner = c.intermediate, .function = Activation::gelu});
  return l;
}

Config config(const Json& j) {
  Json named = j;  // its own names of the usual numbers
  for (const auto& [from, to] : {std::pair{"n_heads", "n_head"}, std::pair{"n_layers", "n_layer"}})
    if (j.contains(from)) named[to] = j[from];
  Config c = standard_config(named);
  c.json = j;
  config_plain_heads(c);
  c.intermediate = 4 * c.hidden;  // the reference computes this whatever expansion_ratio says
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  const Json a = attention_config(c);
  for (const char* key : {"qk_ln", "prefix_lm", "attn_uses_sequence_id"})
    config_must_be(a, key, false);
  config_must_be(a, "alibi", true);
  config_must_be(a, "attn_type", "multihead_attention");
  config_must_be(j, "no_bias", true);
  config_must_be(j, "logit_scale", nullptr);
  layout(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "MptForCausalLM",
    .model_type = "mpt",
    .blocks = "transformer.blocks",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(StandardEnds::Layout{.hidden = c.hidden,
                                                                 .vocab = c.vocab,
                                                                 .embedding = "transformer.wte",
                                                                 .final_norm = "transformer.norm_f",
                                                                 .final_norm_kind = norm(c),
                                                                 .head = "lm_head",
                                                                 .tied_head = c.tied_head});
    },
};

}  // namespace quaver::family::mpt
