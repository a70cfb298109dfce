// Falcon (Almazrouei et al. 2023): 7B with one key head and one norm, 40B and 180B with groups and
// two norms, RW with ALiBi and serial halves.
#include <bit>
#include <cmath>

#include "models/standard_block.h"

namespace quaver::family::falcon {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

bool is_new(const Config& c) {
  return json_bool(c.json, "new_decoder_architecture", config_file, false);
}

void set_norms(BlockLayout& l, const Config& c) {
  l.attention_norm_kind = norm(c);
  l.parallel = is_new(c) || json_bool(c.json, "parallel_attn", config_file, true);
  if (is_new(c) && config_size(c.json, {"num_ln_in_parallel_attn"}, 2, 2) == 2) {
    l.attention_norm = "ln_attn";
    l.mlp_norm = "ln_mlp";
    l.mlp_norm_kind = norm(c);
  } else if (!l.parallel) {
    l.mlp_norm_kind = norm(c);
  }
}

// Falcon scales the sum of score and bias. Its slopes were rounded to bf16; its reference also
// rounds their products with the positions, which is not done here.
Tensor slopes(const Config& c) {
  Tensor s = alibi_slopes(c.heads);
  for (float& v : s.data<float>()) {
    const auto bits = std::bit_cast<std::uint32_t>(v);
    v = std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
    v /= std::sqrt(static_cast<float>(c.head_dim));
  }
  return s;
}

BlockLayout layout(const Config& c) {
  const bool bias = json_bool(c.json, "bias", config_file, false);
  BlockLayout l;
  l.attention.qkv = "self_attention.query_key_value";
  l.attention.o = "self_attention.dense";
  l.attention.bias = l.attention.o_bias = bias;
  AttentionShape& shape = l.attention.core.shape = standard_attention(c);
  if (!is_new(c)) shape.kv_heads = c.heads;
  if (!is_new(c) && json_bool(c.json, "multi_query", config_file, true))
    shape.kv_heads = 1;
  else
    l.attention.partitions = shape.kv_heads;  // a group of queries, its key, its value
  if (json_bool(c.json, "alibi", config_file, false))
    l.attention.core.slopes = slopes(c);
  else
    l.attention.core.rope = make_rope(config_rope(c.json), c.head_dim);
  set_norms(l, c);
  l.mlp = plain_mlp({.up = "dense_h_to_4h", .down = "dense_4h_to_h"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "activation", "gelu"),
                     .bias = bias});
  return l;
}

Config config(const Json& j) {
  Json named = j;
  if (j.contains("num_kv_heads")) named["num_key_value_heads"] = j["num_kv_heads"];
  if (j.contains("ffn_hidden_size")) named["intermediate_size"] = j["ffn_hidden_size"];
  if (!json_bool(j, "new_decoder_architecture", config_file, false))
    named.erase("num_key_value_heads");
  Config c = standard_config(named);
  c.json = j;
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  layout(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "FalconForCausalLM",
    .model_type = "falcon",
    .blocks = "transformer.h",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(
          StandardEnds::Layout{.hidden = c.hidden,
                               .vocab = c.vocab,
                               .embedding = "transformer.word_embeddings",
                               .final_norm = "transformer.ln_f",
                               .final_norm_kind = norm(c),
                               .head = "lm_head",
                               .tied_head = c.tied_head});
    },
    .buffers =
        [] {
          return std::vector<std::string_view>{"rotary_emb.inv_freq", "maybe_rotary.inv_freq"};
        },
};

}  // namespace quaver::family::falcon
