// ERNIE 4.5, dense (Baidu 2025): Llama with one switch for all biases and interleaved positions.
#include "models/standard_block.h"

namespace quaver::family::ernie4_5 {
namespace {

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c, {.default_theta = 5e5});
  const bool bias = json_bool(c.json, "use_bias", config_file, false);
  l.attention.bias = l.attention.o_bias = bias;
  l.attention.core.rope.interleaved = true;
  l.mlp = gated_mlp({}, {.hidden = c.hidden,
                         .inner = c.intermediate,
                         .function = config_activation(c.json, "hidden_act", "silu"),
                         .bias = bias});
  return l;
}

Config config(const Json& j) {
  Json named = j;
  if (!j.contains("head_dim")) named["head_dim"] = 128;
  Config c = llama_config(named);
  c.json = j;
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Ernie4_5ForCausalLM",
    .model_type = "ernie4_5",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::ernie4_5
