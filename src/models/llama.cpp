// Llama (Touvron et al. 2023), 1 to 3.3: RMS norms, rotary positions, grouped heads, gated SiLU.
#include "models/standard_block.h"

namespace quaver::family::llama {
namespace {

BlockLayout layout(const Config& c) { return llama_layout(c); }

}  // namespace

extern constinit const Arch arch = {
    .name = "LlamaForCausalLM",
    .model_type = "llama",
    .blocks = "model.layers",
    .config = llama_config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::llama
