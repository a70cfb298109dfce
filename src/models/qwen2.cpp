// Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on q, k and v.
#include "models/standard_block.h"

namespace quaver::family::qwen2 {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  l.attention.bias = true;
  l.attention.o_bias = false;
  l.attention.core.shape.window = qwen_window(c.json, layer);
  return l;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Qwen2ForCausalLM",
    .model_type = "qwen2",
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

}  // namespace quaver::family::qwen2
