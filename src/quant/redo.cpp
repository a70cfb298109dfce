#include "quant/redo.h"

#include <algorithm>
#include <array>
#include <regex>

#include "core/file.h"
#include "core/options.h"
#include "io/dialect.h"
#include "io/manifest.h"
#include "quant/job.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

// Options that may differ from module to module: of its grid, and of how it is solved.
constexpr std::array of_grid{"method", "bits", "group_size", "sym"};
constexpr std::array of_solver{"damp", "scale_search", "coordinate_descent", "stream_target",
                               "act_group_aware"};

template <std::size_t n>
bool is_among(const std::array<const char*, n>& names, const std::string& key) {
  return std::ranges::find(names, std::string_view(key)) != names.end();
}

void set_option(QuantizeOptions& options, const std::string& key, const std::string& value) {
  for (const Option& option : options_of(options)) {
    std::string name = option.name;
    std::ranges::replace(name, '-', '_');
    if (name == key) option.set(value);
  }
}

// KEY=VALUE[,KEY=VALUE]
std::map<std::string, std::string> read_settings(const std::vector<std::string>& words) {
  std::string known;
  for (const char* key : of_grid) known += text(known.empty() ? "" : ", ", key);
  for (const char* key : of_solver) known += text(", ", key);
  std::map<std::string, std::string> settings;
  for (const std::string& word : words) {
    std::string_view rest = word;
    for (bool more = true; more;) {
      const std::size_t comma = rest.find(',');
      const std::string_view setting = rest.substr(0, comma);
      more = comma != std::string_view::npos;
      if (more) rest.remove_prefix(comma + 1);
      const std::size_t equals = setting.find('=');
      std::string key(setting.substr(0, equals));
      std::ranges::replace(key, '-', '_');
      ensure(
          equals != std::string_view::npos && (is_among(of_grid, key) || is_among(of_solver, key)),
          "--set ", word, ": '", setting,
          "' is no KEY=VALUE that a module can have; known: ", known);
      ensure(settings.emplace(key, setting.substr(equals + 1)).second, "--set: ", key,
             " is set twice");
    }
  }
  return settings;
}

std::set<std::string> matching(const std::string& pattern, const Plan& plan) {
  const std::regex regex = module_pattern("--redo", pattern);
  std::set<std::string> names;
  for (const PlannedSite& site : plan.sites)
    if (std::regex_search(site.name, regex)) names.insert(site.name);
  if (names.empty())
    fail(Fault::bad_argument, "--redo ", pattern,
         ": no quantized module has such a name; those are ", plan.sites.front().name, " ... ",
         plan.sites.back().name);
  return names;
}

// What the configuration says of a module that differs from the plan's scheme.
void note_exception(Plan& plan, const PlannedSite& site) {
  if (site.scheme == plan.scheme)
    plan.exceptions.erase(site.name);
  else
    plan.exceptions[site.name] = site.scheme;
}

// Its weights and configuration are those that were written and verified.
void check_output(const fs::path& directory) {
  std::map<std::string, FileHash> listed = read_manifest(directory).outputs;
  std::erase_if(listed, [](const auto& file) {
    return !file.first.ends_with(".safetensors") && file.first != "config.json";
  });
  const std::vector<HashProblem> problems = check_hashes(listed, directory);
  if (!problems.empty())
    fail(Fault::bad_file, (directory / problems.front().file).string(), ": ",
         problems.front().found, ", expected ", problems.front().expected,
         "; --redo changes only outputs that are as they were written");
}

}  // namespace

