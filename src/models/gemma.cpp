// Gemma (Gemma team 2024): Llama with 1 + gain in its norms, scaled embeddings and a GELU.
#include <cmath>

#include "models/standard_block.h"

namespace quaver::family::gemma {
namespace {

RmsNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps, .offset = 1}; }

// Its first published files say "gelu" and mean the approximation that it was trained with.
Activation function_of(const Config& c) {
  const Activation named = config_activation(c.json, "hidden_act", "gelu_pytorch_tanh");
  return named == Activation::gelu ? Activation::gelu_tanh : named;
}

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp = gated_mlp({}, {.hidden = c.hidden, .inner = c.intermediate, .function = function_of(c)});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  StandardEnds::Layout e = llama_ends(c);
  e.embedding_scale = std::sqrt(static_cast<float>(c.hidden));
  e.final_norm_kind = norm(c);
  return e;
}

Config config(const Json& j) {
  Json named = j;
  if (!j.contains("head_dim")) named["head_dim"] = 256;
  Config c = llama_config(named);
  c.json = j;
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, true);
  config_must_be(j, "use_bidirectional_attention", false);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "GemmaForCausalLM",
    .model_type = "gemma",
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

}  // namespace quaver::family::gemma
