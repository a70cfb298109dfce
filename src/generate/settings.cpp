#include "generate/settings.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace quaver {
namespace {

constexpr std::int64_t most_tokens = std::int64_t{1} << 31;
constexpr std::int64_t most_drafted = 1024;
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

// A key of the file that says something.
const Json* given(const Json& config, const char* key) {
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? nullptr : &*found;
}

std::vector<std::int32_t> id_list(const Json& list, const std::string& where,
                                  std::int32_t least = 0) {
  std::vector<std::int32_t> ids;
  for (const Json& id : list) {
    const bool fits = id.is_number_integer() && id.get<double>() >= least &&
                      id.get<double>() <= std::numeric_limits<std::int32_t>::max();
    ensure_file(fits, where, " holds ", id.dump(), ": expected token ids");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

// One id or a list of them.
std::vector<std::int32_t> token_ids(const Json& config, const char* key) {
  const Json* const found = given(config, key);
  if (!found) return {};
  const Json list = found->is_array() ? *found : Json::array({*found});
  std::vector<std::int32_t> ids = id_list(list, text(file, ": ", key), -1);
  std::erase(ids, -1);  // stands for none
  return ids;
}

std::optional<std::int32_t> token_id(const Json& config, const char* key) {
  const std::vector<std::int32_t> ids = token_ids(config, key);
  return ids.empty() ? std::nullopt : std::optional(ids.front());
}

float bias_number(const Json& value, const std::string& where) {
  ensure_file(value.is_number() && std::isfinite(value.get<double>()), where, ": bias ",
              value.dump(), ": expected a number");
  return value.get<float>();
}

// {"7": -1.5, ...}, or transformers' sequence_bias: [[[7, 9], -1.5], ...].
std::vector<TokenBias> biases(const Json& list, const std::string& where) {
  std::vector<TokenBias> found;
  if (list.is_object()) {
    for (const auto& [key, value] : list.items()) {
      const bool digits = !key.empty() && key.size() < 10 &&
                          key.find_first_not_of("0123456789") == std::string::npos;
      ensure_file(digits, where, ": key '", key, "': expected a token id");
      found.push_back({{static_cast<std::int32_t>(std::stol(key))}, bias_number(value, where)});
    }
    return found;
  }
  ensure_file(list.is_array(), where, ": expected {\"ID\": BIAS, ...} or [[[ID, ...], BIAS], ...]");
  for (const Json& item : list) {
    ensure_file(item.is_array() && item.size() == 2 && item[0].is_array() && !item[0].empty(),
                where, ": ", item.dump(), ": expected [[ID, ...], BIAS]");
    found.push_back({id_list(item[0], where), bias_number(item[1], where)});
  }
  return found;
}

// The user's biases take the place of those that the model gives to the same tokens.
std::vector<TokenBias> sequence_bias(const GenerateOptions& options, const Json& config) {
  std::vector<TokenBias> all;
  if (const Json* found = given(config, "sequence_bias"))
    all = biases(*found, text(file, ": sequence_bias"));
  if (options.logit_bias.empty()) return all;
  for (TokenBias& own : biases(read_json_file(options.logit_bias), options.logit_bias)) {
    std::erase_if(all, [&](const TokenBias& b) { return b.ids == own.ids; });
    all.push_back(std::move(own));
  }
  return all;
}

// An end token that is a "bad word" by itself stays allowed, as in transformers.
std::vector<TokenBias> bad_words(const Json& config, const std::vector<std::int32_t>& eos) {
  std::vector<TokenBias> words;
  const Json* const found = given(config, "bad_words_ids");
  if (!found) return words;
  const std::string where = text(file, ": bad_words_ids");
  ensure_file(found->is_array(), where, ": ", found->dump(), ": expected a list of lists of ids");
  for (const Json& item : *found) {
    ensure_file(item.is_array() && !item.empty(), where, ": ", item.dump(),
                ": expected a list of ids");
    const std::vector<std::int32_t> ids = id_list(item, where);
    if (ids.size() == 1 && std::ranges::find(eos, ids[0]) != eos.end()) continue;
    words.push_back({ids, -std::numeric_limits<float>::infinity()});
  }
  return words;
}

std::optional<ExponentialDecay> exponential_decay(const Json& config) {
  const Json* const found = given(config, "exponential_decay_length_penalty");
  if (!found) return std::nullopt;
  const bool pair = found->is_array() && found->size() == 2 && (*found)[0].is_number_integer() &&
                    (*found)[1].is_number();
  ensure_file(pair, file, ": exponential_decay_length_penalty is ", found->dump(),
              ": expected [START, FACTOR]");
  return ExponentialDecay{(*found)[0].get<std::int64_t>(), (*found)[1].get<double>()};
}

std::vector<std::string> stop_strings(const GenerateOptions& options, const Json& config) {
  std::vector<std::string> stop = options.stop;
  for (const std::string& s : stop)
    ensure(!s.empty(), "[generate] --stop is empty: expected a string of at least one byte");
  const Json* const found = given(config, "stop_strings");
  if (!found) return stop;
  for (const Json& item : found->is_array() ? *found : Json::array({*found})) {
    ensure_file(item.is_string() && !item.get<std::string>().empty(), file, ": stop_strings holds ",
                item.dump(), ": expected strings");
    stop.push_back(item.get<std::string>());
  }
  return stop;
}

// Settings of transformers that change what is generated and that no code here follows, with the
// values that mean "off".
struct Unknown {
  const char* key;
  std::vector<Json> off;
};
void refuse_unknown(const Json& config) {
  const Unknown unknown[] = {
      {"num_beam_groups", {1}},
      {"diversity_penalty", {0}},
      {"penalty_alpha", {0}},
      {"dola_layers", {}},
      {"guidance_scale", {1}},
      {"constraints", {}},
      {"force_words_ids", {}},
      {"watermarking_config", {}},
      {"token_healing", {false}},
      {"max_time", {}},
      // Kinds of cache that hold what the plain one holds.
      {"cache_implementation",
       {"dynamic", "static", "hybrid", "sliding_window", "hybrid_chunked", "offloaded",
        "offloaded_static", "offloaded_hybrid", "dynamic_full"}},
  };
  for (const Unknown& u : unknown) {
    const Json* const found = given(config, u.key);
    if (!found || std::ranges::find(u.off, *found) != u.off.end()) continue;
    if (found->is_array() && found->empty()) continue;
    fail(Fault::unsupported, file, ": ", u.key, " is ", found->dump(), ": quaver cannot do that");
  }
}

EarlyStopping early_stopping(const GenerateOptions& options, const Json& config) {
  if (const auto& word = options.early_stopping) {
    ensure(*word == "true" || *word == "false" || *word == "never", "early_stopping: got '", *word,
           "', expected true, false or never");
    return *word == "never"  ? EarlyStopping::never
           : *word == "true" ? EarlyStopping::yes
                             : EarlyStopping::no;
  }
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
  return options.top_k || options.top_p || options.min_p || options.typical_p ||
         json_bool(config, "do_sample", file, false);
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
  s.default_new_tokens = options.default_new_tokens;
  s.min_new_tokens = integer(options.min_new_tokens, config, "min_new_tokens", 0, 0, most_tokens);
  if (s.min_new_tokens == 0) s.min_length = integer({}, config, "min_length", 0, 0, most_tokens);
}

void resolve_sampling(GenerateSettings& s, const GenerateOptions& options, const Json& config) {
  s.sample = samples(options, config);
  const double temperature = number(options.temperature, config, "temperature", 1, {0, 1e30});
  s.temperature = s.sample ? temperature : 1;
  s.top_k = integer(options.top_k, config, "top_k", 50, 0, most_tokens);
  s.top_p = number(options.top_p, config, "top_p", 1, {0, 1});
  s.min_p = number(options.min_p, config, "min_p", 0, {0, 1});
  s.typical_p = number(options.typical_p, config, "typical_p", 1, {0, 1, true});
  if (given(config, "top_h")) s.top_h = number({}, config, "top_h", 1, {0, 1, true});
  s.epsilon_cutoff = number({}, config, "epsilon_cutoff", 0, {0, 1});
  s.eta_cutoff = number({}, config, "eta_cutoff", 0, {0, 1});
  s.seed = options.seed.value_or(0);
}

void resolve_penalties(GenerateSettings& s, const GenerateOptions& options, const Json& config) {
  const Range positive{0, 1e30, true}, any{-1e30, 1e30};
  s.repetition_penalty =
      number(options.repetition_penalty, config, "repetition_penalty", 1, positive);
  s.encoder_repetition_penalty = number({}, config, "encoder_repetition_penalty", 1, positive);
  s.frequency_penalty = number(options.frequency_penalty, config, "frequency_penalty", 0, any);
  s.presence_penalty = number(options.presence_penalty, config, "presence_penalty", 0, any);
  s.no_repeat_ngram_size =
      integer(options.no_repeat_ngram_size, config, "no_repeat_ngram_size", 0, 0, most_tokens);
  s.encoder_no_repeat_ngram_size =
      integer({}, config, "encoder_no_repeat_ngram_size", 0, 0, most_tokens);
  s.sequence_bias = sequence_bias(options, config);
  s.bad_words = bad_words(config, s.eos);
  s.exponential_decay = exponential_decay(config);
  s.remove_invalid_values = json_bool(config, "remove_invalid_values", file, false);
  s.renormalize_logits = json_bool(config, "renormalize_logits", file, false);
  s.suppress = token_ids(config, "suppress_tokens");
  s.begin_suppress = token_ids(config, "begin_suppress_tokens");
  s.forced_bos = token_id(config, "forced_bos_token_id");
  s.forced_eos = token_ids(config, "forced_eos_token_id");
}

void resolve_search(GenerateSettings& s, const GenerateOptions& options, const Json& config) {
  s.num_beams = integer(options.num_beams, config, "num_beams", 1, 1, 1024);
  s.length_penalty = number(options.length_penalty, config, "length_penalty", 1, {-1e30, 1e30});
  s.early_stopping = early_stopping(options, config);
  s.num_return_sequences =
      integer(options.num_return_sequences, config, "num_return_sequences", 1, 1, 1024);
  const std::int64_t answers = s.num_return_sequences;
  ensure(answers == 1 || s.num_beams > 1 || s.sample, "[generate] --num-return-sequences ", answers,
         ": the likeliest tokens give one; expected --num-beams or sampling");
  ensure(answers <= s.num_beams || s.num_beams == 1, "[generate] --num-return-sequences ", answers,
         ": expected at most --num-beams, which is ", s.num_beams);
  s.prompt_lookup_num_tokens = integer(options.prompt_lookup_num_tokens, config,
                                       "prompt_lookup_num_tokens", 0, 0, most_drafted);
  s.max_matching_ngram_size = integer({}, config, "max_matching_ngram_size", 2, 1, most_drafted);
  ensure(s.num_beams == 1 || !options.prompt_lookup_num_tokens || s.prompt_lookup_num_tokens == 0,
         "[generate] --prompt-lookup-num-tokens beside ", s.num_beams,
         " beams: expected --num-beams 1");
}

DType cache_type(const std::string& name) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16})
    if (name == name_of(type)) return type;
  fail(Fault::bad_argument, "[generate] --kv-cache ", name, ": expected f32, f16 or bf16");
}

}  // namespace

GenerateSettings resolve(const GenerateOptions& options, const Json& given_config) {
  const Json config = given_config.is_null() ? Json::object() : given_config;
  ensure_file(config.is_object(), file, ": expected an object, found ", config.type_name());
  refuse_unknown(config);
  GenerateSettings s;
  if (!options.ignore_eos) s.eos = token_ids(config, "eos_token_id");
  s.bos = token_id(config, "bos_token_id");
  s.stop = stop_strings(options, config);
  s.kv_cache = cache_type(options.kv_cache);
  resolve_lengths(s, options, config);
  resolve_sampling(s, options, config);
  resolve_penalties(s, options, config);
  resolve_search(s, options, config);
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
  return std::min(settings.default_new_tokens, room);
}

}  // namespace quaver
