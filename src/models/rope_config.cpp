// Rotary positions as config.json describes them: rope_parameters since transformers 5, before that
// rope_theta, partial_rotary_factor and rope_scaling.
#include <array>
#include <cmath>

#include "models/arch.h"

namespace quaver {
namespace {

using Kind = RopeScaling::Kind;

struct KindName {
  std::string_view name;
  Kind kind;
};
constexpr std::array kinds = {
    KindName{"default", Kind::none},      KindName{"linear", Kind::linear},
    KindName{"dynamic", Kind::dynamic},   KindName{"yarn", Kind::yarn},
    KindName{"longrope", Kind::longrope}, KindName{"su", Kind::longrope},
    KindName{"llama3", Kind::llama3},
};

Kind kind_of(const Json& settings, const char* where) {
  std::string name = json_string(settings, "type", where, "default");
  name = json_string(settings, "rope_type", where, name);
  for (const KindName& k : kinds)
    if (k.name == name) return k.kind;
  fail(Fault::unsupported, config_file, ": ", where, " of type '", name,
       "'; known: default, linear, dynamic, yarn, longrope, su, llama3");
}

std::vector<double> factors(const Json& settings, const char* key, const char* where) {
  const auto it = settings.find(key);
  ensure_file(it != settings.end() && it->is_array() && it->size() <= 1 << 16, config_file, ": ",
              where, " has no list '", key, "'");
  std::vector<double> values;
  for (const Json& v : *it) {
    ensure_file(v.is_number() && v.get<double>() > 0, config_file, ": ", where, ".", key, " holds ",
                v.dump(), ", expected positive numbers");
    values.push_back(v.get<double>());
  }
  return values;
}

double positions_of(const Json& j) {
  return static_cast<double>(config_size(
      j, {"max_position_embeddings", "n_positions", "max_sequence_length"}, 1 << 28, 2048));
}

double magnitude(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * std::log(factor) + 1;
}

float attention_factor(const Json& settings, const RopeScaling& s) {
  if (const float given = config_float(settings, "attention_factor", 0); given != 0) return given;
  if (s.kind == Kind::longrope)
    return s.factor <= 1 ? 1
                         : static_cast<float>(
                               std::sqrt(1 + std::log(s.factor) / std::log(s.original_positions)));
  const double scale = config_float(settings, "mscale", 0);
  const double all = config_float(settings, "mscale_all_dim", 0);
  return static_cast<float>(scale != 0 && all != 0
                                ? magnitude(s.factor, scale) / magnitude(s.factor, all)
                                : magnitude(s.factor, 1));
}

RopeScaling scaling_of(const Json& j, const Json& settings, const char* where) {
  RopeScaling s{.kind = kind_of(settings, where)};
  if (s.kind == Kind::none) return s;
  const double positions = positions_of(j);
  s.original_positions = positions;
  if (s.kind != Kind::dynamic && s.kind != Kind::linear) {
    s.original_positions = config_float(settings, "original_max_position_embeddings", positions);
    s.original_positions =
        config_float(j, "original_max_position_embeddings", s.original_positions);
  }
  s.factor = config_float(settings, "factor", positions / s.original_positions);
  s.low_freq_factor = config_float(settings, "low_freq_factor", s.low_freq_factor);
  s.high_freq_factor = config_float(settings, "high_freq_factor", s.high_freq_factor);
  s.beta_fast = config_float(settings, "beta_fast", s.beta_fast);
  s.beta_slow = config_float(settings, "beta_slow", s.beta_slow);
  s.truncate = json_bool(settings, "truncate", where, true);
  if (s.kind == Kind::longrope) {
    s.short_factor = factors(settings, "short_factor", where);
    s.long_factor = factors(settings, "long_factor", where);
  }
  if (s.kind == Kind::yarn || s.kind == Kind::longrope)
    s.attention_factor = attention_factor(settings, s);
  ensure_file(s.factor > 0 && s.original_positions > 0 && s.high_freq_factor > s.low_freq_factor,
              config_file, ": ", where, " has factors out of range");
  return s;
}

}  // namespace

RopeSettings config_rope(const Json& j, const RopeKeys& keys) {
  RopeSettings rope;
  rope.theta = config_float(j, keys.theta, keys.default_theta);
  rope.partial = config_float(j, keys.partial, keys.default_partial);
  const auto given = [&](const char* key) -> const Json* {
    const auto it = j.find(key);
    if (it == j.end() || it->is_null()) return nullptr;
    ensure_file(it->is_object(), config_file, ": '", key, "' is not an object");
    if (!keys.layer_type || !it->contains(keys.layer_type)) return &*it;
    const Json& part = it->at(keys.layer_type);
    ensure_file(part.is_object(), config_file, ": ", key, ".", keys.layer_type,
                " is not an object");
    return &part;
  };
  if (const Json* old = given("rope_scaling")) rope.scaling = scaling_of(j, *old, "rope_scaling");
  if (const Json* settings = given("rope_parameters")) {
    rope.scaling = scaling_of(j, *settings, "rope_parameters");
    rope.theta = config_float(*settings, "rope_theta", rope.theta);
    rope.partial = config_float(*settings, "partial_rotary_factor", rope.partial);
  }
  ensure_file(rope.theta > 0 && rope.partial > 0 && rope.partial <= 1, config_file, ": rope theta ",
              rope.theta, " and rotary share ", rope.partial, " are out of range");
  return rope;
}

Rope make_rope(const RopeSettings& settings, std::int64_t head_dim, bool interleaved) {
  const auto columns = static_cast<std::int64_t>(static_cast<double>(head_dim) * settings.partial);
  ensure_file(columns >= 2 && columns % 2 == 0, config_file,
              ": a rotary share ('partial_rotary_factor') of ", settings.partial,
              " of heads ('head_dim') of ", head_dim, " is ", columns,
              " columns: expected an even number");
  return Rope(columns, settings.theta, interleaved, settings.scaling);
}

bool config_rotates_by_length(const Json& j) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto it = j.find(key);
    if (it == j.end() || !it->is_object()) continue;
    for (const char* name : {"rope_type", "type"}) {
      const auto kind = it->find(name);
      if (kind != it->end() && (*kind == "dynamic" || *kind == "longrope" || *kind == "su"))
        return true;
    }
  }
  return false;
}

std::int64_t config_window(const Json& j, int layer, const WindowDefaults& absent) {
  const auto window = [&] {
    const std::int64_t fallback = j.contains("sliding_window") ? 0 : absent.window;
    return config_size(j, {"sliding_window"}, 1 << 28, fallback);
  };
  const auto types = j.find("layer_types");
  if (types == j.end() || types->is_null())
    return absent.full_every > 0 && (layer + 1) % absent.full_every == 0 ? 0 : window();
  ensure_file(types->is_array() && static_cast<std::size_t>(layer) < types->size() &&
                  types->at(static_cast<std::size_t>(layer)).is_string(),
              config_file, ": 'layer_types' has no name for layer ", layer);
  const std::string type = types->at(static_cast<std::size_t>(layer)).get<std::string>();
  if (type == "sliding_attention") return window();
  if (type == "full_attention") return 0;
  fail(Fault::unsupported, config_file, ": layer type '", type,
       "'; known: full_attention, sliding_attention");
}

}  // namespace quaver
