// StableLM (Stability AI 2023): Llama with layer norms and partial rotary positions.
#include "models/standard_block.h"

namespace quaver::family::stablelm {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c, {.default_partial = 0.25});
  l.attention.bias = json_bool(c.json, "use_qkv_bias", config_file, false);
  l.attention.o_bias = false;
  if (json_bool(c.json, "qk_layernorm", config_file, false)) {
    const auto heads = [&](std::int64_t count) {
      return LayerNorm{.size = c.head_dim,
                       .eps = c.norm_eps,
                       .has_bias = false,
                       .heads = count,
                       .separate = true};
    };
    l.attention.q_norm = "self_attn.q_layernorm";
    l.attention.k_norm = "self_attn.k_layernorm";
    l.attention.q_norm_kind = heads(c.heads);
    l.attention.k_norm_kind = heads(c.kv_heads);
  }
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
  return c;
}

}  // namespace

extern constinit const Arch arch = {
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

}  // namespace quaver::family::stablelm
