// Mistral (Jiang et al. 2023): Llama with a sliding window.
#include "models/standard_block.h"

namespace quaver::family::mistral {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  l.attention.core.shape.window = config_window(c.json, layer, {.window = 4096});
  return l;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "MistralForCausalLM",
    .model_type = "mistral",
    .blocks = "model.layers",
    .config = llama_config,
    .block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c, layer));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::mistral
