// Qwen 1 (Bai et al. 2023): Llama's block under GPT-2's names; beyond the trained length the rotary
// base follows the prompt (dynamic NTK) and queries grow with the logarithm of their position.
#include "models/standard_block.h"

namespace quaver::family::qwen {
namespace {

RmsNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

std::int64_t trained_length(const Config& c) {
  return config_size(c.json, {"seq_length"}, 1 << 28, 8192);
}

bool follows_prompt(const Json& j) { return json_bool(j, "use_dynamic_ntk", config_file, true); }

Rope rotation(const Config& c) {
  RopeSettings rope = config_rope(c.json, {.theta = "rotary_emb_base", .partial = "rotary_pct"});
  if (follows_prompt(c.json)) {
    rope.scaling.kind = RopeScaling::Kind::prompt;
    rope.scaling.original_positions = static_cast<double>(trained_length(c));
  }
  return make_rope(rope, c.head_dim);
}

BlockLayout layout(const Config& c) {
  const bool bias = !json_bool(c.json, "no_bias", config_file, true);
  BlockLayout l;
  l.attention.qkv = "attn.c_attn";
  l.attention.o = "attn.c_proj";
  l.attention.bias = true;  // whatever no_bias says
  l.attention.o_bias = bias;
  l.attention.core.shape = standard_attention(c);
  l.attention.core.rope = rotation(c);
  if (json_bool(c.json, "use_logn_attn", config_file, true))
    l.attention.core.log_n = trained_length(c);
  l.attention_norm = "ln_1";
  l.mlp_norm = "ln_2";
  l.attention_norm_kind = l.mlp_norm_kind = norm(c);
  l.mlp = gated_mlp({.gate = "w2", .up = "w1", .down = "c_proj"},
                    {.hidden = c.hidden, .inner = c.intermediate, .bias = bias});
  return l;
}

StandardEnds::Layout ends(const Config& c) {
  return {.hidden = c.hidden,
          .vocab = c.vocab,
          .embedding = "transformer.wte",
          .final_norm = "transformer.ln_f",
          .final_norm_kind = norm(c),
          .head = "lm_head",
          .tied_head = c.tied_head};
}

Config config(const Json& j) {
  Config c = standard_config(j);
  config_plain_heads(c);
  ensure_file(c.intermediate % 2 == 0, config_file, ": 'intermediate_size' is ", c.intermediate,
              ", expected an even number: it counts both linears that widen");
  c.intermediate /= 2;
  c.norm_eps = config_float(j, "layer_norm_epsilon", 1e-6);
  config_must_be(j, "kv_channels", c.head_dim);
  config_must_be(j, "scale_attn_weights", true);
  config_must_be(j, "rope_scaling", nullptr);
  ensure_file(trained_length(c) > 1, config_file, ": 'seq_length' is 1, expected at least 2");
  layout(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "QWenLMHeadModel",
    .model_type = "qwen",
    .blocks = "transformer.h",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(ends(c));
    },
    .buffers =
        [] {
          return std::vector<std::string_view>{"rotary_emb.inv_freq", "attn.masked_bias"};
        },
    .rotates_by_length = follows_prompt,
};

}  // namespace quaver::family::qwen
