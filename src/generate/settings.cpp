#include "generate/settings.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace quaver {
namespace {

constexpr std::int64_t default_new_tokens = 128;
constexpr std::int64_t most_tokens = std::int64_t{1} << 31;
constexpr const char* file = "generation_config.json";

// Where a value came from, for messages: "--top-k" or "generation_config.json: top_k".
std::string option_name(std::string key) {
  for (char& c : key)
    if (c == '_') c = '-';
  return "--" + key;
}

std::int64_t integer(const std::optional<std::int64_t>& given, const Json& config, const char* key,
                     std::int64_t fallback, std::int64_t least, std::int64_t most) {
  const std::int64_t value = given ? *given : json_int(config, key, file, fallback);
  const std::string from = given ? option_name(key) : text(file, ": ", key);
  ensure(value >= least && value <= most, "[generate] ", from, " ", value, ": expected ", least,
         " to ", most);
  return value;
}

struct Range {
  double least, most;
  bool open = false;  // the least value itself is not allowed
};

double number(const std::optional<double>& given, const Json& config, const char* key,
              double fallback, Range range) {
  const double value = given ? *given : json_number(config, key, file, fallback);
  const std::string from = given ? option_name(key) : text(file, ": ", key);
  const bool fits = std::isfinite(value) && value <= range.most &&
                    (range.open ? value > range.least : value >= range.least);
  const bool bounded = range.most < 1e30;
  ensure(fits, "[generate] ", from, " ", value, ": expected a number ",
         range.open ? "above " : "of at least ", range.least, bounded ? " and at most " : "",
         bounded ? text(range.most) : "");
  return value;
}

std::vector<std::int32_t> token_ids(const Json& config, const char* key) {
  std::vector<std::int32_t> ids;
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return ids;
  const Json list = found->is_array() ? *found : Json::array({*found});
  for (const Json& id : list) {
    const bool fits = id.is_number_integer() && id.get<double>() >= -1 &&
                      id.get<double>() <= std::numeric_limits<std::int32_t>::max();
    ensure_file(fits, file, ": ", key, " holds ", id.dump(), ": expected token ids");
    if (id.get<std::int32_t>() >= 0) ids.push_back(id.get<std::int32_t>());  // -1: none
  }
  return ids;
}

// Settings of transformers that change what is generated and that no code here follows, with the
// values that mean "off".
struct Unknown {
  const char* key;
  Json off;
};
void refuse_unknown(const Json& config) {
  const Unknown unknown[] = {{"num_beam_groups", 1},
                             {"diversity_penalty", 0},
                             {"penalty_alpha", 0},
                             {"epsilon_cutoff", 0},
                             {"eta_cutoff", 0},
                             {"top_h", nullptr},
                             {"dola_layers", nullptr},
                             {"guidance_scale", 1},
                             {"sequence_bias", nullptr},
                             {"bad_words_ids", nullptr},
                             {"begin_suppress_tokens", nullptr},
                             {"forced_bos_token_id", nullptr},
                             {"forced_eos_token_id", nullptr},
                             {"exponential_decay_length_penalty", nullptr},
                             {"constraints", nullptr},
                             {"force_words_ids", nullptr},
                             {"watermarking_config", nullptr},
                             {"stop_strings", nullptr},
                             {"max_time", nullptr}};
  for (const Unknown& u : unknown) {
    const auto found = config.find(u.key);
    if (found == config.end() || found->is_null() || *found == u.off) continue;
    if (found->is_array() && found->empty()) continue;
    fail(Fault::unsupported, file, ": ", u.key, " is ", found->dump(), ": quaver cannot do that");
  }
}

EarlyStopping early_stopping(const GenerateOptions& options, const Json& config) {
  if (options.early_stopping) return EarlyStopping::yes;
  const auto found = config.find("early_stopping");
  if (found == config.end() || found->is_null()) return EarlyStopping::no;
  if (*found == "never") return EarlyStopping::never;
  ensure_file(found->is_boolean(), file, ": early_stopping is ", found->dump(),
              ": expected true, false or \"never\"");
  return found->get<bool>() ? EarlyStopping::yes : EarlyStopping::no;
}

bool samples(const GenerateOptions& options, const Json& config) {
  if (options.temperature) return *options.temperature > 0;
  // A temperature of 0 in the file means greedy, whatever else is asked for.
  if (json_number(config, "temperature", file, 1) == 0) return false;
  return options.top_k || options.top_p || json_bool(config, "do_sample", file, false);
}

void resolve_lengths(GenerateSettings& s, const GenerateOptions& options, const Json& config) {
  const auto optional = [&](const char* key) -> std::optional<std::int64_t> {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) return std::nullopt;
    return integer({}, config, key, 0, 1, most_tokens);
  };
  if (options.max_new_tokens)
    s.max_new_tokens = integer(options.max_new_tokens, config, "max_new_tokens", 0, 1, most_tokens);
  else
    s.max_new_tokens = optional("max_new_tokens");
  if (!s.max_new_tokens) s.max_length = optional("max_length");
  s.min_new_tokens = integer({}, config, "min_new_tokens", 0, 0, most_tokens);
  if (s.min_new_tokens == 0) s.min_length = integer({}, config, "min_length", 0, 0, most_tokens);
}

}  // namespace

