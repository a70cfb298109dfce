#include "models/deepseek.h"

#include <cmath>

namespace quaver {
namespace {

constexpr std::int64_t most = 1 << 20;

std::int64_t size_of(const Config& c, const char* key) { return config_size(c.json, {key}, most); }

// Yarn's second factor: on the scores, by mscale_all_dim.
float score_scale(const Config& c, std::int64_t columns) {
  const float plain = 1 / std::sqrt(static_cast<float>(columns));
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto it = c.json.find(key);
    if (it == c.json.end() || !it->is_object()) continue;
    const RopeScaling scaling = config_rope(c.json).scaling;
    const float all = config_float(*it, "mscale_all_dim", 0);
    if (scaling.kind == RopeScaling::Kind::none || all == 0 || scaling.factor <= 1) return plain;
    const float m = 0.1f * all * static_cast<float>(std::log(scaling.factor)) + 1;
    return plain * m * m;
  }
  return plain;
}

}  // namespace

LatentAttention::LatentAttention(const Config& c)
    : heads_(c.heads),
      plain_(size_of(c, "qk_nope_head_dim")),
      turned_(size_of(c, "qk_rope_head_dim")),
      latent_(size_of(c, "kv_lora_rank")) {
  const auto rank = c.json.find("q_lora_rank");
  has_query_latent_ = rank != c.json.end() && !rank->is_null();
  const bool bias = json_bool(c.json, "attention_bias", config_file, false);
  const std::int64_t columns = plain_ + turned_, values = size_of(c, "v_head_dim");
  q_ = {.outputs = heads_ * columns, .inputs = c.hidden};
  if (has_query_latent_) {
    const std::int64_t inner = size_of(c, "q_lora_rank");
    q_down_ = {.outputs = inner, .inputs = c.hidden, .has_bias = bias};
    q_up_ = {.outputs = heads_ * columns, .inputs = inner};
    q_norm_ = {.size = inner, .eps = 1e-6f};
  }
  kv_down_ = {.outputs = latent_ + turned_, .inputs = c.hidden, .has_bias = bias};
  kv_up_ = {.outputs = heads_ * (plain_ + values), .inputs = latent_};
  kv_norm_ = {.size = latent_, .eps = 1e-6f};
  o_ = {.outputs = c.hidden, .inputs = heads_ * values, .has_bias = bias};
  core_.shape = {.heads = heads_,
                 .kv_heads = heads_,
                 .head_dim = columns,
                 .value_dim = values,
                 .scale = score_scale(c, columns)};
  rope_ = make_rope(config_rope(c.json), turned_,
                    json_bool(c.json, "rope_interleave", config_file, true));
}

void LatentAttention::visit(Visitor& v) {
  if (has_query_latent_) {
    v("q_a_proj", q_down_);
    v("q_a_layernorm", q_norm_);
    v("q_b_proj", q_up_);
  } else {
    v("q_proj", q_);
  }
  v("kv_a_proj_with_mqa", kv_down_);
  v("kv_a_layernorm", kv_norm_);
  v("kv_b_proj", kv_up_);
  v("o_proj", o_);
}

// [rows, heads * (plain + turned)], rotated.
Tensor LatentAttention::queries(const Tensor& x, Step& step) const {
  const std::int64_t rows = x.dim(0), columns_each = plain_ + turned_;
  const Tensor q = has_query_latent_ ? q_up_(q_norm_(q_down_(x, step)), step) : q_(x, step);
  Tensor by_head = q.reshaped({rows * heads_, columns_each});
  const RopeTables& tables = rope_.tables(step);
  const Tensor turned = rope(columns(by_head, plain_, turned_).reshaped({rows, heads_ * turned_}),
                             tables.cos, tables.sin, turned_, rope_.interleaved);
  place_columns(turned.reshaped({rows * heads_, turned_}), by_head, plain_);
  return by_head.reshaped({rows, heads_ * columns_each});
}

Tensor LatentAttention::operator()(const Tensor& x, Step& step) const {
  const std::int64_t rows = x.dim(0), values = core_.shape.value_size();
  const Tensor down = kv_down_(x, step);
  const RopeTables& tables = rope_.tables(step);
  const Tensor shared =
      rope(columns(down, latent_, turned_), tables.cos, tables.sin, turned_, rope_.interleaved);
  const Tensor up =
      kv_up_(kv_norm_(columns(down, 0, latent_)), step).reshaped({rows * heads_, plain_ + values});
  Tensor keys = empty_on(x.device(), {rows * heads_, plain_ + turned_});
  place_columns(columns(up, 0, plain_), keys, 0);
  place_columns(shared, keys, plain_, heads_);
  const Tensor v = columns(up, plain_, values).reshaped({rows, heads_ * values});
  const Tensor q = queries(x, step);
  return o_(core_(q, keys.reshaped({rows, heads_ * (plain_ + turned_)}), v, step), step);
}

DeepseekBlock::DeepseekBlock(const Config& c, std::unique_ptr<Mlp> mlp)
    : attention_norm_{.size = c.hidden, .eps = c.norm_eps},
      mlp_norm_{.size = c.hidden, .eps = c.norm_eps},
      attention_(c),
      mlp_(std::move(mlp)) {}

void DeepseekBlock::visit(Visitor& v) {
  v("input_layernorm", attention_norm_);
  v("self_attn", attention_);
  v("post_attention_layernorm", mlp_norm_);
  v("", *mlp_);
}

Tensor DeepseekBlock::forward(const Tensor& x, Step& step) {
  const Tensor h = x + attention_(attention_norm_(x), step);
  return h + (*mlp_)(mlp_norm_(h), step);
}

Config deepseek_config(const Json& j) {
  Json named = j;
  named.erase("num_key_value_heads");  // there are none
  // Heads have sizes of their own; files that transformers writes name the rotating part.
  const std::int64_t turned = config_size(j, {"qk_rope_head_dim"}, most);
  config_must_be(j, "head_dim", turned);
  named["head_dim"] = turned;
  Config c = standard_config(named);
  c.json = j;
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-6);
  LatentAttention attention(c);  // reports what is missing before any weight is read
  return c;
}

std::unique_ptr<Mlp> deepseek_mlp(const Config& c, int layer, const Experts::Router& router) {
  MlpSizes sizes{.hidden = c.hidden,
                 .inner = c.intermediate,
                 .function = config_activation(c.json, "hidden_act", "silu")};
  const bool bias = json_bool(c.json, "mlp_bias", config_file, false);
  const auto frequency = config_size(c.json, {"moe_layer_freq"}, most, 1);
  if (layer < config_size(c.json, {"first_k_dense_replace"}, most, most) ||
      layer % frequency != 0) {
    sizes.bias = bias;
    return gated_mlp({}, sizes);
  }
  sizes.inner = size_of(c, "moe_intermediate_size");
  const std::int64_t shared = config_size(c.json, {"n_shared_experts"}, most, 0);
  const std::int64_t experts = config_size(c.json, {"n_routed_experts", "num_local_experts"}, 4096);
  ensure_file(experts % router.groups == 0, config_file, ": 'n_group' is ", router.groups,
              ", which does not divide ", experts, " experts ('n_routed_experts')");
  return mixture_mlp({.experts = experts,
                      .sizes = sizes,
                      .router = router,
                      .shared_inner = shared * sizes.inner,
                      .shared_bias = bias,
                      .shared_name = "shared_experts"});
}

std::vector<std::string_view> deepseek_buffers() { return {"rotary_emb.inv_freq"}; }

}  // namespace quaver
