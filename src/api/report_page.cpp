#include "api/report_page.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>

#include "api/report.h"
#include "api/svg.h"
#include "core/error.h"
#include "core/options.h"

namespace quaver {
namespace {

constexpr const char* style = R"(
:root{color-scheme:light dark;--ink:#1a202c;--soft:#5a6573;--line:#d8dee6;--card:#f5f7fa;--page:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b1;--line:#343c47;--card:#1d232b;--page:#12161b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .4rem}p{margin:.3rem 0}.soft{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1.2rem 0}
.cards div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.cards b{display:block;font-size:1.25rem}.cards span{color:var(--soft);font-size:.85rem}
svg{width:100%;height:auto;margin:.4rem 0}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line)}
table{border-collapse:collapse;width:100%;font-size:.88rem}td,th{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
td:first-child,th:first-child{text-align:left}.words td{text-align:left;white-space:pre-wrap;width:50%}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem;overflow-x:auto;white-space:pre-wrap}
.legend span{margin-right:1rem;font-size:.85rem}.legend i{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem;border-radius:.15rem}
.scroll{overflow-x:auto}summary{cursor:pointer}
)";

std::string rounded(double value, int digits) {
  char out[64];
  std::snprintf(out, sizeof out, "%.*f", digits, value);
  return out;
}

std::string bytes_in_words(double bytes) {
  for (const auto& [unit, name] :
       {std::pair{1e9, " GB"}, std::pair{1e6, " MB"}, std::pair{1e3, " kB"}})
    if (bytes >= unit) return rounded(bytes / unit, bytes >= 10 * unit ? 1 : 2) + name;
  return rounded(bytes, 0) + " B";
}

std::string seconds_in_words(double seconds) {
  if (seconds < 120) return rounded(seconds, 1) + " s";
  const auto minutes = static_cast<long>(seconds / 60);
  return minutes < 120 ? text(minutes, " min") : text(minutes / 60, " h ", minutes % 60, " min");
}

std::string scheme_in_words(const QuantizeOptions& o) {
  return text(
      o.method, ", ", o.bits, " bits, ",
      o.group_size == -1 ? std::string("one scale a row") : text("groups of ", o.group_size),
      o.sym ? ", symmetric" : ", asymmetric");
}

std::string with_error(double value, double error, int digits) {
  return text(rounded(value, digits), " ± ", rounded(error, digits));
}

// What the modules are by kind and layer; experts of a layer count as their mean.
struct Cell {
  double sum = 0;
  int count = 0;
};
class Grid {
 public:
  Grid(const QuantizeReport& report, double (*value)(const QuantizedModule&)) {
    for (const QuantizedModule& m : report.modules) {
      const std::string kind = module_kind(m.name);
      if (!cells_.contains(kind)) kinds_.push_back(kind);
      const int layer = module_layer(m.name);
      Cell& cell = cells_[kind][layer];
      cell.sum += value(m);
      ++cell.count;
      layers_ = std::max(layers_, layer + 1);
      has_head_ |= layer < 0;
    }
  }

  std::string heat_map(const char* unit, bool logarithmic) const {
    HeatMap map{.rows = {}, .columns = {}, .values = {}, .unit = unit, .logarithmic = logarithmic};
    for (int layer = 0; layer < layers_; ++layer) map.columns.push_back(std::to_string(layer));
    if (has_head_) map.columns.push_back("head");
    for (const std::string& kind : kinds_) {
      map.rows.push_back(short_name(kind));
      std::vector<double>& row = map.values.emplace_back();
      for (int layer = 0; layer < layers_; ++layer) row.push_back(at(kind, layer));
      if (has_head_) row.push_back(at(kind, -1));
    }
    return svg_of(map);
  }

  std::string lines(const char* y_label) const {
    LineChart chart{.x_label = "layer", .y_label = y_label, .series = {}};
    for (const std::string& kind : kinds_) {
      if (cells_.at(kind).contains(-1)) continue;  // one point is no line
      auto& series = chart.series.emplace_back();
      series.label = short_name(kind);
      for (int layer = 0; layer < layers_; ++layer)
        if (const double v = at(kind, layer); !std::isnan(v)) series.points.emplace_back(layer, v);
    }
    return svg_of(chart);
  }

  bool is_uniform() const {
    const double first = at(kinds_.front(), cells_.at(kinds_.front()).begin()->first);
    for (const auto& [kind, row] : cells_)
      for (const auto& [layer, cell] : row)
        if (cell.sum / cell.count != first) return false;
    return true;
  }

 private:
  double at(const std::string& kind, int layer) const {
    const auto& row = cells_.at(kind);
    const auto found = row.find(layer);
    if (found == row.end()) return std::numeric_limits<double>::quiet_NaN();
    return found->second.sum / found->second.count;
  }

