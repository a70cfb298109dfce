// OLMoE (Muennighoff et al. 2024): Llama with norms on all of q and k and a mixture of experts.
#include "models/standard_block.h"

namespace quaver::family::olmoe {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  const auto norm = [&](std::int64_t size) { return RmsNorm{.size = size, .eps = c.norm_eps}; };
  norm_heads(l, c);
  l.attention.q_norm_kind = norm(c.heads * c.head_dim);
  l.attention.k_norm_kind = norm(c.kv_heads * c.head_dim);
  l.attention.norm_each_head = false;
  // Norms come before the clipping here, which a norm behind it would undo.
  l.attention.clip = config_float(c.json, "clip_qkv", 0);
  l.attention.clip_after_norm = true;
  l.mlp =
      mixture_mlp({.experts = config_size(c.json, {"num_experts", "num_local_experts"}, 4096, 64),
                   .sizes = {.hidden = c.hidden,
                             .inner = c.intermediate,
                             .function = config_activation(c.json, "hidden_act", "silu")},
                   .router = config_router(
                       c.json, 8, json_bool(c.json, "norm_topk_prob", config_file, false))});
  return l;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  layout(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "OlmoeForCausalLM",
    .model_type = "olmoe",
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

}  // namespace quaver::family::olmoe
