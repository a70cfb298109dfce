// Qwen3-MoE (Yang et al. 2025): Qwen3 with a mixture of experts in most layers.
#include "models/standard_block.h"

namespace quaver::family::qwen3_moe {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  norm_heads(l, c);
  // Unlike its relatives', all layers have the window, whatever max_window_layers says.
  if (json_bool(c.json, "use_sliding_window", config_file, false))
    l.attention.core.shape.window = config_size(c.json, {"sliding_window"}, 1 << 28, 4096);
  if (!is_sparse(c.json, layer)) return l;
  l.mlp =
      mixture_mlp({.experts = config_size(c.json, {"num_experts", "num_local_experts"}, 4096, 128),
                   .sizes = {.hidden = c.hidden,
                             .inner = config_size(c.json, {"moe_intermediate_size"}, 1 << 23, 768),
                             .function = config_activation(c.json, "hidden_act", "silu")},
                   .router = config_router(
                       c.json, 8, json_bool(c.json, "norm_topk_prob", config_file, false))});
  return l;
}

Config config(const Json& j) {
  const Config c = llama_config(j);
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Qwen3MoeForCausalLM",
    .model_type = "qwen3_moe",
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

}  // namespace quaver::family::qwen3_moe