  // "model.layers.*.mlp.up_proj" -> "mlp.up_proj"
  static std::string short_name(const std::string& kind) {
    const std::size_t star = kind.find(".*.");
    return star == std::string::npos ? kind : kind.substr(star + 3);
  }

  std::vector<std::string> kinds_;
  std::map<std::string, std::map<int, Cell>> cells_;
  int layers_ = 0;
  bool has_head_ = false;  // a module outside the layers
};

std::string card(const std::string& value, const std::string& label) {
  return text("<div><b>", html_escaped(value), "</b><span>", html_escaped(label), "</span></div>");
}

// What was expected at the start, and what it came to.
std::string plan_and_fact(const QuantizeReport& r) {
  const QuantizeForecast& planned = *r.planned;
  std::string out = "<table><tr><th></th><th>planned</th><th>fact</th><th>of plan</th></tr>";
  const auto line = [&](const char* what, const std::string& before, const std::string& after,
                        double expected, double fact) {
    out += text("<tr><td>", what, "</td><td>", before, "</td><td>", after, "</td><td>",
                expected > 0 ? rounded(100 * fact / expected, 0) + " %" : "", "</td></tr>");
  };
  const auto bytes = [&](const char* what, std::int64_t expected, std::int64_t fact) {
    const auto before = static_cast<double>(expected), after = static_cast<double>(fact);
    line(what, bytes_in_words(before), bytes_in_words(after), before, after);
  };
  if (planned.seconds > 0)
    line("time", seconds_in_words(planned.seconds), seconds_in_words(r.seconds), planned.seconds,
         r.seconds);
  bytes("memory", planned.peak_rss_bytes, r.peak_rss_bytes);
  bytes("disk", planned.disk_bytes, r.disk_bytes);
  return out + "</table>\n";
}

std::string cards(const Description& d) {
  const QuantizeReport& r = d.report;
  double worst = 0, sum = 0;
  for (const QuantizedModule& m : r.modules) worst = std::max(worst, m.error), sum += m.error;
  std::string out = "<div class=\"cards\">";
  if (r.evaluation) {
    const EvaluateResult &before = r.evaluation->before, &after = r.evaluation->after;
    out += card(text(rounded(before.perplexity, 2), " → ", rounded(after.perplexity, 2)),
                "perplexity");
    if (after.kl) out += card(rounded(*after.kl, 4), "KL divergence, nats a token");
    if (after.top1) out += card(rounded(100 * *after.top1, 1) + " %", "same likeliest token");
  }
  out += card(text(bytes_in_words(static_cast<double>(d.weights_before)), " → ",
                   bytes_in_words(static_cast<double>(d.weights_after))),
              "weight files");
  out += card(rounded(r.bits_per_weight, 3), "bits a quantized weight");
  out += card(std::to_string(r.modules.size()), "linears quantized");
  out += card(short_number(sum / static_cast<double>(std::max<std::size_t>(r.modules.size(), 1))),
              "mean relative error");
  out += card(short_number(worst), "worst relative error");
  out += card(seconds_in_words(r.seconds), "time");
  out += card(bytes_in_words(static_cast<double>(r.peak_rss_bytes)), "most memory");
  return out + "</div>\n" + (r.planned ? plan_and_fact(r) : "");
}

std::string quality(const QuantizeEvaluation& e) {
  const EvaluateResult &a = e.before, &b = e.after;
  std::string out = "<h2>Quality</h2>\n<table><tr><th></th><th>before</th><th>after</th></tr>";
  out += text("<tr><td>perplexity</td><td>", with_error(a.perplexity, a.perplexity_stderr, 3),
              "</td><td>", with_error(b.perplexity, b.perplexity_stderr, 3), "</td></tr>");
  if (b.kl)
    out += text("<tr><td>KL divergence, nats a token</td><td></td><td>",
                with_error(*b.kl, b.kl_stderr.value_or(0), 5), "</td></tr>");
  if (b.top1)
    out += text("<tr><td>same likeliest token</td><td></td><td>", rounded(100 * *b.top1, 2),
                " %</td></tr>");
  out += text("</table><p class=\"soft\">", b.tokens, " tokens in ", b.windows, " windows of ",
              b.context, ", protocol ", html_escaped(b.protocol),
              "; ± is one standard error, tokens taken as independent.</p>\n");
  if (e.samples.empty()) return out;
  out += "<h2>Texts</h2><p class=\"soft\">Each model's likeliest continuation.</p>\n";
  for (const QuantizeSample& s : e.samples)
    out += text("<table class=\"words\"><tr><td colspan=\"2\"><b>", html_escaped(s.prompt),
                "</b></td></tr><tr><td><span class=\"soft\">before</span>\n",
                html_escaped(s.before), "</td><td><span class=\"soft\">after</span>\n",
                html_escaped(s.after), "</td></tr></table>\n");
  return out;
}

