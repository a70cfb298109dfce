// DeepSeek-V3 and R1 (DeepSeek-AI 2024): latent attention; experts by sigmoid scores with a bias
// for choosing, groups of experts first.
#include "models/deepseek.h"

namespace quaver::family::deepseek_v3 {
namespace {

Experts::Router router(const Json& j) {
  config_must_be(j, "scoring_func", "sigmoid");
  config_must_be(j, "topk_method", "noaux_tc");
  Experts::Router r = config_router(j, 8, json_bool(j, "norm_topk_prob", config_file, true));
  r.sigmoid = r.has_correction = r.group_by_best_two = true;
  r.groups = config_size(j, {"n_group"}, 4096, 8);
  r.chosen_groups = config_size(j, {"topk_group"}, r.groups, std::min<std::int64_t>(4, r.groups));
  r.scale = config_float(j, "routed_scaling_factor", 2.5);
  return r;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "DeepseekV3ForCausalLM",
    .model_type = "deepseek_v3",
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

}  // namespace quaver::family::deepseek_v3
