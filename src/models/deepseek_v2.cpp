// DeepSeek-V2 (DeepSeek-AI 2024): latent attention; experts by a softmax, groups of experts first.
#include "models/deepseek.h"

namespace quaver::family::deepseek_v2 {
namespace {

Experts::Router router(const Json& j) {
  config_must_be(j, "scoring_func", "softmax");
  // The reference never normalizes, whatever norm_topk_prob says.
  Experts::Router r = config_router(j, 6, false);
  const std::string method = json_string(j, "topk_method", config_file, "greedy");
  if (method == "group_limited_greedy") {
    r.groups = config_size(j, {"n_group"}, 4096, 1);
    r.chosen_groups = config_size(j, {"topk_group"}, r.groups, r.groups);
  } else if (method != "greedy") {
    fail(Fault::unsupported, config_file, ": 'topk_method' is '", method,
         "'; known: greedy, group_limited_greedy");
  }
  r.scale = config_float(j, "routed_scaling_factor", 1);
  return r;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "DeepseekV2ForCausalLM",
    .model_type = "deepseek_v2",
    .blocks = "model.layers",
    .config =
        [](const Json& j) {
          router(j);
          return deepseek_config(j);
        },
    .block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
      return std::make_unique<DeepseekBlock>(c, deepseek_mlp(c, layer, router(c.json)));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = deepseek_buffers,
};

}  // namespace quaver::family::deepseek_v2
