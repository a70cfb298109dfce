#include "models/standard_block.h"

#include <algorithm>
#include <cmath>

namespace quaver {
namespace {

class PlainMlp final : public Mlp {
 public:
  PlainMlp(MlpNames names, const MlpSizes& s) : names_(std::move(names)), function_(s.function) {
    up_ = {.outputs = s.inner, .inputs = s.hidden, .has_bias = s.bias, .transposed = s.transposed};
    down_ = {
        .outputs = s.hidden, .inputs = s.inner, .has_bias = s.bias, .transposed = s.transposed};
  }
  void visit(Visitor& v) override {
    v(text(names_.prefix, names_.prefix.empty() ? "" : ".", names_.up), up_);
    v(text(names_.prefix, names_.prefix.empty() ? "" : ".", names_.down), down_);
  }
  Tensor operator()(const Tensor& x, Step& step) const override {
    return down_(activation(up_(x, step), function_), step);
  }

 private:
  MlpNames names_;
  Activation function_;
  Linear up_, down_;
};

class OneGatedMlp final : public Mlp {
 public:
  OneGatedMlp(const MlpNames& names, const MlpSizes& s)
      : prefix_(names.prefix), mlp_(s.hidden, s.inner, s.function, s.bias) {
    mlp_.names = {names.gate, names.up, names.down};
  }
  void visit(Visitor& v) override { v(prefix_, mlp_); }
  Tensor operator()(const Tensor& x, Step& step) const override { return mlp_(x, step); }

 private:
  std::string prefix_;
  GatedMlp mlp_;
};

class FusedMlp final : public Mlp {
 public:
  FusedMlp(MlpNames names, const MlpSizes& s)
      : names_(std::move(names)), inner_(s.inner), function_(s.function) {
    both_ = {.outputs = 2 * s.inner, .inputs = s.hidden, .has_bias = s.bias};
    down_ = {.outputs = s.hidden, .inputs = s.inner, .has_bias = s.bias};
  }
  void visit(Visitor& v) override {
    v(text(names_.prefix, '.', names_.gate), both_);
    v(text(names_.prefix, '.', names_.down), down_);
  }
  Tensor operator()(const Tensor& x, Step& step) const override {
    const auto widened = [&] {
      const Tensor both = both_(x, step);
      return gated(columns(both, 0, inner_), function_, columns(both, inner_, inner_));
    };
    return down_(widened(), step);
  }

 private:
  MlpNames names_;
  std::int64_t inner_;
  Activation function_;
  Linear both_, down_;
};

// Makes the linears of expert `index` parts of the stacked tensors. Where gate and up take turns,
// the linears are the halves of their outputs as they are stored: so GPTQModel has them.
void stack(GatedMlp& mlp, const MixtureLayout& l, std::int64_t index) {
  const auto part = [&](Linear& linear, std::string& name, const std::string& tensor,
                        std::int64_t begin, std::int64_t width) {
    name.replace(name.find('#'), 1, std::to_string(index));
    linear.stacked = std::make_shared<const Stacked>(
        Stacked{.weight = tensor,
                .bias = tensor + l.stacked_bias,
                .levels = 1 + static_cast<int>(std::ranges::count(name, '.')),
                .index = index,
                .count = l.experts,
                .begin = begin,
                .width = width,
                .transposed = l.stacked_transposed});
  };
  const std::int64_t inner = l.sizes.inner;
  mlp.by_turns = l.stacked_by_turns;
  mlp.fused = mlp.names.up.empty();
  if (mlp.fused) mlp.gate.outputs = 2 * inner;
  part(mlp.gate, mlp.names.gate, l.stacked_gate_up, 0, 2 * inner);
  if (!mlp.fused) part(mlp.up, mlp.names.up, l.stacked_gate_up, inner, 2 * inner);
  part(mlp.down, mlp.names.down, l.stacked_down, 0, l.sizes.hidden);
}

class MixtureMlp final : public Mlp {
 public:
  explicit MixtureMlp(const MixtureLayout& l) : layout_(l) {
    experts_.router = l.router;
    experts_.router_name = l.router_name;
    experts_.expert_prefix = l.expert_prefix;
    experts_.gate = {.outputs = l.experts,
                     .inputs = l.sizes.hidden,
                     .has_bias = l.router.has_bias,
                     .keep_precision = true};
    for (std::int64_t i = 0; i < l.experts; ++i) {
      GatedMlp& expert = experts_.experts.emplace_back(l.sizes.hidden, l.sizes.inner,
                                                       l.sizes.function, l.sizes.bias);
      expert.names = l.expert_names;
      expert.limit = l.limit;
      if (!l.stacked_gate_up.empty()) stack(expert, l, i);
    }
    if (l.shared_inner > 0)
      shared_ = GatedMlp(l.sizes.hidden, l.shared_inner, l.sizes.function, l.shared_bias);
    shared_gate_ = {.outputs = 1, .inputs = l.sizes.hidden, .keep_precision = true};
  }
  void visit(Visitor& v) override {
    v(layout_.prefix, experts_);
    if (layout_.shared_inner > 0) v(text(layout_.prefix, '.', layout_.shared_name), shared_);
    if (!layout_.shared_gate.empty())
      v(text(layout_.prefix, '.', layout_.shared_gate), shared_gate_);
  }
  Tensor operator()(const Tensor& x, Step& step) const override {
    Tensor y = experts_(x, step);
    if (layout_.shared_inner == 0) return y;
    const Tensor shared = shared_(x, step);
    if (layout_.shared_gate.empty()) return y + shared;
    const Tensor logits = on_host(shared_gate_(x, step));
    Tensor index({x.dim(0)}, DType::i32), weight({x.dim(0)});
    for (std::int64_t r = 0; r < x.dim(0); ++r) {
      const auto at = static_cast<std::size_t>(r);
      index.data<std::int32_t>()[at] = static_cast<std::int32_t>(r);
      weight.data<float>()[at] = 1 / (1 + std::exp(-logits.data<float>()[at]));
    }
    scatter_add(shared, index, weight, y);
    return y;
  }

