// DeepSeekMoE (Dai et al. 2024): Llama whose later layers are a mixture of many small experts,
// beside some that every token takes.
#include "models/standard_block.h"

namespace quaver::family::deepseek_v1 {
namespace {

bool has_mixture(const Json& j) {
  return j.contains("n_routed_experts") && !j["n_routed_experts"].is_null();
}

bool is_mixture(const Json& j, int layer) {
  return has_mixture(j) && layer >= json_int(j, "first_k_dense_replace", config_file, 0) &&
         layer % config_size(j, {"moe_layer_freq"}, 1 << 20, 1) == 0;
}

std::unique_ptr<Mlp> mixture(const Config& c) {
  const Json& j = c.json;
  const std::int64_t experts = config_size(j, {"n_routed_experts"}, 4096);
  const std::int64_t chosen = config_size(j, {"num_experts_per_tok"}, experts);
  const std::int64_t inner = config_size(j, {"moe_intermediate_size"}, 1 << 23, 1407);
  return mixture_mlp(
      {.experts = experts,
       .sizes = {.hidden = c.hidden,
                 .inner = inner,
                 .function = config_activation(j, "hidden_act", "silu")},
       // One chosen expert keeps its weight.
       .router = {.chosen = chosen,
                  .normalize = chosen > 1 && json_bool(j, "norm_topk_prob", config_file, false)},
       .shared_inner = inner * config_size(j, {"n_shared_experts"}, 4096, 0),
       .shared_name = "shared_experts"});
}

BlockLayout layout(const Config& c, int layer) {
  BlockLayout l = llama_layout(c);
  if (is_mixture(c.json, layer)) l.mlp = mixture(c);
  return l;
}

Config config(const Json& j) {
  const Config c = llama_config(j);
  config_must_be(j, "scoring_func", "softmax");
  if (has_mixture(j)) mixture(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "DeepseekForCausalLM",
    .model_type = "deepseek",
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

}  // namespace quaver::family::deepseek_v1
