// Phi-1.5 and Phi-2 (Li et al. 2023): attention and MLP side by side behind one norm, partial
// rotary positions, biases everywhere.
#include "models/standard_block.h"

namespace quaver::family::phi {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c, {.default_partial = 0.5});
  l.attention.o = "self_attn.dense";
  l.attention.bias = l.attention.o_bias = true;
  if (json_bool(c.json, "qk_layernorm", config_file, false)) {
    l.attention.q_norm = "self_attn.q_layernorm";
    l.attention.k_norm = "self_attn.k_layernorm";
    l.attention.q_norm_kind = l.attention.k_norm_kind =
        LayerNorm{.size = c.head_dim, .eps = c.norm_eps};
  }
  l.parallel = true;
  l.attention_norm_kind = norm(c);
  l.mlp_norm_kind = {};
  l.mlp = plain_mlp({.up = "fc1", .down = "fc2"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "hidden_act", "gelu_new"),
                     .bias = true});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.final_norm = "model.final_layernorm";
  e.final_norm_kind = norm(c);
  e.head_bias = true;
  return e;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "layer_norm_eps", 1e-5);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "PhiForCausalLM",
    .model_type = "phi",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::phi
