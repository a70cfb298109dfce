// ChatGLM 2 and 3, and GLM-4 as first published (Zeng et al. 2024): half of each head rotates, in
// pairs; few key heads, gate and up in one linear.
#include "models/standard_block.h"

namespace quaver::family::chatglm {
namespace {

Norm norm(const Config& c) {
  if (json_bool(c.json, "rmsnorm", config_file, true))
    return RmsNorm{.size = c.hidden, .eps = c.norm_eps};
  return LayerNorm{.size = c.hidden, .eps = c.norm_eps};
}

bool is_multi_query(const Json& j) {
  return json_bool(j, "multi_query_attention", config_file, false);
}

BlockLayout layout(const Config& c) {
  const bool bias = json_bool(c.json, "add_bias_linear", config_file, false);
  BlockLayout l;
  l.attention.qkv = "self_attention.query_key_value";
  if (!is_multi_query(c.json)) l.attention.partitions = c.heads;  // head by head
  l.attention.o = "self_attention.dense";
  l.attention.bias = bias || json_bool(c.json, "add_qkv_bias", config_file, false);
  l.attention.o_bias = bias;
  l.attention.core.shape = standard_attention(c);
  // rope_ratio multiplies the base in ChatGLM 3 and GLM-4. Of all published models only
  // ChatGLM2-6B-32K divides the positions by it, which nothing in its configuration says.
  l.attention.core.rope = make_rope(
      {.theta = 10000.0 * config_float(c.json, "rope_ratio", 1), .partial = 0.5}, c.head_dim, true);
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp = fused_mlp({.gate = "dense_h_to_4h", .down = "dense_4h_to_h"},
                    {.hidden = c.hidden, .inner = c.intermediate, .bias = bias});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  const bool normed = json_bool(c.json, "post_layer_norm", config_file, true);
  return {.hidden = c.hidden,
          .vocab = c.vocab,
          .embedding = "transformer.embedding.word_embeddings",
          .final_norm = "transformer.encoder.final_layernorm",
          .final_norm_kind = normed ? norm(c) : Norm{},
          .head = "transformer.output_layer",
          .tied_head = c.tied_head};
}

Config config(const Json& j) {
  Json named = j;  // its own names of the usual numbers
  for (const auto& [from, to] :
       {std::pair{"padded_vocab_size", "vocab_size"},
        std::pair{"ffn_hidden_size", "intermediate_size"}, std::pair{"kv_channels", "head_dim"},
        std::pair{"seq_length", "max_position_embeddings"}})
    if (j.contains(from)) named[to] = j[from];
  named.erase("num_key_value_heads");
  if (is_multi_query(j))
    named["num_key_value_heads"] = config_size(j, {"multi_query_group_num"}, 1 << 20, 1);
  Config c = standard_config(named);
  c.json = j;
  c.norm_eps = config_float(j, "layernorm_epsilon", 1e-5);
  ensure_file(config_float(j, "rope_ratio", 1) > 0, config_file, ": 'rope_ratio' is not positive");
  for (const char* key :
       {"apply_residual_connection_post_layernorm", "position_encoding_2d", "interleaved_qkv"})
    config_must_be(j, key, false);
  config_must_be(j, "original_rope", true);
  config_must_be(j, "quantization_bit", 0);
  config_must_be(j, "pre_seq_len", nullptr);
  layout(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "ChatGLMModel",
    .model_type = "chatglm",
    .blocks = "transformer.encoder.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = [] { return std::vector<std::string_view>{"rotary_pos_emb.inv_freq"}; },
    .alias = "ChatGLMForConditionalGeneration",
};

}  // namespace quaver::family::chatglm
