// Phi-3 and Phi-4 (Abdin et al. 2024): Llama with q, k, v in one linear, gate and up in another.
#include <limits>

#include "models/standard_block.h"

namespace quaver::family::phi3 {
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
  Json named = j;
  if (!j.contains("max_position_embeddings")) named["max_position_embeddings"] = 4096;
  Config c = llama_config(named);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  return c;
}

// Where the long factors take over from the short ones.
std::int64_t trained_length(const Config& c) {
  const RopeScaling scaling = config_rope(c.json).scaling;
  return scaling.kind == RopeScaling::Kind::longrope
             ? static_cast<std::int64_t>(scaling.original_positions)
             : std::numeric_limits<std::int64_t>::max();
}

}  // namespace

extern constinit const Arch arch = {
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
    // Where the long factors take over from the short ones.
    .recompute_above = trained_length,
};

}  // namespace quaver::family::phi3
