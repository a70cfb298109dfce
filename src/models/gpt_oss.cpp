// gpt-oss (OpenAI 2025): a mixture of experts with clipped gates, attention sinks, every other
// layer with a sliding window.
#include "models/standard_block.h"

namespace quaver::family::gpt_oss {
namespace {

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c, {.default_theta = 15e4});
  l.attention.bias = l.attention.o_bias = json_bool(c.json, "attention_bias", config_file, true);
  l.attention.sinks = "self_attn.sinks";
  l.attention.core.shape.window = c.json.contains("layer_types") || layer % 2 == 0
                                      ? config_window(c.json, layer, {.window = 128})
                                      : 0;
  Experts::Router router = config_router(c.json, 4, false);
  router.softmax_chosen = router.has_bias = true;
  l.mlp = mixture_mlp({.experts = config_size(c.json, {"num_local_experts"}, 4096, 128),
                       .expert_names = {"#.gate_proj", "#.up_proj", "#.down_proj"},
                       .sizes = {.hidden = c.hidden,
                                 .inner = c.intermediate,
                                 .function = Activation::gelu_quick,
                                 .bias = true},
                       .router = router,
                       .router_name = "router",
                       .stacked_gate_up = "gate_up_proj",
                       .stacked_down = "down_proj",
                       .stacked_transposed = true,
                       .stacked_by_turns = true,
                       .stacked_bias = "_bias",
                       .limit = config_float(c.json, "swiglu_limit", 7)});
  return l;
}

Config config(const Json& j) {
  Json named = j;
  if (!j.contains("head_dim")) named["head_dim"] = 64;
  if (!j.contains("rope_parameters") && !j.contains("rope_scaling"))
    named["rope_scaling"] = {{"rope_type", "yarn"},
                             {"factor", 32.0},
                             {"truncate", false},
                             {"original_max_position_embeddings", 4096}};
  Config c = llama_config(named);
  c.json = named;
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-5);
  config_must_be(j, "swiglu_alpha", 1.702);
  config_must_be(j, "hidden_act", "silu");
  layout(c, 0);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "GptOssForCausalLM",
    .model_type = "gpt_oss",
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

}  // namespace quaver::family::gpt_oss
