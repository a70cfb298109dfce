// Gemma 3, text (Gemma team 2025): Gemma 2 with norms on q and k for its caps, five layers with a
// sliding window to one without, and rotations of another base in these.
#include <cmath>

#include "models/standard_block.h"

namespace quaver::family::gemma3 {
namespace {

constexpr int period = 6;

bool slides(const Json& j, int layer) {
  if (const auto types = j.find("layer_types"); types != j.end() && !types->is_null())
    return config_window(j, layer, {.window = 4096}) > 0;
  const auto every =
      config_size(j, {"sliding_window_pattern", "_sliding_window_pattern"}, 1 << 20, period);
  return (layer + 1) % every != 0;
}

std::int64_t window(const Json& j, int layer) {
  return slides(j, layer) ? config_size(j, {"sliding_window"}, 1 << 28, 4096) : 0;
}

// Layers with a window turn with a base of their own and are never stretched.
Rope rotation(const Config& c, int layer) {
  const bool slide = slides(c.json, layer);
  const auto nested = c.json.find("rope_parameters");
  const bool parts = nested != c.json.end() && nested->is_object() &&
                     nested->contains(slide ? "sliding_attention" : "full_attention");
  if (!slide || parts)
    return make_rope(
        config_rope(c.json, {.default_theta = slide ? 1e4 : 1e6,
                             .layer_type = slide ? "sliding_attention" : "full_attention"}),
        c.head_dim);
  return make_rope({.theta = config_float(c.json, "rope_local_base_freq", 1e4)}, c.head_dim);
}

RmsNorm norm(std::int64_t size, const Config& c) {
  return {.size = size, .eps = c.norm_eps, .offset = 1};
}

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c, {.default_theta = 1e6, .layer_type = "full_attention"});
  l.attention.core.shape.scale = 1 / std::sqrt(config_float(c.json, "query_pre_attn_scalar", 256));
  l.attention.core.shape.soft_cap = config_float(c.json, "attn_logit_softcapping", 0);
  l.attention.core.shape.window = window(c.json, layer);
  l.attention.core.rope = rotation(c, layer);
  l.attention.q_norm = "self_attn.q_norm";
  l.attention.k_norm = "self_attn.k_norm";
  l.attention.q_norm_kind = l.attention.k_norm_kind = norm(c.head_dim, c);
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
  e.logit_cap = config_float(c.json, "final_logit_softcapping", 0);
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
    .name = "Gemma3ForCausalLM",
    .model_type = "gemma3_text",
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

}  // namespace quaver::family::gemma3
