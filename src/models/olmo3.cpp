// OLMo 3 (OLMo team 2025): OLMo 2 with sliding windows in most layers, rotations by kind of layer.
#include "models/standard_block.h"

namespace quaver::family::olmo3 {
namespace {

BlockLayout layout(const Config& c, int layer) {
  const std::int64_t window = config_window(c.json, layer, {.window = 4096, .full_every = 4});
  BlockLayout l = llama_layout(
      c, {.default_theta = 5e5, .layer_type = window > 0 ? "sliding_attention" : "full_attention"});
  const auto norm = [&](std::int64_t size) { return RmsNorm{.size = size, .eps = c.norm_eps}; };
  l.attention.core.shape.window = window;
  l.attention.q_norm = "self_attn.q_norm";
  l.attention.k_norm = "self_attn.k_norm";
  l.attention.q_norm_kind = norm(c.heads * c.head_dim);
  l.attention.k_norm_kind = norm(c.kv_heads * c.head_dim);
  l.attention.norm_each_head = false;
  l.attention_norm_kind = l.mlp_norm_kind = {};
  l.attention_output_norm = "post_attention_layernorm";
  l.mlp_output_norm = "post_feedforward_layernorm";
  l.attention_output_norm_kind = l.mlp_output_norm_kind = norm(c.hidden);
  return l;
}

Config config(const Json& j) {
  Config c = standard_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Olmo3ForCausalLM",
    .model_type = "olmo3",
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

}  // namespace quaver::family::olmo3
