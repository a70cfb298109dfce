// Mixtral (Jiang et al. 2024): Mistral with a mixture of experts for an MLP.
#include "models/standard_block.h"

namespace quaver::family::mixtral {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c, {.default_theta = 1e6});
  l.attention.core.shape.window = config_window(c.json, layer);
  l.mlp = mixture_mlp({.prefix = "block_sparse_moe",
                       .experts = config_size(c.json, {"num_local_experts"}, 4096, 8),
                       .expert_names = {.gate = "w1", .up = "w3", .down = "w2"},
                       .sizes = {.hidden = c.hidden,
                                 .inner = c.intermediate,
                                 .function = config_activation(c.json, "hidden_act", "silu")},
                       .router = config_router(c.json, 2, true)});
  return l;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "MixtralForCausalLM",
    .model_type = "mixtral",
    .blocks = "model.layers",
    .config =
        [](const Json& j) {
          Config c = llama_config(j);
          c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
          layout(c, 0);
          return c;
        },
    .block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c, layer));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::mixtral