std::string exceptions(const Description& d) {
  std::string rows;
  for (const QuantizedModule& m : d.report.modules)
    if (!m.fallback.empty() || m.damp > d.options.damp * 1.0001)
      rows += text("<tr><td>", html_escaped(m.name), "</td><td>", short_number(m.damp), "</td><td>",
                   html_escaped(m.fallback.empty() ? "more damping" : m.fallback), "</td></tr>");
  if (rows.empty())
    return text("<p>Every Hessian was factored with the damping that was asked for (",
                short_number(d.options.damp), "); no module fell back to another method.</p>\n");
  return text("<table><tr><th>module</th><th>damping</th><th>why</th></tr>", rows, "</table>\n");
}

std::string module_table(const QuantizeReport& r) {
  std::string out =
      "<details><summary>All modules</summary><div class=\"scroll\"><table><tr><th>module</th>"
      "<th>method</th><th>shape</th><th>bits</th><th>group</th><th>error</th><th>tokens</th>"
      "<th>condition ≥</th><th>damping</th><th>seconds</th></tr>\n";
  for (const QuantizedModule& m : r.modules)
    out += text("<tr><td>", html_escaped(m.name), "</td><td>", html_escaped(m.method), "</td><td>",
                m.outputs, " × ", m.inputs, "</td><td>", m.bits, "</td><td>", m.group_size,
                "</td><td>", short_number(m.error), "</td><td>", tokens_in_words(m), "</td><td>",
                m.condition > 0 ? short_number(m.condition) : std::string("–"), "</td><td>",
                short_number(m.damp), "</td><td>", rounded(m.seconds, 2), "</td></tr>\n");
  return out + "</table></div></details>\n";
}

// What the router sent to the experts, where there are any.
std::string experts_paragraph(const QuantizeReport& r) {
  std::int64_t fewest = 0, most = 0, count = 0, unreached = 0;
  for (const QuantizedModule& m : r.modules) {
    if (m.pooled == 0) continue;
    fewest = count == 0 ? m.rows : std::min(fewest, m.rows);
    most = std::max(most, m.rows);
    ++count;
    unreached += m.rows == 0;
  }
  if (count == 0) return {};
  return text("<p class=\"soft\">The ", count, " linears of experts saw ", fewest, " to ", most,
              " calibration tokens each; the Hessian of each is shrunk towards that of all experts "
              "of its layer, the more the fewer it saw. ",
              unreached, " saw none and have their layer's alone.</p>\n");
}

std::string memory_chart(const QuantizeReport& r) {
  LineChart chart{.x_label = "seconds", .y_label = "MB resident", .series = {{}}, .filled = true};
  for (const MemorySample& m : r.memory)
    chart.series[0].points.emplace_back(m.seconds, static_cast<double>(m.bytes) / 1e6);
  const std::string drawn = svg_of(chart);
  return drawn.empty() ? "" : "<h2>Memory over time</h2>\n" + drawn;
}

std::string pictures(const QuantizeReport& r) {
  const auto error = [](const QuantizedModule& m) { return m.error; };
  const auto bits = [](const QuantizedModule& m) { return double{1} * m.bits; };
  const auto condition = [](const QuantizedModule& m) { return m.condition; };
  const Grid errors(r, error), widths(r, bits), conditions(r, condition);
  std::string out = text(
      "<h2>Error of each module</h2><p class=\"soft\">Squared error of the outputs on the "
      "calibration inputs as a share of the outputs' square (without calibration: of the "
      "weights). Brighter is larger.</p>\n",
      errors.heat_map("", true), errors.lines("relative error"));
  if (!widths.is_uniform())
    out += text("<h2>Bits of each module</h2>\n", widths.heat_map(" bits", false));
  if (std::ranges::any_of(r.modules, [](const QuantizedModule& m) { return m.condition > 0; }))
    out += text(
        "<h2>Condition of the Hessians</h2><p class=\"soft\">At least; damping included."
        "</p>\n",
        conditions.heat_map("", true));
  return out;
}

