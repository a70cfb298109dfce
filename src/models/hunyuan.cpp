// Hunyuan dense (Tencent 2025): Llama with norms on the heads of q and k, behind the rotation.
#include <cmath>

#include "models/standard_block.h"

namespace quaver::family::hunyuan {
namespace {

// Its "dynamic" scaling with an alpha is a fixed stretch of the base.
Rope rotation(const Config& c) {
  RopeSettings s = config_rope(c.json);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto it = c.json.find(key);
    if (it == c.json.end() || !it->is_object()) continue;
    const double alpha = config_float(*it, "alpha", 0), dim = static_cast<double>(c.head_dim);
    if (alpha == 0 || s.scaling.kind != RopeScaling::Kind::dynamic) continue;
    s.theta *= std::pow(alpha, dim / (dim - 2));
    s.scaling = {};
  }
  return make_rope(s, c.head_dim);
}

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  norm_heads(l, c);
  l.attention.q_norm = "self_attn.query_layernorm";
  l.attention.k_norm = "self_attn.key_layernorm";
  l.attention.norm_after_rope = true;
  l.attention.core.rope = rotation(c);
  return l;
}

Config config(const Json& j) {
  Config c = llama_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "HunYuanDenseV1ForCausalLM",
    .model_type = "hunyuan_v1_dense",
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

}  // namespace quaver::family::hunyuan
