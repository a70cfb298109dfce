// Seed-OSS (ByteDance 2025): Llama with biases on q, k and v, and a switch of its own for o's.
#include "models/standard_block.h"

namespace quaver::family::seed_oss {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.attention.bias = json_bool(c.json, "attention_bias", config_file, true);
  l.attention.o_bias = json_bool(c.json, "attention_out_bias", config_file, false);
  return l;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "SeedOssForCausalLM",
    .model_type = "seed_oss",
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

}  // namespace quaver::family::seed_oss