// As a shell reads it.
std::string in_quotes(const std::string& word) {
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:,+";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string fenced(const std::string& words) { return text("```sh\n", words, "\n```\n"); }

// For a table cell of Markdown.
std::string one_line(std::string s) {
  std::string out;
  for (const char c : s) {
    if (c == '\n')
      out += " ⏎ ";
    else if (c == '|')
      out += "\\|";
    else if (c == '<')
      out += "&lt;";
    else if (static_cast<unsigned char>(c) >= 0x20)
      out += c;
  }
  return out;
}

std::string quality_section(const QuantizeEvaluation& e) {
  const EvaluateResult &a = e.before, &b = e.after;
  std::string out = "\n## Quality\n\n| | before | after |\n|---|---|---|\n";
  out += text("| perplexity | ", with_error(a.perplexity, a.perplexity_stderr, 3), " | ",
              with_error(b.perplexity, b.perplexity_stderr, 3), " |\n");
  if (b.kl)
    out += text("| KL divergence, nats a token | | ", with_error(*b.kl, b.kl_stderr.value_or(0), 5),
                " |\n");
  if (b.top1) out += text("| same likeliest token | | ", rounded(100 * *b.top1, 2), " % |\n");
  out += text("\n", b.tokens, " tokens in ", b.windows, " windows of ", b.context, ", protocol ",
              b.protocol, ".\n");
  if (e.samples.empty()) return out;
  out += "\n| prompt | before | after |\n|---|---|---|\n";
  for (const QuantizeSample& s : e.samples)
    out +=
        text("| ", one_line(s.prompt), " | ", one_line(s.before), " | ", one_line(s.after), " |\n");
  return out;
}

}  // namespace

std::string command_of(const Description& d) {
  QuantizeOptions chosen = d.options, standard;
  std::string out = text("quaver quantize ", d.base_model, " OUT");
  const auto fields = options_of(chosen), defaults = options_of(standard);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Option& field = fields[i];
    if (field.name == "overwrite" || field.name == "base-model") continue;
    const Json value = field.json();
    if (value == defaults[i].json() || value.is_null()) continue;
    if (field.is_switch && value.is_boolean()) {
      out += ' ' + (value.get<bool>() ? field.flag() : field.off_flag());
      continue;
    }
    for (const Json& item : value.is_array() ? value : Json::array({value})) {
      std::string word = item.is_string() ? item.get<std::string>() : item.dump();
      // Where a file lay on the machine of the maker says nothing to a reader.
      if (field.name == "calibration" || field.name == "evaluate" || field.name == "arch-file")
        word = std::filesystem::path(word).filename().string();
      out += text(' ', field.flag(), ' ', in_quotes(word));
    }
  }
  return out;
}

std::string report_page(const Description& d) {
  const std::string title = html_escaped(d.base_model) + ", quantized";
  std::string out = text(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>",
      title, "</title><style>", style, "</style></head><body>\n<h1>", title,
      "</h1>\n<p class=\"soft\">", html_escaped(scheme_in_words(d.options)), "; layout ",
      html_escaped(d.options.format), "; quaver " QUAVER_VERSION "</p>\n", cards(d), "<pre>",
      html_escaped(command_of(d)), "</pre>\n");
  if (d.report.evaluation) out += quality(*d.report.evaluation);
  if (!d.report.modules.empty()) out += pictures(d.report);
  out += "<h2>Damping and fallbacks</h2>\n" + exceptions(d) + experts_paragraph(d.report);
  out += memory_chart(d.report);
  out += "<h2>Modules</h2>\n" + module_table(d.report);
  return out + "</body></html>\n";
}

std::string model_card(const Description& d) {
  const QuantizeReport& r = d.report;
  double worst = 0, sum = 0;
  for (const QuantizedModule& m : r.modules) worst = std::max(worst, m.error), sum += m.error;
  std::string out =
      text("---\nbase_model: ", Json(d.base_model).dump(), "\nbase_model_relation: quantized\n");
  for (const std::string& line : d.licence) out += line + "\n";
  out += text("tags:\n- quaver\n- ", d.options.method, "\n- ", d.options.bits, "-bit\n---\n\n# ",
              one_line(d.base_model), ", ", d.options.bits, " bits\n\nMade from ",
              one_line(d.base_model), " by quaver " QUAVER_VERSION ": ", scheme_in_words(d.options),
              ", layout ", d.options.format, ".\n\n");
  out += fenced(command_of(d));
  out += text("\n| | |\n|---|---|\n| weight files | ",
              bytes_in_words(static_cast<double>(d.weights_before)), " before, ",
              bytes_in_words(static_cast<double>(d.weights_after)), " after |\n",
              "| bits a quantized weight | ", rounded(r.bits_per_weight, 3), " |\n",
              "| linears quantized | ", r.modules.size(), " |\n| mean relative error | ",
              short_number(sum / static_cast<double>(std::max<std::size_t>(r.modules.size(), 1))),
              " |\n| worst relative error | ", short_number(worst), " |\n");
  if (r.evaluation) out += quality_section(*r.evaluation);
  out += "\nEvery module's error and the course of the job: `report.html`, `quaver-report.json`.\n";
  if (d.files.empty()) return out;
  out += "\n## Files\n\n| file | bytes | sha256 |\n|---|---|---|\n";
  for (const DescribedFile& f : d.files)
    out += text("| ", one_line(f.name), " | ", f.bytes, " | `", f.sha256, "` |\n");
  return out;
}

}  // namespace quaver
