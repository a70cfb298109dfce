// Nemotron-4 and Minitron (NVIDIA 2024): layer norms with 1 + gain, partial positions, squared
// ReLUs.
#include "models/standard_block.h"

namespace quaver::family::nemotron {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps, .offset = 1}; }

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c, {.default_partial = 0.5});
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp = plain_mlp({}, {.hidden = c.hidden,
                         .inner = c.intermediate,
                         .function = config_activation(c.json, "hidden_act", "relu2"),
                         .bias = json_bool(c.json, "mlp_bias", config_file, false)});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.final_norm_kind = norm(c);
  return e;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "norm_eps", 1e-5);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "NemotronForCausalLM",
    .model_type = "nemotron",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::nemotron
