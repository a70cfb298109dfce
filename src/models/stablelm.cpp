// StableLM (Stability AI 2023): Llama with layer norms and partial rotary positions.
#include "models/standard_block.h"

namespace quaver {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c, {.default_partial = 0.25});
  l.attention.bias = json_bool(c.json, "use_qkv_bias", config_file, false);
  l.attention.o_bias = false;
  l.parallel = json_bool(c.json, "use_parallel_residual", config_file, false);
  l.attention_norm_kind = norm(c);
  if (!l.parallel) l.mlp_norm_kind = norm(c);
  if (l.parallel) l.mlp_norm_kind = {};
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.final_norm_kind = norm(c);
  return e;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "layer_norm_eps", 1e-5);
  config_must_be(j, "qk_layernorm", false);
  return c;
}

}  // namespace

constinit const Arch stablelm = {
    .name = "StableLmForCausalLM",
    .model_type = "stablelm",
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

}  // namespace quaver
