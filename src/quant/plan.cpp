#include "quant/plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <regex>

#include "core/mapped_file.h"
#include "quant/grid.h"
#include "quant/head.h"
#include "quant/job.h"

namespace quaver {
namespace {

constexpr std::size_t longest_pattern = 256;

// Breadth-first matching in libstdc++: no exponential search, whatever the pattern.
#ifdef __GLIBCXX__
constexpr auto syntax = std::regex_constants::ECMAScript | std::regex_constants::__polynomial;
#else
constexpr auto syntax = std::regex_constants::ECMAScript;
#endif

// REGEX=skip or REGEX=bits:8,group_size:64,sym:false,method:rtn
struct Rule {
  std::regex pattern;
  bool skip = false;
  std::optional<std::int64_t> bits, group_size;
  std::optional<bool> symmetric;
  const Method* method = nullptr;
};

std::int64_t number_in(const std::string& rule, std::string_view word) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  ensure(error == std::errc() && end == word.data() + word.size(), "--rule ", rule, ": '", word,
         "' is no number");
  return value;
}

void read_setting(const std::string& text_of_rule, std::string_view setting, Rule& rule) {
  const std::size_t colon = setting.find(':');
  const std::string_view key = setting.substr(0, colon);
  const std::string_view value =
      colon == std::string_view::npos ? std::string_view() : setting.substr(colon + 1);
  if (key == "bits") {
    rule.bits = number_in(text_of_rule, value);
  } else if (key == "group_size") {
    rule.group_size = number_in(text_of_rule, value);
  } else if (key == "sym" && (value == "true" || value == "false")) {
    rule.symmetric = value == "true";
  } else if (key == "method") {
    rule.method = &find_method(value);
  } else {
    fail(Fault::bad_argument, "--rule ", text_of_rule, ": unknown setting '", setting,
         "'; known: skip, bits:N, group_size:N, sym:true, sym:false, method:NAME");
  }
}

Rule read_rule(const std::string& word) {
  const std::size_t equals = word.rfind('=');
  ensure(equals != std::string::npos && equals > 0, "--rule ", word,
         ": expected REGEX=skip or REGEX=bits:8,group_size:64,sym:false,method:rtn");
  Rule rule{.pattern = module_pattern("--rule", word.substr(0, equals))};
  std::string_view rest = std::string_view(word).substr(equals + 1);
  rule.skip = rest == "skip";
  while (!rule.skip) {
    const std::size_t comma = rest.find(',');
    read_setting(word, rest.substr(0, comma), rule);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return rule;
}

struct Choice {
  Scheme scheme;
  const Method* method = nullptr;
};

// What happens to a module; no value: it is left alone. The last rule that matches decides.
std::optional<Choice> choice_for(const std::string& name, const Choice& standard,
                                 const std::vector<Rule>& rules) {
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    if (!std::regex_search(name, rule->pattern)) continue;
    if (rule->skip) return std::nullopt;
    Choice c = standard;
    if (rule->bits) c.scheme.bits = static_cast<int>(std::clamp<std::int64_t>(*rule->bits, 0, 99));
    if (rule->group_size) c.scheme.group_size = *rule->group_size;
    if (rule->symmetric) c.scheme.symmetric = *rule->symmetric;
    if (rule->method) c.method = rule->method;
    return c;
  }
  return standard;
}

// "; these would do: 32, 64, -1" where the group size is to blame.
std::string advice(const Format& format, Scheme s, std::int64_t rows, std::int64_t cols) {
  std::string sizes;
  for (const std::int64_t size : {16, 32, 64, 128, 256, 512, 1024, -1}) {
    s.group_size = size;
    if (format.refuses(s, rows, cols).empty()) sizes += text(sizes.empty() ? "" : ", ", size);
  }
  return sizes.empty() ? std::string() : text("; group sizes that would do: ", sizes);
}

class LinearList final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    if (l.keep_precision) return;
    found.push_back({.name = name,
                     .layer = layer,
                     .outputs = l.outputs,
                     .inputs = l.inputs,
                     .pool = l.routed ? l.pool : Pool::none,
                     .stacked = l.stacked != nullptr});
  }
  int layer = 0;
  std::vector<PlannedSite> found;
};

}  // namespace

std::regex module_pattern(const std::string& flag, const std::string& pattern) {
  ensure(pattern.size() <= longest_pattern, flag, ": a pattern of ", pattern.size(),
         " characters; at most ", longest_pattern, " are allowed");
  try {
    return std::regex(pattern, syntax);
  } catch (const std::regex_error& e) {
    fail(Fault::bad_argument, flag, " ", pattern, ": ", e.what());
  }
}

std::uint64_t parse_size(const char* flag, const std::string& word) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  std::string unit(end, word.data() + word.size());
  if (unit.size() == 2 && (unit[1] == 'B' || unit[1] == 'b')) unit.pop_back();
  std::uint64_t factor = 0;
  if (unit.empty() || unit == "B") factor = 1;
  if (unit == "K" || unit == "k") factor = 1000;
  if (unit == "M" || unit == "m") factor = 1'000'000;
  if (unit == "G" || unit == "g") factor = 1'000'000'000;
  ensure(
      error == std::errc() && factor > 0 && value > 0 && value < (std::uint64_t{1} << 62) / factor,
      flag, " ", word, "; expected a size such as 5G or 300M");
  return value * factor;
}

