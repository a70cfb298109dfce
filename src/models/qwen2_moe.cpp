// Qwen1.5-MoE and Qwen2-MoE (Qwen team 2024): Qwen2 with a mixture of experts and a gated shared
// one.
#include "models/standard_block.h"

namespace quaver::family::qwen2_moe {
namespace {

// Every other layer of the first ones slides.
std::int64_t window(const Json& j, int layer) {
  if (!json_bool(j, "use_sliding_window", config_file, false)) return 0;
  if (j.contains("layer_types")) return config_window(j, layer, {.window = 4096});
  const bool slides = layer % 2 == 0 && layer < json_int(j, "max_window_layers", config_file, 28);
  return slides ? config_window(j, layer, {.window = 4096}) : 0;
}

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  l.attention.bias = json_bool(c.json, "qkv_bias", config_file, true);
  l.attention.o_bias = false;
  l.attention.core.shape.window = window(c.json, layer);
  if (!is_sparse(c.json, layer)) return l;
  l.mlp = mixture_mlp(
      {.experts = config_size(c.json, {"num_experts", "num_local_experts"}, 4096, 60),
       .sizes = {.hidden = c.hidden,
                 .inner = config_size(c.json, {"moe_intermediate_size"}, 1 << 23, 1408),
                 .function = config_activation(c.json, "hidden_act", "silu")},
       .router = config_router(c.json, 4, json_bool(c.json, "norm_topk_prob", config_file, false)),
       .shared_inner = config_size(c.json, {"shared_expert_intermediate_size"}, 1 << 23, 5632),
       .shared_name = "shared_expert",
       .shared_gate = "shared_expert_gate"});
  return l;
}

Config config(const Json& j) {
  const Config c = llama_config(j);
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Qwen2MoeForCausalLM",
    .model_type = "qwen2_moe",
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

}  // namespace quaver::family::qwen2_moe
