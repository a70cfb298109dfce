#include "quant/report.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace quaver {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

std::optional<double> optional_number(const Json& j, const char* key, const std::string& where) {
  if (!j.contains(key) || j[key].is_null()) return std::nullopt;
  return json_number(j, key, where, 0);
}

Json module_json(const QuantizedModule& m) {
  return {{"name", m.name},
          {"method", m.method},
          {"bits", m.bits},
          {"group_size", m.group_size},
          {"sym", m.sym},
          {"outputs", m.outputs},
          {"inputs", m.inputs},
          {"error", m.error},
          {"damp", m.damp},
          {"rows", m.rows},
          {"pooled", m.pooled},
          {"condition", m.condition},
          {"fallback", m.fallback.empty() ? Json() : Json(m.fallback)},
          {"seconds", m.seconds}};
}

QuantizedModule read_module(const Json& m, const std::string& where) {
  return {.name = json_string(m, "name", where),
          .method = json_string(m, "method", where),
          .bits = static_cast<int>(json_int(m, "bits", where, 0)),
          .group_size = json_int(m, "group_size", where, 0),
          .error = json_number(m, "error", where, 0),
          .damp = json_number(m, "damp", where, 0),
          .fallback = json_string(m, "fallback", where, ""),
          .seconds = json_number(m, "seconds", where, 0),
          .outputs = json_int(m, "outputs", where, 0),
          .inputs = json_int(m, "inputs", where, 0),
          .sym = json_bool(m, "sym", where, true),
          .rows = json_int(m, "rows", where, 0),
          .condition = json_number(m, "condition", where, 0),
          .pooled = json_number(m, "pooled", where, 0)};
}

EvaluateResult read_evaluation(const Json& j, const std::string& where) {
  EvaluateResult r;
  r.perplexity = json_number(j, "perplexity", where, 0);
  r.perplexity_stderr = json_number(j, "perplexity_stderr", where, 0);
  r.nll = json_number(j, "nll", where, 0);
  r.tokens = json_int(j, "tokens", where, 0);
  r.windows = json_int(j, "windows", where, 0);
  r.protocol = json_string(j, "protocol", where, "");
  r.context = json_int(j, "context", where, 0);
  r.kl = optional_number(j, "kl", where);
  r.kl_stderr = optional_number(j, "kl_stderr", where);
  r.top1 = optional_number(j, "top1", where);
  r.seconds = json_number(j, "seconds", where, 0);
  return r;
}

Json quality_json(const QuantizeEvaluation& e) {
  Json samples = Json::array();
  for (const QuantizeSample& s : e.samples)
    samples.push_back({{"prompt", s.prompt}, {"before", s.before}, {"after", s.after}});
  return {{"before", evaluation_json(e.before)},
          {"after", evaluation_json(e.after)},
          {"samples", std::move(samples)}};
}

QuantizeEvaluation read_quality(const Json& j, const std::string& where) {
  ensure_file(j.is_object() && j.contains("before") && j.contains("after"), where,
              ": 'evaluation' lacks 'before' or 'after'");
  QuantizeEvaluation e{read_evaluation(j["before"], where), read_evaluation(j["after"], where), {}};
  for (const Json& s : j.value("samples", Json::array()))
    e.samples.push_back({json_string(s, "prompt", where), json_string(s, "before", where),
                         json_string(s, "after", where)});
  return e;
}

Json forecast_json(const QuantizeForecast& f) {
  return {{"seconds", f.seconds > 0 ? Json(f.seconds) : Json()},
          {"peak_rss_bytes", f.peak_rss_bytes},
          {"disk_bytes", f.disk_bytes}};
}

bool is_number(const std::string& part) {
  return !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

}  // namespace

std::string module_kind(const std::string& name) {
  std::string kind;
  for (const std::string& part : parts_of(name))
    kind += (kind.empty() ? "" : ".") + (is_number(part) ? "*" : part);
  return kind;
}

int module_layer(const std::string& name) {
  for (const std::string& part : parts_of(name))
    if (is_number(part) && part.size() < 9) return std::stoi(part);
  return -1;
}

