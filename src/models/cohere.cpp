// Command-R (Cohere 2024): attention and MLP side by side behind one norm without a bias,
// interleaved rotary positions, scaled logits.
// Command-R7B and Command A (2024): layers with a sliding window rotate, the others see everything
// and have no positions.
#include "models/standard_block.h"

namespace quaver::family::cohere {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps, .has_bias = false}; }

BlockLayout layout(const Config& c, double theta) {
  BlockLayout l = llama_layout(c, {.default_theta = theta});
  l.attention.core.rope.interleaved = true;
  if (json_bool(c.json, "use_qk_norm", config_file, false)) {
    const auto heads = [&](std::int64_t count) {
      return LayerNorm{.size = c.head_dim, .eps = c.norm_eps, .has_bias = false, .heads = count};
    };
    l.attention.q_norm = "self_attn.q_norm";
    l.attention.k_norm = "self_attn.k_norm";
    l.attention.q_norm_kind = heads(c.heads);
    l.attention.k_norm_kind = heads(c.kv_heads);
  }
  l.parallel = true;
  l.attention_norm_kind = norm(c);
  l.mlp_norm_kind = {};
  return l;
}

// layer_types names the windows; older files have a pattern: every so many layers there is none.
bool slides(const Json& j, int layer) {
  if (const auto types = j.find("layer_types"); types != j.end() && !types->is_null())
    return config_window(j, layer, {.window = 4096}) > 0;
  return (layer + 1) % config_size(j, {"sliding_window_pattern"}, 1 << 20, 4) != 0;
}

BlockLayout layout2(const Config& c, int layer) {
  BlockLayout l = layout(c, 1e4);
  if (slides(c.json, layer))
    l.attention.core.shape.window = config_size(c.json, {"sliding_window"}, 1 << 28, 4096);
  else
    l.attention.core.rope = {};
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.final_norm_kind = norm(c);
  e.logit_scale = config_float(c.json, "logit_scale", 0.0625);
  return e;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "layer_norm_eps", 1e-5);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "CohereForCausalLM",
    .model_type = "cohere",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c, 5e5));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
};

extern constinit const Arch arch2 = {
    .name = "Cohere2ForCausalLM",
    .model_type = "cohere2",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout2(c, layer));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers = llama_buffers,
};

}  // namespace quaver::family::cohere