 private:
  MixtureLayout layout_;
  Experts experts_;
  GatedMlp shared_;
  Linear shared_gate_;
};

// x [rows, heads * width] seen head by head, normed, and put together again.
Tensor normed_heads(const Norm& norm, const Tensor& x, std::int64_t width, bool each) {
  if (!norm) return x;
  if (!each) return norm(x);
  const std::int64_t heads = x.dim(1) / width;
  return norm(x.reshaped({x.dim(0) * heads, width})).reshaped({x.dim(0), x.dim(1)});
}

}  // namespace

std::unique_ptr<Mlp> plain_mlp(const MlpNames& names, const MlpSizes& sizes) {
  return std::make_unique<PlainMlp>(names, sizes);
}
std::unique_ptr<Mlp> gated_mlp(const MlpNames& names, const MlpSizes& sizes) {
  return std::make_unique<OneGatedMlp>(names, sizes);
}
std::unique_ptr<Mlp> fused_mlp(const MlpNames& names, const MlpSizes& sizes) {
  return std::make_unique<FusedMlp>(names, sizes);
}
std::unique_ptr<Mlp> mixture_mlp(const MixtureLayout& layout) {
  return std::make_unique<MixtureMlp>(layout);
}

StandardBlock::StandardBlock(const Config& c, BlockLayout layout) : layout_(std::move(layout)) {
  const BlockLayout::Attention& a = layout_.attention;
  const AttentionShape& s = a.core.shape;
  const std::int64_t queries = s.heads * s.head_dim, keys = s.kv_heads * s.head_dim;
  const auto projection = [&](std::int64_t outputs) {
    return Linear{
        .outputs = outputs, .inputs = c.hidden, .has_bias = a.bias, .transposed = a.transposed};
  };
  q_ = projection(queries);
  k_ = v_ = projection(keys);
  qkv_ = projection(queries + 2 * keys);
  o_ = {.outputs = c.hidden,
        .inputs = s.heads * s.value_size(),
        .has_bias = a.o_bias,
        .transposed = a.transposed};
}

void StandardBlock::visit(Visitor& v) {
  BlockLayout& l = layout_;
  BlockLayout::Attention& a = l.attention;
  if (l.attention_norm_kind) v(l.attention_norm, l.attention_norm_kind);
  if (!a.qkv.empty()) {
    v(a.qkv, qkv_);
  } else {
    v(a.q, q_);
    v(a.k, k_);
    v(a.v, v_);
  }
  if (a.q_norm_kind) v(a.q_norm, a.q_norm_kind);
  if (a.k_norm_kind) v(a.k_norm, a.k_norm_kind);
  v(a.o, o_);
  if (!a.sinks.empty()) v(a.sinks, a.core.sinks, {a.core.shape.heads});
  if (l.attention_output_norm_kind) v(l.attention_output_norm, l.attention_output_norm_kind);
  if (l.mlp_norm_kind) v(l.mlp_norm, l.mlp_norm_kind);
  v("", *l.mlp);
  if (l.mlp_output_norm_kind) v(l.mlp_output_norm, l.mlp_output_norm_kind);
}

Tensor StandardBlock::attended(const Tensor& x, Step& step) const {
  const BlockLayout::Attention& a = layout_.attention;
  const AttentionShape& s = a.core.shape;
  Tensor q, k, v;
  if (a.qkv.empty()) {
    auto all = side_by_side({&q_, &k_, &v_}, x, step);
    q = std::move(all[0]), k = std::move(all[1]), v = std::move(all[2]);
  } else {
    const std::int64_t rows = x.dim(0), queries = s.heads * s.head_dim / a.partitions,
                       keys = s.kv_heads * s.head_dim / a.partitions;
    const Tensor parts = qkv_(x, step).reshaped({rows * a.partitions, queries + 2 * keys});
    const auto part = [&](std::int64_t begin, std::int64_t count) {
      return columns(parts, begin, count).reshaped({rows, count * a.partitions});
    };
    q = part(0, queries);
    k = part(a.v_before_k ? queries + keys : queries, keys);
    v = part(a.v_before_k ? queries : queries + keys, keys);
  }
  const auto clipped = [&] {
    if (a.clip == 0) return;
    for (Tensor* t : {&q, &k, &v}) *t = map(*t, Map::clip, a.clip);
  };
  const auto normed = [&] {
    q = normed_heads(a.q_norm_kind, q, s.head_dim, a.norm_each_head);
    k = normed_heads(a.k_norm_kind, k, s.head_dim, a.norm_each_head);
  };
  if (!a.clip_after_norm) clipped();
  if (!a.norm_after_rope) normed();
  if (a.clip_after_norm) clipped();
  q = a.core.rotated(q, step);
  k = a.core.rotated(k, step);
  if (a.norm_after_rope) normed();
  return a.core.attend(q, k, v, step);
}

Tensor StandardBlock::forward(const Tensor& x, Step& step) {
  const BlockLayout& l = layout_;
  const auto added = [&](const Norm& norm, const Tensor& y) {
    return scaled(norm(y), l.residual_scale);
  };
  const auto widened = [&](const Tensor& in) {
    return added(l.mlp_output_norm_kind, (*l.mlp)(in, step));
  };
  if (l.parallel) {
    const Tensor n = l.attention_norm_kind(x);
    const Tensor h = x + added(l.attention_output_norm_kind, o_(attended(n, step), step));
    return h + widened(l.mlp_norm_kind ? l.mlp_norm_kind(x) : n);
  }
  const Tensor h =
      x + added(l.attention_output_norm_kind, o_(attended(l.attention_norm_kind(x), step), step));
  return h + widened(l.mlp_norm_kind(h));
}

BlockLayout llama_layout(const Config& c, const RopeKeys& rope) {
  BlockLayout l;
  l.attention.bias = l.attention.o_bias = json_bool(c.json, "attention_bias", config_file, false);
  l.attention.core.shape = standard_attention(c);
  l.attention.core.rope = make_rope(config_rope(c.json, rope), c.head_dim);
  l.attention_norm_kind = l.mlp_norm_kind = RmsNorm{.size = c.hidden, .eps = c.norm_eps};
  l.mlp = gated_mlp({}, {.hidden = c.hidden,
                         .inner = c.intermediate,
                         .function = config_activation(c.json, "hidden_act", "silu"),
                         .bias = json_bool(c.json, "mlp_bias", config_file, false)});
  return l;
}

void norm_heads(BlockLayout& l, const Config& c) {
  l.attention.q_norm = "self_attn.q_norm";
  l.attention.k_norm = "self_attn.k_norm";
  l.attention.q_norm_kind = l.attention.k_norm_kind =
      RmsNorm{.size = c.head_dim, .eps = c.norm_eps};
}

bool config_rotates(const Json& j, int layer) {
  if (const auto flags = j.find("no_rope_layers"); flags != j.end() && flags->is_array()) {
    ensure_file(static_cast<std::size_t>(layer) < flags->size(), config_file,
                ": 'no_rope_layers' ends before layer ", layer);
    return flags->at(static_cast<std::size_t>(layer)) != 0;
  }
  return (layer + 1) % config_size(j, {"no_rope_layer_interval"}, 1 << 20, 4) != 0;
}

Experts::Router config_router(const Json& j, std::int64_t default_chosen, bool normalize) {
  const std::int64_t experts =
      config_size(j, {"num_experts", "num_local_experts", "n_routed_experts"}, 4096, 4096);
  return {
      .chosen = config_size(j, {"num_experts_per_tok"}, experts, std::min(default_chosen, experts)),
      .normalize = normalize};
}

std::int64_t qwen_window(const Json& j, int layer) {
  if (!json_bool(j, "use_sliding_window", config_file, false)) return 0;
  if (j.contains("layer_types")) return config_window(j, layer, {.window = 4096});
  return layer >= json_int(j, "max_window_layers", config_file, 28)
             ? config_window(j, layer, {.window = 4096})
             : 0;
}

bool is_sparse(const Json& j, int layer) {
  if (const auto dense = j.find("mlp_only_layers"); dense != j.end() && dense->is_array())
    for (const Json& i : *dense)
      if (i == layer) return false;
  return (layer + 1) % config_size(j, {"decoder_sparse_step"}, 1 << 20, 1) == 0;
}

Config llama_config(const Json& j) {
  Config c = standard_config(j);
  c.norm_eps = config_float(j, "rms_norm_eps", 1e-6);
  llama_layout(c);  // reports what is out of range before any weight is read
  return c;
}

StandardEnds::Layout llama_ends(const Config& c) {
  return {.hidden = c.hidden,
          .vocab = c.vocab,
          .embedding = "model.embed_tokens",
          .final_norm = "model.norm",
          .final_norm_kind = RmsNorm{.size = c.hidden, .eps = c.norm_eps},
          .head = "lm_head",
          .tied_head = c.tied_head};
}

}  // namespace quaver
