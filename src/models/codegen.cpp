// CodeGen (Nijkamp et al. 2022): GPT-J with q, v and k in one linear, in four parts as it was
// trained on that many chips.
#include "models/standard_block.h"

namespace quaver::family::codegen {
namespace {

LayerNorm norm(const Config& c) { return {.size = c.hidden, .eps = c.norm_eps}; }

BlockLayout layout(const Config& c) {
  BlockLayout l;
  l.attention.qkv = "attn.qkv_proj";
  l.attention.o = "attn.out_proj";
  l.attention.partitions = 4;
  l.attention.v_before_k = true;
  l.attention.core.shape = standard_attention(c);
  l.attention.core.rope =
      Rope(config_size(c.json, {"rotary_dim"}, c.head_dim, c.head_dim), 10000, true);
  l.parallel = true;
  l.attention_norm = "ln_1";
  l.attention_norm_kind = norm(c);
  l.mlp = plain_mlp({.up = "fc_in", .down = "fc_out"},
                    {.hidden = c.hidden,
                     .inner = c.intermediate,
                     .function = config_activation(c.json, "activation_function", "gelu_new"),
                     .bias = true});
  return l;
}

Config config(const Json& j) {
  Config c = standard_config(j);
  config_plain_heads(c);
  ensure_file(c.heads % 4 == 0, config_file, ": ", c.heads, " heads are not four equal parts");
  layout(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "CodeGenForCausalLM",
    .model_type = "codegen",
    .blocks = "transformer.h",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(StandardEnds::Layout{.hidden = c.hidden,
                                                                 .vocab = c.vocab,
                                                                 .embedding = "transformer.wte",
                                                                 .final_norm = "transformer.ln_f",
                                                                 .final_norm_kind = norm(c),
                                                                 .head = "lm_head",
                                                                 .head_bias = true,
                                                                 .tied_head = c.tied_head});
    },
    .buffers =
        [] {
          return std::vector<std::string_view>{"attn.bias", "attn.masked_bias", "attn.causal_mask"};
        },
};

}  // namespace quaver::family::codegen
