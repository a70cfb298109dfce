// Baichuan and Baichuan 2 (Yang et al. 2023): Llama with q, k and v in one linear. 7B has rotary
// positions, 13B has ALiBi; the head of Baichuan 2 has rows of length 1.
#include "models/standard_block.h"

namespace quaver::family::baichuan {
namespace {

// The published codes of 7B and 13B share their names. They differ in the configuration: 7B's has
// max_position_embeddings, 13B's has none and calls its training length model_max_length.
bool has_rotary_positions(const Json& j) {
  const auto has = [&](const char* key) { return j.contains(key) && !j[key].is_null(); };
  ensure_file(has("max_position_embeddings") || has("model_max_length"), config_file,
              ": neither 'max_position_embeddings' (rotary positions) nor 'model_max_length' "
              "(without the former: ALiBi) is there to tell Baichuan's two kinds apart");
  return has("max_position_embeddings");
}

// Baichuan 2 is told from Baichuan by its vocabulary, as no published configuration says it;
// `norm_head` says it for models of another size.
bool has_unit_head(const Config& c) {
  return json_bool(c.json, "norm_head", config_file, c.vocab == 125696);
}

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.attention.qkv = "self_attn.W_pack";
  if (!has_rotary_positions(c.json)) {
    l.attention.core.rope = {};
    l.attention.core.slopes = alibi_slopes(c.heads);
  }
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.unit_head = has_unit_head(c);
  return e;
}

Config config(const Json& j) {
  const Config c = llama_config(j);
  config_plain_heads(c);
  if (!has_rotary_positions(j))
    for (const char* key : {"rope_scaling", "rope_parameters", "rope_theta"})
      config_must_be(j, key, nullptr);
  if (has_unit_head(c)) config_must_be(j, "tie_word_embeddings", false);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "BaichuanForCausalLM",
    .model_type = "baichuan",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
    .alias = "BaiChuanForCausalLM",
};

}  // namespace quaver::family::baichuan