std::optional<Redo> plan_redo(const Checkpoint& checkpoint, const QuantizeOptions& options,
                              const Plan& plan) {
  ensure(!options.redo.empty() || options.redo_settings.empty(),
         "--set changes how the modules of --redo REGEX are quantized; no --redo is given");
  if (options.redo.empty()) return std::nullopt;
  const auto settings = read_settings(options.redo_settings);
  QuantizeOptions all = options, solver = options;
  Redo redo{.chosen = matching(options.redo, plan), .plan = {}, .record = {}};
  Json set = Json::object();
  for (const auto& [key, value] : settings) {
    try {
      set_option(all, key, value);
      if (is_among(of_solver, key)) set_option(solver, key, value);
    } catch (const Error& error) {
      fail(Fault::bad_argument, "--set ", key, "=", value, ": ", error.what());
    }
    set[key] = value;
  }
  if (settings.contains("scale_search")) solver.mse = false;
  redo.record = {{"modules", options.redo}, {"set", std::move(set)}};
  redo.plan = make_plan(checkpoint, solver);
  redo.plan.needs = {};
  for (PlannedSite& site : redo.plan.sites) {
    if (!redo.chosen.contains(site.name)) continue;
    if (settings.contains("bits")) site.scheme.bits = all.bits;
    if (settings.contains("group_size")) site.scheme.group_size = all.group_size;
    if (settings.contains("sym")) site.scheme.symmetric = all.sym;
    if (settings.contains("method")) site.method = &find_method(all.method);
    redo.plan.needs.add(site.method->needs);
    const std::string refusal = redo.plan.format->refuses(site.scheme, site.outputs, site.inputs);
    ensure(refusal.empty(), "--set: ", site.name, ": ", refusal);
    note_exception(redo.plan, site);
  }
  std::set<int> layers;
  for (const PlannedSite& site : redo.plan.sites)
    if (redo.chosen.contains(site.name)) layers.insert(site.layer);
  for (const PlannedSite& site : redo.plan.sites)
    ensure(
        !redo.plan.needs.block || !layers.contains(site.layer) || redo.chosen.contains(site.name),
        "--redo ", options.redo, ": ", site.method->name, " quantizes whole blocks, and ",
        site.name, " is left out");
  return redo;
}

std::map<std::string, Tensor> Kept::tensors(const PlannedSite& site, const Format& format) const {
  std::map<std::string, Tensor> found;
  for (const PartInfo& part : format.parts(site.scheme, site.outputs, site.inputs)) {
    const std::string name = text(site.name, '.', part.name);
    if (made.source->find(name)) found.emplace(name, made.source->read(name));
  }
  return found;
}

Packed Kept::packed(const PlannedSite& site, const Format& format) const {
  Packed packed{
      .format = &format, .scheme = site.scheme, .rows = site.outputs, .cols = site.inputs};
  for (auto& [name, tensor] : tensors(site, format))
    packed.parts.emplace(name.substr(site.name.size() + 1), tensor);
  return packed;
}

std::vector<QuantizedModule> Kept::merged(const std::vector<QuantizedModule>& made_anew) const {
  std::vector<QuantizedModule> all = report.modules;
  for (QuantizedModule& module : all)
    for (const QuantizedModule& fresh : made_anew)
      if (fresh.name == module.name) module = fresh;
  return all;
}

Kept take_output(const fs::path& out, Redo& redo, Json& job,
                 std::span<const Arch* const> own_archs) {
  const fs::path from = earlier_output(out);
  const Json found = from.empty() ? Json() : read_json_file((from / report_file).string());
  ensure(found.is_object() && found.contains("job"), "--redo changes a finished output, and ",
         out.string(), " is none; the command without --redo makes it, or goes on with it");
  Json made_by = found["job"];
  Json redone = made_by.value("redo", Json::array());
  made_by.erase("redo");
  ensure(made_by == job, out.string(), " was made by another command",
         difference_of_jobs(made_by, job),
         "; --redo and --set are added to the command that made it");
  check_output(from);
  Kept kept{.made = open_model(from, {.own = own_archs}),
            .report = read_report_json(found, from.string()),
            .sites = {}};
  const Dialect* dialect = find_dialect(kept.made.quantization);
  for (PlannedSite& site : redo.plan.sites) {
    if (redo.chosen.contains(site.name)) {
      kept.stages = std::max(kept.stages, site.layer + 1);
      continue;
    }
    kept.sites.insert(site.name);
    const auto scheme = dialect->scheme(kept.made.quantization, site.name);
    ensure_file(scheme.has_value(), from.string(), ": ", site.name, " is not quantized");
    site.scheme = *scheme;
    note_exception(redo.plan, site);
  }
  redone.push_back(redo.record);
  job["redo"] = std::move(redone);
  return kept;
}

}  // namespace quaver