Plan make_plan(const Checkpoint& checkpoint, const QuantizeOptions& options) {
  if (!checkpoint.quantization.is_null())
    fail(Fault::unsupported, checkpoint.directory.string(),
         ": this checkpoint is quantized already; quantize starts from a dense one");
  Plan plan{.method = &find_method(options.method), .format = &find_format(options.format)};
  plan.shard_bytes = parse_size("--shard-size", options.shard_size);
  ensure(options.damp >= 0 && std::isfinite(options.damp) && options.damp <= 1, "--damp ",
         options.damp, "; expected 0 to 1");
  ensure(options.compat.empty() || options.compat == "autogptq", "--compat ", options.compat,
         "; known: autogptq");
  const bool plain = !options.compat.empty();
  const bool aware = options.act_group_aware.value_or(!options.desc_act && !plain);
  ensure(!aware || !options.desc_act,
         "--act-group-aware and --desc-act order the same columns: choose one");
  const std::int64_t rounds = options.coordinate_descent.value_or(plain ? 0 : 4);
  ensure(rounds >= 0 && rounds <= 100, "--coordinate-descent ", rounds,
         "; expected 0 to 100 rounds");
  const double target = options.stream_target.value_or(plain ? 0 : 0.5);
  ensure(target >= 0 && target <= 1, "--stream-target ", target, "; expected 0 to 1");
  const std::string search = options.scale_search.value_or(options.mse ? "mse"
                                                           : plain     ? "none"
                                                                       : "weighted");
  find_search(search);  // throws on a name that is not known
  ensure(!options.mse || search == "mse", "--mse and --scale-search ", search,
         " choose the scales: choose one");
  plan.method_options = {{"damp", options.damp},     {"coordinate_descent", rounds},
                         {"stream_target", target},  {"static_groups", options.static_groups},
                         {"compat", options.compat}, {"desc_act", options.desc_act},
                         {"act_group_aware", aware}, {"scale_search", search}};
  plan.scheme = {options.bits, options.group_size, options.sym};
  std::vector<Rule> rules;
  for (const std::string& rule : options.rules) rules.push_back(read_rule(rule));
  LinearList list;
  for (; list.layer < checkpoint.model.layers; ++list.layer) {
    const auto block = checkpoint.arch->block(checkpoint.model, list.layer);
    list(text(checkpoint.arch->blocks, '.', list.layer), *block);
  }
  if (options.lm_head) {
    const HeadSite head = find_head(checkpoint);
    list.found.push_back(
        {.name = head.name, .layer = list.layer, .outputs = head.outputs, .inputs = head.inputs});
  }
  for (PlannedSite& site : list.found) {
    const bool is_head = site.layer == checkpoint.model.layers;
    const auto choice = choice_for(site.name, {plan.scheme, plan.method}, rules);
    if (!choice && !is_head) plan.exceptions.emplace(site.name, std::nullopt);
    if (!choice) continue;
    const Scheme& scheme = choice->scheme;
    if (scheme != plan.scheme) plan.exceptions.emplace(site.name, scheme);
    site.scheme = scheme;
    site.method = choice->method;
    plan.needs.add(choice->method->needs);
    const std::string refusal = plan.format->refuses(scheme, site.outputs, site.inputs);
    ensure(refusal.empty(), site.name, ": ", refusal,
           advice(*plan.format, scheme, site.outputs, site.inputs));
    plan.sites.push_back(site);
    plan.has_head = is_head;
  }
  // A block is either searched as a whole or walked linear by linear.
  for (const PlannedSite& site : plan.sites)
    ensure(!plan.needs.block || site.method->needs.block || !site.method->needs.calibration(),
           "--rule: ", site.name, ": ", site.method->name,
           " cannot share a model with a method that quantizes whole blocks");
  ensure(!plan.sites.empty(), "--rule: nothing is left to quantize");
  return plan;
}

void for_slices(const Tensor& t, const std::function<void(const Tensor&)>& work) {
  constexpr std::size_t slice_bytes = std::size_t{32} << 20;
  if (t.shape().rank() == 0 || t.bytes() <= slice_bytes) {
    work(t);
  } else {
    const auto row = static_cast<std::int64_t>(t.bytes()) / t.dim(0);
    const std::int64_t step =
        std::max<std::int64_t>(1, slice_bytes / std::max<std::int64_t>(row, 1));
    for (std::int64_t at = 0; at < t.dim(0); at += step) {
      work(t.rows(at, std::min(at + step, t.dim(0))));
      drop_mapped_pages();
    }
  }
}

std::uint64_t checked_weights(const Checkpoint& checkpoint) {
  std::string problems;
  std::uint64_t identity = 0;
  for (const TensorInfo& info : checkpoint.source->tensors()) {
    if (!info.foreign_dtype.empty()) continue;
    const Tensor t = checkpoint.source->read(info.name);
    std::int64_t bad = 0;
    for_slices(t, [&](const Tensor& slice) {
      bad += count_non_finite(slice);
      identity = digest({slice.host(), slice.bytes()}, identity);
    });
    if (bad > 0)
      problems += text("\n  tensor '", info.name, "' holds ", bad, " of ", info.shape.size());
  }
  ensure_file(problems.empty(), checkpoint.directory.string(), ": non-finite weights:", problems);
  return identity;
}

}  // namespace quaver
