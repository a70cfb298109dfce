// InternLM 2 and 2.5 (Cai et al. 2024): Llama under names of its own, with q, k and v in one
// linear, key head by key head.
#include "models/standard_block.h"

namespace quaver::family::internlm2 {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.attention.qkv = "attention.wqkv";
  l.attention.partitions = c.kv_heads;  // a group of queries, its key, its value
  l.attention.o = "attention.wo";
  l.attention.bias = l.attention.o_bias = json_bool(c.json, "bias", config_file, true);
  l.attention_norm = "attention_norm";
  l.mlp_norm = "ffn_norm";
  l.mlp = gated_mlp({.prefix = "feed_forward", .gate = "w1", .up = "w3", .down = "w2"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "hidden_act", "silu")});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.embedding = "model.tok_embeddings";
  e.head = "output";
  return e;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "InternLM2ForCausalLM",
    .model_type = "internlm2",
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

}  // namespace quaver::family::internlm2