GenerateSettings resolve(const GenerateOptions& options, const Json& given_config) {
  const Json config = given_config.is_null() ? Json::object() : given_config;
  ensure_file(config.is_object(), file, ": expected an object, found ", config.type_name());
  refuse_unknown(config);
  GenerateSettings s;
  resolve_lengths(s, options, config);
  s.sample = samples(options, config);
  const double temperature = number(options.temperature, config, "temperature", 1, {0, 1e30});
  s.temperature = s.sample ? temperature : 1;
  s.top_k = integer(options.top_k, config, "top_k", 50, 0, most_tokens);
  s.top_p = number(options.top_p, config, "top_p", 1, {0, 1});
  s.min_p = number({}, config, "min_p", 0, {0, 1});
  s.typical_p = number({}, config, "typical_p", 1, {0, 1, true});
  s.repetition_penalty =
      number(options.repetition_penalty, config, "repetition_penalty", 1, {0, 1e30, true});
  s.no_repeat_ngram_size = integer({}, config, "no_repeat_ngram_size", 0, 0, most_tokens);
  s.num_beams = integer(options.num_beams, config, "num_beams", 1, 1, 1024);
  s.length_penalty = number(options.length_penalty, config, "length_penalty", 1, {-1e30, 1e30});
  s.early_stopping = early_stopping(options, config);
  s.seed = options.seed.value_or(0);
  s.stop = options.stop;
  for (const std::string& stop : s.stop)
    ensure(!stop.empty(), "[generate] --stop is empty: expected a string of at least one byte");
  if (!options.ignore_eos) s.eos = token_ids(config, "eos_token_id");
  s.suppress = token_ids(config, "suppress_tokens");
  const auto bos = token_ids(config, "bos_token_id");
  if (!bos.empty()) s.bos = bos.front();
  return s;
}

Json read_generation_config(const std::filesystem::path& directory) {
  const auto path = directory / file;
  if (std::filesystem::exists(path)) return read_json_file(path.string());
  const Json whole = read_json_file((directory / "config.json").string());
  Json config = Json::object();
  for (const char* key : {"eos_token_id", "bos_token_id", "pad_token_id"})
    if (whole.is_object() && whole.contains(key)) config[key] = whole[key];
  return config;
}

std::int64_t new_token_limit(const GenerateSettings& settings, std::int64_t prompt,
                             std::int64_t positions) {
  ensure(positions == 0 || prompt < positions, "[generate] a prompt of ", prompt,
         " tokens leaves no room in the model's ", positions, " positions");
  const std::int64_t room = positions == 0 ? most_tokens : positions - prompt;
  if (settings.max_new_tokens) {
    ensure(*settings.max_new_tokens <= room, "[generate] ", *settings.max_new_tokens,
           " new tokens after a prompt of ", prompt, " exceed the model's ", positions,
           " positions: at most ", room, " fit");
    return *settings.max_new_tokens;
  }
  if (settings.max_length) {
    ensure(*settings.max_length > prompt, "[generate] a prompt of ", prompt,
           " tokens leaves nothing of ", file, ": max_length ", *settings.max_length,
           "; --max-new-tokens wins over it");
    return std::min(*settings.max_length - prompt, room);
  }
  return std::min(default_new_tokens, room);
}

}  // namespace quaver
