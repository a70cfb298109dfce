// StarCoder2 (Lozhkov et al. 2024): layer norms, rotary positions, grouped heads, a plain MLP.
#include "models/standard_block.h"

namespace quaver::family::starcoder2 {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  const bool bias = json_bool(c.json, "use_bias", config_file, true);
  l.attention.bias = l.attention.o_bias = bias;
  l.attention.core.shape.window = config_window(c.json, layer);
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp = plain_mlp({.up = "c_fc", .down = "c_proj"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "hidden_act", "gelu_pytorch_tanh"),
                     .bias = bias});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.final_norm_kind = norm(c);
  return e;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "norm_epsilon", 1e-5);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Starcoder2ForCausalLM",
    .model_type = "starcoder2",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c, layer));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::starcoder2
