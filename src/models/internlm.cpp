// InternLM (2023): Llama with a switch for the biases of q, k, v and o.
#include "models/standard_block.h"

namespace quaver::family::internlm {
namespace {

bool is_dynamic(const Json& rotary) {
  return json_string(rotary, "type", "rotary", "dynamic") == "dynamic";
}

// `rotary` names the rotation: {"type": "origin" or "dynamic", "base", "scaling_factor"}.
Rope rotation(const Config& c) {
  RopeSettings rope = config_rope(c.json);
  const auto it = c.json.find("rotary");
  if (it == c.json.end() || it->is_null()) return make_rope(rope, c.head_dim);
  ensure_file(it->is_object(), config_file, ": 'rotary' is not an object");
  const std::string type = json_string(*it, "type", "rotary", "dynamic");
  if (type != "origin" && !is_dynamic(*it))
    fail(Fault::unsupported, config_file, ": rotary of type '", type, "'; known: dynamic, origin");
  config_must_be(c.json, "rope_scaling", nullptr);
  rope.theta = config_float(*it, "base", 10000);
  if (is_dynamic(*it))
    rope.scaling = {.kind = RopeScaling::Kind::dynamic,
                    .factor = config_float(*it, "scaling_factor", 1),
                    .original_positions = static_cast<double>(
                        config_size(c.json, {"max_position_embeddings"}, 1 << 28, 2048))};
  ensure_file(rope.theta > 0 && rope.scaling.factor >= 1, config_file,
              ": rotary has a base or a factor out of range");
  return make_rope(rope, c.head_dim);
}

BlockLayout layout(const Config& c) {
  BlockLayout l = llama_layout(c);
  l.attention.bias = l.attention.o_bias = json_bool(c.json, "bias", config_file, true);
  l.attention.core.rope = rotation(c);
  return l;
}

Config config(const Json& j) {
  const Config c = llama_config(j);
  config_plain_heads(c);
  layout(c);
  return c;
}

}  // namespace

extern constinit const Arch arch = {
    .name = "InternLMForCausalLM",
    .model_type = "internlm",
    .blocks = "model.layers",
    .config = config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, layout(c));
    },
    .ends = [](const Config& c) -> std::unique_ptr<Ends> {
      return std::make_unique<StandardEnds>(llama_ends(c));
    },
    .buffers = llama_buffers,
    .rotates_by_length =
        [](const Json& j) {
          const auto it = j.find("rotary");
          return it != j.end() && it->is_object() ? is_dynamic(*it) : config_rotates_by_length(j);
        },
};

}  // namespace quaver::family::internlm
