// GLM-4 in its converted form (Zhipu 2024): half of each head rotates in pairs, gate and up in one.
#include "models/standard_block.h"

namespace quaver {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c, {.default_partial = 0.5});
  l.attention.o_bias = false;
  l.attention.core.rope.interleaved = true;
  l.mlp = fused_mlp({.gate = "gate_up_proj"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "hidden_act", "silu")});
  return l;
}

Config config(const Json& j) {
  Json named = j;
  if (!j.contains("head_dim")) named["head_dim"] = 128;
  Config c = llama_config(named);
  c.json = j;
  c.norm_eps = config_float(j, "rms_norm_eps", 1.5625e-7);
  return c;
}

}  // namespace

constinit const Arch glm = {
    .name = "GlmForCausalLM",
    .model_type = "glm",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver
