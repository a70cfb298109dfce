// GPT-J (Wang, Komatsuzaki 2021): interleaved rotary positions, attention and MLP side by side
// behind one norm, a head with a bias.
#include "models/arch.h"
#include "nn/attention.h"
#include "nn/ends.h"

namespace quaver::family::gptj {
namespace {

std::int64_t rotary_columns(const Config& c) {
  return config_size(c.json, {"rotary_dim"}, c.head_dim, c.head_dim);
}

class GptjBlock final : public Block {
 public:
  explicit GptjBlock(const Config& c)
      : norm_{.size = c.hidden, .eps = c.norm_eps},
        function_(config_activation(c.json, "activation_function", "gelu_new")) {
    q_ = k_ = v_ = o_ = {.outputs = c.hidden, .inputs = c.hidden};
    in_ = {.outputs = c.intermediate, .inputs = c.hidden, .has_bias = true};
    out_ = {.outputs = c.hidden, .inputs = c.intermediate, .has_bias = true};
    attention_.shape = standard_attention(c);
    attention_.rope = Rope(rotary_columns(c), 10000, /*interleaved=*/true);
  }

  void visit(Visitor& v) override {
    v("ln_1", norm_);
    v("attn.q_proj", q_);
    v("attn.k_proj", k_);
    v("attn.v_proj", v_);
    v("attn.out_proj", o_);
    v("mlp.fc_in", in_);
    v("mlp.fc_out", out_);
  }

  Tensor forward(const Tensor& x, Step& step) override {
    const Tensor n = norm_(x);
    const Tensor h = x + o_(attended(n, step), step);
    return h + out_(activation(in_(n, step), function_), step);
  }

 private:
  // A function of its own, so that what only it needs is freed before the next linear.
  Tensor attended(const Tensor& x, Step& step) const {
    Tensor q = q_(x, step), k = k_(x, step), v = v_(x, step);
    return attention_(std::move(q), std::move(k), v, step);
  }

  LayerNorm norm_;
  Linear q_, k_, v_, o_, in_, out_;
  SelfAttention attention_;
  Activation function_;
};

Config config(const Json& j) {
  Config c = standard_config(j);
  config_plain_heads(c);
  ensure_file(rotary_columns(c) % 2 == 0, config_file, ": 'rotary_dim' is ", rotary_columns(c),
              ", expected an even number");
  config_activation(j, "activation_function", "gelu_new");
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "GPTJForCausalLM",
    .model_type = "gptj",
    .blocks = "transformer.h",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<GptjBlock>(c);
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(
          StandardEnds::Layout{.hidden = c.hidden,
                               .vocab = c.vocab,
                               .embedding = "transformer.wte",
                               .final_norm = "transformer.ln_f",
                               .final_norm_kind = LayerNorm{.size = c.hidden, .eps = c.norm_eps},
                               .head = "lm_head",
                               .head_bias = true,
                               .tied_head = c.tied_head});
    },
    .buffers =
        [] {
          return std::vector<std::string_view>{"attn.bias", "attn.masked_bias"};
        },
};

}  // namespace quaver::family::gptj