std::string tokens_in_words(const QuantizedModule& m) {
  if (m.rows == 0 && m.pooled > 0) return "0, pooled";
  if (m.rows == 0) return {};
  if (m.pooled == 0) return std::to_string(m.rows);
  return text(m.rows, ", ", std::llround(100 * m.pooled), " % pooled");
}

Json evaluation_json(const EvaluateResult& r) {
  return {{"perplexity", r.perplexity},
          {"perplexity_stderr", r.perplexity_stderr},
          {"nll", r.nll},
          {"tokens", r.tokens},
          {"windows", r.windows},
          {"protocol", r.protocol},
          {"context", r.context},
          {"kl", or_null(r.kl)},
          {"kl_stderr", or_null(r.kl_stderr)},
          {"top1", or_null(r.top1)},
          {"seconds", r.seconds}};
}

Json report_json(const QuantizeReport& report) {
  Json modules = Json::array(), memory = Json::array(), stages = Json::object();
  for (const auto& [stage, seconds] : report.stages) stages[stage] = seconds;
  for (const QuantizedModule& m : report.modules) modules.push_back(module_json(m));
  for (const MemorySample& m : report.memory) memory.push_back({m.seconds, m.bytes});
  return {{"out", report.out},
          {"seconds", report.seconds},
          {"peak_rss_bytes", report.peak_rss_bytes},
          {"disk_bytes", report.disk_bytes},
          {"planned", report.planned ? forecast_json(*report.planned) : Json()},
          {"bits_per_weight", report.bits_per_weight},
          {"modules", std::move(modules)},
          {"memory", std::move(memory)},
          {"stages", std::move(stages)},
          {"evaluation", report.evaluation ? quality_json(*report.evaluation) : Json()}};
}

Json plan_json(const QuantizePlan& plan) {
  Json modules = Json::array();
  for (const QuantizedModule& m : plan.modules)
    modules.push_back({{"name", m.name},
                       {"method", m.method},
                       {"bits", m.bits},
                       {"group_size", m.group_size},
                       {"sym", m.sym},
                       {"outputs", m.outputs},
                       {"inputs", m.inputs}});
  Json j = forecast_json(plan.expected);
  j.update({{"least_ram_bytes", plan.least_ram_bytes},
            {"working_disk_bytes", plan.working_disk_bytes},
            {"bits_per_weight", plan.bits_per_weight},
            {"samples", plan.samples},
            {"rows", plan.rows},
            {"modules", std::move(modules)}});
  return j;
}

QuantizeReport read_report_json(const Json& j, const std::string& where) {
  QuantizeReport report;
  report.seconds = json_number(j, "seconds", where, 0);
  report.peak_rss_bytes = json_int(j, "peak_rss_bytes", where, 0);
  report.disk_bytes = json_int(j, "disk_bytes", where, 0);
  report.bits_per_weight = json_number(j, "bits_per_weight", where, 0);
  if (j.contains("planned") && j["planned"].is_object()) {
    const Json& planned = j["planned"];
    report.planned = {.seconds = optional_number(planned, "seconds", where).value_or(0),
                      .peak_rss_bytes = json_int(planned, "peak_rss_bytes", where, 0),
                      .disk_bytes = json_int(planned, "disk_bytes", where, 0)};
  }
  ensure_file(j.contains("modules") && j["modules"].is_array(), where,
              ": the report has no modules");
  for (const Json& m : j["modules"]) report.modules.push_back(read_module(m, where));
  for (const Json& m : j.value("memory", Json::array()))
    if (m.is_array() && m.size() == 2 && m[0].is_number() && m[1].is_number_integer())
      report.memory.push_back({m[0].get<double>(), m[1].get<std::int64_t>()});
  if (j.contains("stages"))
    for (const auto& [stage, seconds] : j["stages"].items())
      if (seconds.is_number()) report.stages.emplace_back(stage, seconds.get<double>());
  if (j.contains("evaluation") && !j["evaluation"].is_null())
    report.evaluation = read_quality(j["evaluation"], where);
  return report;
}

}  // namespace quaver
