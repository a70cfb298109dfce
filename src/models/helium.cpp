// Helium (Kyutai 2025): Llama with interleaved positions.
#include "models/standard_block.h"

namespace quaver::family::helium {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c, {.default_theta = 1e5});
  l.attention.o_bias = false;
  l.attention.core.rope.interleaved = true;
  return l;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-8);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "HeliumForCausalLM",
    .model_type = "helium",
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

}  // namespace quaver::family::helium
