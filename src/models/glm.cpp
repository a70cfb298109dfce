// GLM-4 in its converted form (Zhipu 2024): half of each head rotates in pairs, gate and up in one.
// GLM-4-0414 (2025) has norms behind attention and MLP too.
#include "models/standard_block.h"

namespace quaver::family::glm {
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

BlockLayout layout4(const Config& c) {
  BlockLayout l = layout(c);
  l.attention_output_norm = "post_self_attn_layernorm";
  l.mlp_output_norm = "post_mlp_layernorm";
  l.attention_output_norm_kind = l.mlp_output_norm_kind =
      RmsNorm{.size = c.hidden, .eps = c.norm_eps};
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

extern constinit const Arch arch = {
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

extern constinit const Arch arch_0414 = {
    .name = "Glm4ForCausalLM",
    .model_type = "glm4",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout4(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::glm
