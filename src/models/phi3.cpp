// Phi-3 and Phi-4 (Abdin et al. 2024): Llama with q, k, v in one linear, gate and up in another.
#include "models/standard_block.h"

namespace quaver {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  l.attention.qkv = "self_attn.qkv_proj";
  l.attention.core.shape.window = config_window(c.json, layer);
  l.mlp = fused_mlp({.gate = "gate_up_proj"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "hidden_act", "silu")});
  return l;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  return c;
}

}  // namespace

constinit const Arch phi3 = {
    .name = "Phi3ForCausalLM",
    .model_type = "phi3",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c, layer));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver
