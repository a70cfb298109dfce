#pragma once
// Model families. One family is one file in this folder and one row of the table in all.cpp.
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "nn/module.h"
#include "nn/rope.h"

namespace quaver {

class ArchFile;

// The numbers nearly every decoder has. What only one family has, its own file reads from `json`.
struct Config {
  std::int64_t hidden = 0, intermediate = 0, layers = 0, vocab = 0;
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t max_positions = 0;  // 0: no limit known
  float norm_eps = 1e-5f;
  bool tied_head = false;                     // the head is the embedding table
  Json json;                                  // config.json, whole
  std::shared_ptr<const ArchFile> arch_file;  // that described the model; null: none did
};

// Whether the way a token is rotated depends on how many are computed together (dynamic, longrope
// in rope_parameters or rope_scaling): then guessing tokens ahead, or keys of another text, would
// change the result.
bool config_rotates_by_length(const Json& config_json);

struct Arch {
  std::string_view name;        // config.json: architectures[0]
  std::string_view model_type;  // config.json: model_type
  std::string_view blocks;      // checkpoint name of block i: <blocks>.<i>
  Config (*config)(const Json& config_json);
  std::unique_ptr<Block> (*block)(const Config&, int layer);
  std::unique_ptr<Ends> (*ends)(const Config&);
  // Positions count the visible tokens even where the caller gives none (OPT).
  bool positions_from_mask = false;
  // Tensors that checkpoints may hold and no computation needs: endings of their names.
  std::vector<std::string_view> (*buffers)() = nullptr;
  std::string_view alias = {};  // another spelling of `name` in published configs
  bool (*rotates_by_length)(const Json& config_json) = config_rotates_by_length;
  // Tokens above which a text's keys are computed anew, once (Phi-3). Null: never.
  std::int64_t (*recompute_above)(const Config&) = nullptr;
};

// all.cpp holds the table.

std::span<const Arch* const> archs();
// By architectures[0], else by model_type, among `own` and then in the table. Throws
// Error(unsupported), listing the known ones.
const Arch& find_arch(const Json& config_json, std::span<const Arch* const> own = {});

// --- For the families' own config functions ----------------------------------------------------
inline constexpr std::string_view config_file = "config.json";

// The fields of Config from their usual names, with the defaults that transformers shares between
// families; norm_eps is read from layer_norm_epsilon (1e-5).
Config standard_config(const Json& config_json);
// Refuses grouped key heads and heads that do not share the hidden size equally.
void config_plain_heads(const Config& c);
AttentionShape standard_attention(const Config& c);  // scaled by 1 / sqrt(head_dim)

// Reads the first of `keys` that is present (families have several names for the same number);
// throws when it is absent or not in [1, limit].
std::int64_t config_size(const Json& j, std::initializer_list<const char*> keys,
                         std::int64_t limit = std::int64_t{1} << 31);
std::int64_t config_size(const Json& j, std::initializer_list<const char*> keys, std::int64_t limit,
                         std::int64_t fallback);
// Refuses a switch whose other setting this family's file does not compute.
void config_must_be(const Json& j, const char* key, const Json& value);
Activation config_activation(const Json& j, const char* key, std::string_view fallback);

// A number that may be absent or null.
float config_float(const Json& j, const char* key, double fallback);

struct RopeSettings {
  double theta = 10000, partial = 1;  // base, and the share of head_dim that rotates
  RopeScaling scaling;
};
struct RopeKeys {
  const char* theta = "rope_theta";
  const char* partial = "partial_rotary_factor";
  double default_theta = 10000, default_partial = 1;
  const char* layer_type = nullptr;  // whose part of rope_parameters is read, where it has parts
};
// From rope_parameters (transformers 5) or the old keys and rope_scaling.
RopeSettings config_rope(const Json& j, const RopeKeys& keys = {});
// The rotation of these settings for heads of `head_dim`.
Rope make_rope(const RopeSettings& settings, std::int64_t head_dim, bool interleaved = false);
// What a file means that leaves these keys out; a null says that there is no window.
struct WindowDefaults {
  std::int64_t window = 0;  // sliding_window
  std::int64_t full_every =
      0;  // layer_types: one layer in so many has none; 0: all have the window
};
// Layer i's window where layer_types says "sliding_attention", else 0.
std::int64_t config_window(const Json& j, int layer, const WindowDefaults& absent = {});
// A number whose default holds where the key is absent; null means 0.
float config_float_or_null(const Json& j, const char* key, double absent);

}  // namespace quaver
