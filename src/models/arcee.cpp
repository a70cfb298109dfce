// AFM (Arcee 2025): Llama with a plain MLP of squared ReLUs.
#include "models/standard_block.h"

namespace quaver::family::arcee {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.mlp = plain_mlp({}, {.hidden = c.hidden,
                         .inner = c.intermediate,
                         .function = config_activation(c.json, "hidden_act", "relu2"),
                         .bias = json_bool(c.json, "mlp_bias", config_file, false)});
  return l;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "ArceeForCausalLM",
    .model_type = "arcee",
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

}  // namespace quaver::family::arcee
