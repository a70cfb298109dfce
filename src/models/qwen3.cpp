// Qwen3 (Yang et al. 2025): Llama with norms on the heads of q and k.
#include "models/standard_block.h"

namespace quaver::family::qwen3 {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  norm_heads(l, c);
  l.attention.core.shape.window = qwen_window(c.json, layer);
  return l;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Qwen3ForCausalLM",
    .model_type = "qwen3",
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

}  // namespace quaver::family::qwen3
