// OLMo (Groeneveld et al. 2024): Llama with layer norms that have no parameters, and clipped q, k,
// v.
#include "models/standard_block.h"

namespace quaver::family::olmo {
namespace {

LayerNorm norm(const Config& c) {
  return {.size = c.hidden, .eps = 1e-5f, .has_bias = false, .has_weight = false};
}

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.attention.clip = config_float(c.json, "clip_qkv", 0);
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.final_norm_kind = norm(c);
  return e;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "OlmoForCausalLM",
    .model_type = "olmo",
    .blocks = "model.layers",
    .config = llama_config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::olmo
