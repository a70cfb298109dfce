// SmolLM3 (Hugging Face 2025): Llama whose every fourth layer has no positions.
#include "models/standard_block.h"

namespace quaver::family::smollm3 {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c, {.default_theta = 2e6});
  if (!config_rotates(c.json, layer)) l.attention.core.rope = {};
  if (json_bool(c.json, "use_sliding_window", config_file, false))
    l.attention.core.shape.window = config_window(c.json, layer);
  return l;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "SmolLM3ForCausalLM",
    .model_type = "smollm3",
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

}  // namespace quaver::family::smollm3
