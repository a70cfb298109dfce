// Reading config.json: names that differ between families and ages, limits, refusals.
#include <cmath>

#include "models/arch.h"

namespace quaver {
namespace {

const char* first_present(const Json& j, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (const auto it = j.find(key); it != j.end() && !it->is_null()) return key;
  return nullptr;
}

}  // namespace

Config standard_config(const Json& j) {
  constexpr std::int64_t most = 1 << 20;
  Config c;
  c.json = j;
  c.hidden = config_size(j, {"hidden_size", "n_embd", "n_embed", "d_model"}, most);
  c.layers = config_size(j, {"num_hidden_layers", "n_layer", "num_layers"}, 10000);
  c.vocab = config_size(j, {"vocab_size"}, 1 << 26);
  c.heads = config_size(j, {"num_attention_heads", "n_head"}, most);
  c.kv_heads = config_size(j, {"num_key_value_heads"}, most, c.heads);
  c.intermediate = config_size(j, {"intermediate_size", "n_inner"}, most * 8, 4 * c.hidden);
  ensure_file(first_present(j, {"head_dim"}) || c.hidden % c.heads == 0, config_file, ": ", c.heads,
              " heads do not divide a hidden size of ", c.hidden);
  c.head_dim = config_size(j, {"head_dim"}, most, c.hidden / c.heads);
  ensure_file(c.heads % c.kv_heads == 0, config_file, ": ", c.kv_heads, " key heads do not divide ",
              c.heads, " heads");
  ensure_file(c.heads * c.head_dim <= most, config_file, ": ", c.heads, " heads of ", c.head_dim,
              " columns are above ", most);
  c.max_positions = config_size(j, {"max_position_embeddings", "n_positions"}, 1 << 28, 0);
  c.norm_eps = config_float(j, "layer_norm_epsilon", 1e-5);
  c.tied_head = json_bool(j, "tie_word_embeddings", config_file, false);
  return c;
}

float config_float(const Json& j, const char* key, double fallback) {
  const auto it = j.find(key);
  if (it == j.end() || it->is_null()) return static_cast<float>(fallback);
  return static_cast<float>(json_number(j, key, config_file, fallback));
}

float config_float_or_null(const Json& j, const char* key, double absent) {
  return config_float(j, key, j.contains(key) ? 0 : absent);
}

void config_plain_heads(const Config& c) {
  if (c.kv_heads == c.heads && c.heads * c.head_dim == c.hidden) return;
  fail(Fault::unsupported, config_file, ": ", c.heads, " heads of ", c.head_dim, " over ",
       c.kv_heads, " key heads; this model family is computed only with heads that share a hidden ",
       "size of ", c.hidden, " equally");
}

AttentionShape standard_attention(const Config& c) {
  return {.heads = c.heads,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim,
          .scale = 1 / std::sqrt(static_cast<float>(c.head_dim))};
}

std::int64_t config_size(const Json& j, std::initializer_list<const char*> keys,
                         std::int64_t limit) {
  const char* key = first_present(j, keys);
  ensure_file(key != nullptr, config_file, ": '", *keys.begin(), "' is missing");
  const std::int64_t value = json_int(j, key, config_file);
  ensure_file(value >= 1 && value <= limit, config_file, ": '", key, "' is ", value,
              ", expected 1 to ", limit);
  return value;
}

std::int64_t config_size(const Json& j, std::initializer_list<const char*> keys, std::int64_t limit,
                         std::int64_t fallback) {
  return first_present(j, keys) ? config_size(j, keys, limit) : fallback;
}

void config_must_be(const Json& j, const char* key, const Json& value) {
  const auto it = j.find(key);
  if (it == j.end() || it->is_null() || *it == value) return;
  fail(Fault::unsupported, config_file, ": '", key, "' is ", it->dump(),
       "; this model family is computed only with ", value.dump());
}

Activation config_activation(const Json& j, const char* key, std::string_view fallback) {
  const std::string name = json_string(j, key, config_file, fallback);
  if (name == "relu") return Activation::relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return Activation::gelu_tanh;
  if (name == "relu2") return Activation::relu_squared;
  if (name == "quick_gelu") return Activation::gelu_quick;
  fail(Fault::unsupported, config_file, ": '", key, "' is '", name,
       "'; known: relu, relu2, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, quick_gelu, silu, "
       "swish");
}

}  // namespace quaver
