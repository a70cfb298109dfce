// EXAONE 4 (LG 2025): norms behind attention and MLP and on the heads of q and k; where layers
// slide, those that do not have no positions.
#include "models/standard_block.h"

namespace quaver::family::exaone4 {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c, {});
  norm_heads(l, c);
  l.attention.bias = l.attention.o_bias = false;
  const bool some_slide = config_size(c.json, {"sliding_window"}, 1 << 28,
                                      c.json.contains("sliding_window") ? 0 : 4096) > 0;
  const auto every = c.json.contains("layer_types")
                         ? 0
                         : config_size(c.json, {"sliding_window_pattern"}, 1 << 20, 4);
  if (some_slide)
    l.attention.core.shape.window =
        config_window(c.json, layer, {.window = 4096, .full_every = every});
  if (some_slide && l.attention.core.shape.window == 0) l.attention.core.rope = {};
  l.attention_norm_kind = l.mlp_norm_kind = {};
  l.attention_output_norm = "post_attention_layernorm";
  l.mlp_output_norm = "post_feedforward_layernorm";
  l.attention_output_norm_kind = l.mlp_output_norm_kind =
      RmsNorm{.size = c.hidden, .eps = c.norm_eps};
  return l;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Exaone4ForCausalLM",
    .model_type = "exaone4",
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

}  // namespace quaver::family::exaone4
