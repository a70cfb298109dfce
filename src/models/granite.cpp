// Granite 3 (IBM 2024): Llama with factors on embeddings, scores, residuals and logits; its MoE
// models stack all experts in two tensors.
#include "models/standard_block.h"

namespace quaver::family::granite {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.attention.core.shape.scale = config_float(c.json, "attention_multiplier", 1);
  l.residual_scale = config_float(c.json, "residual_multiplier", 1);
  return l;
}

BlockLayout mixture_layout(const Config& c) {
  BlockLayout l = layout(c);
  Experts::Router router = config_router(c.json, 2, false);
  router.softmax_chosen = true;
  l.mlp = mixture_mlp({.prefix = "block_sparse_moe",
                       .experts = config_size(c.json, {"num_local_experts"}, 4096, 8),
                       .expert_names = {"input_linear.#.linear", "", "output_linear.#.linear"},
                       .sizes = {.hidden = c.hidden,
                                 .inner = c.intermediate,
                                 .function = config_activation(c.json, "hidden_act", "silu")},
                       .router = router,
                       .router_name = "router.layer",
                       .expert_prefix = "",
                       .stacked_gate_up = "input_linear.weight",
                       .stacked_down = "output_linear.weight"});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.embedding_scale = config_float(c.json, "embedding_multiplier", 1);
  e.logit_scale = 1 / config_float(c.json, "logits_scaling", 1);
  return e;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "GraniteForCausalLM",
    .model_type = "granite",
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

extern constinit const Arch arch_moe = {
    .name = "GraniteMoeForCausalLM",
    .model_type = "granitemoe",
    .blocks = "model.layers",
    .config = llama_config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, mixture_layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::granite
