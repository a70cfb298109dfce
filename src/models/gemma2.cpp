// Gemma 2 (Gemma team 2024): norms before and behind, every other layer with a sliding window,
// capped scores and logits.
#include <cmath>

#include "models/standard_block.h"

namespace quaver::family::gemma2 {
namespace {

// layer_types names the windows; older files alternate, from a window on.
std::int64_t window(const Json& j, int layer) {
  return j.contains("layer_types") || layer % 2 == 0 ? config_window(j, layer, {.window = 4096})
                                                     : 0;
}

RmsNorm norm(std::int64_t size, const Config& c) {
  return {.size = size, .eps = c.norm_eps, .offset = 1};
}

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  l.attention.core.shape.scale = 1 / std::sqrt(config_float(c.json, "query_pre_attn_scalar", 256));
  l.attention.core.shape.soft_cap = config_float_or_null(c.json, "attn_logit_softcapping", 50);
  l.attention.core.shape.window = window(c.json, layer);
  l.attention_norm_kind = l.mlp_norm_kind = norm(c.hidden, c);
  l.mlp_norm = "pre_feedforward_layernorm";
  l.attention_output_norm = "post_attention_layernorm";
  l.mlp_output_norm = "post_feedforward_layernorm";
  l.attention_output_norm_kind = l.mlp_output_norm_kind = norm(c.hidden, c);
  l.mlp = gated_mlp(
      {}, {.hidden = c.hidden,
           .inner = c.intermediate,
           .function = config_activation(c.json, "hidden_activation", "gelu_pytorch_tanh")});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.embedding_scale = std::sqrt(static_cast<float>(c.hidden));
  e.final_norm_kind = norm(c.hidden, c);
  e.logit_cap = config_float_or_null(c.json, "final_logit_softcapping", 30);
  return e;
}

Config config(const Json& j) {
  Json named = j;  // the activation has a name of its own
  named.erase("hidden_act");
  Config c = llama_config(named);
  c.json = j;
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  config_must_be(j, "use_bidirectional_attention", false);
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "Gemma2ForCausalLM",
    .model_type = "gemma2",
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

}  // namespace quaver::family::gemma2
