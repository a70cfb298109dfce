#include "quaver/quantize.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "api/report.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace quaver::cli {
namespace {

constexpr std::size_t most_table_rows = 40;  // above, modules of the same kind share a line

std::string full_table(const QuantizeReport& report) {
  std::vector<std::vector<std::string>> rows{
      {"module", "method", "bits", "group", "error", "tokens", "damp", "seconds"}};
  for (const QuantizedModule& m : report.modules)
    rows.push_back({m.name, m.method, std::to_string(m.bits), std::to_string(m.group_size),
                    fixed(m.error, 5), tokens_in_words(m), fixed(m.damp, 3), fixed(m.seconds, 2)});
  return aligned(rows);
}

std::string condensed_table(const QuantizeReport& report) {
  struct Line {
    const QuantizedModule* first = nullptr;
    bool mixed = false;
    int count = 0;
    std::int64_t fewest = 0, most = 0;  // tokens
    double error = 0, worst = 0, damp = 0, seconds = 0;
  };
  std::vector<std::string> order;
  std::map<std::string, Line> lines;
  for (const QuantizedModule& m : report.modules) {
    Line& line = lines[module_kind(m.name)];
    if (line.count++ == 0) order.push_back(module_kind(m.name)), line.first = &m;
    line.mixed |= m.bits != line.first->bits || m.group_size != line.first->group_size ||
                  m.method != line.first->method;
    line.fewest = line.count == 1 ? m.rows : std::min(line.fewest, m.rows);
    line.most = std::max(line.most, m.rows);
    line.error += m.error;
    line.worst = std::max(line.worst, m.error);
    line.damp = std::max(line.damp, m.damp);
    line.seconds += m.seconds;
  }
  std::vector<std::vector<std::string>> rows{{"modules", "count", "method", "bits", "group",
                                              "mean error", "worst", "tokens", "max damp",
                                              "seconds"}};
  for (const std::string& kind : order) {
    const Line& line = lines[kind];
    const QuantizedModule& m = *line.first;
    rows.push_back(
        {kind, std::to_string(line.count), line.mixed ? "mixed" : m.method,
         line.mixed ? "mixed" : std::to_string(m.bits),
         line.mixed ? "mixed" : std::to_string(m.group_size), fixed(line.error / line.count, 5),
         fixed(line.worst, 5),
         line.fewest == line.most ? std::to_string(line.most) : text(line.fewest, "..", line.most),
         fixed(line.damp, 3), fixed(line.seconds, 2)});
  }
  return aligned(rows);
}

std::string summary(const QuantizeReport& report) {
  std::string out;
  if (report.already_done)
    out += text(report.out, " is whole already and was made by this very job; nothing to do.\n\n");
  out += report.modules.size() > most_table_rows ? condensed_table(report) : full_table(report);
  for (const QuantizedModule& m : report.modules)
    if (!m.fallback.empty()) out += text("fallback: ", m.name, ": ", m.fallback, "\n");
  const auto unreached =
      std::ranges::count_if(report.modules, [](const auto& m) { return m.pooled == 1; });
  if (unreached > 0)
    out += text("pooled: ", unreached,
                " linears of experts that no calibration token reached have the Hessian of all "
                "experts of their layer\n");
  out += text("\n", report.modules.size(), " modules, ", fixed(report.bits_per_weight, 3),
              " bits a weight, ", time_in_words(report.seconds), ", at most ",
              in_words(report.peak_rss_bytes), " of memory, ", in_words(report.disk_bytes),
              " on disk\n");
  if (const auto& planned = report.planned)
    out += text("planned: ", planned->seconds > 0 ? time_in_words(planned->seconds) + ", " : "",
                in_words(planned->peak_rss_bytes), " of memory, ", in_words(planned->disk_bytes),
                " on disk\n");
  out +=
      text("written and verified: ", report.out, "\nreport: ", report.out, "/quaver-report.json\n");
  return out;
}

int run_quantize(const Command& self, std::span<const std::string> arguments) {
  QuantizeOptions options;
  PrecisionOptions precision;
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 2, 2, common, source, options, precision);
  if (!words) return 0;
  check_model_path((*words)[0]);
  if (!options.calibration.empty()) check_input_file(options.calibration);
  catch_interrupts();
  Progress progress(common);
  QuantizeReport report;
  try {
    const auto show = [&](const QuantizeProgress& p) {
      Json event{{"event", p.stage}, {"done", p.done}, {"total", p.total}};
      if (!p.module.empty()) event["module"] = p.module, event["error"] = p.error;
      if (p.left >= 0) event["left"] = p.left;
      if (p.samples > 0) event["samples"] = p.samples;
      if (!p.module.empty() && p.rows > 0) event["rows"] = p.rows;
      if (p.rows_per_second > 0) event["rows_per_second"] = p.rows_per_second;
      std::string what = p.stage;
      if (!p.module.empty()) what += "  " + p.module + "  error " + fixed(p.error, 5);
      if (p.rows_per_second > 0) what += text("  ", std::llround(p.rows_per_second), " rows/s");
      progress.step(what, p.done, p.total, p.left, std::move(event));
      stop_if_interrupted();
    };
    report = quaver::quantize((*words)[0], (*words)[1], options, show, source.load());
  } catch (const Error& error) {
    progress.clear();
    progress.event({{"event", "error"}, {"message", error.what()}});
    if (error.fault != Fault::interrupted) throw;
    note(common, text("quaver: interrupted; ", (*words)[1],
                      " is not written yet; the same command goes on "
                      "where this one stopped, with the work in ",
                      (*words)[1], ".partial"));
    return 130;
  }
  progress.clear();
  progress.event({{"event", "finished"}, {"out", report.out}, {"seconds", report.seconds}});
  if (common.json)
    print_json(report_json(report));
  else if (!common.quiet)
    print(summary(report));
  const auto fell_back = [](const QuantizedModule& m) { return !m.fallback.empty(); };
  return options.strict && std::ranges::any_of(report.modules, fell_back) ? 5 : 0;
}

}  // namespace

constinit const Command quantize = {
    .name = "quantize",
    .arguments = "MODEL OUT",
    .summary = "quantize a checkpoint, verify the result, print a table",
    .help =
        "Quantizes the linears of MODEL, a Hugging Face checkpoint directory, block by block, and\n"
        "writes OUT: packed weights, configs, tokenizer and quaver-report.json. The work lies in\n"
        "OUT.partial until it is whole and verified; after Ctrl-C or a kill the same command goes\n"
        "on there. The same command on a finished OUT prints its summary; another job needs\n"
        "--overwrite.\n"
        "\n"
        "Examples:\n"
        "  quaver quantize models/story-opt story-opt-4bit\n"
        "  quaver quantize models/story-opt story-opt-3bit --bits 3 --group-size 64 --asym\n"
        "  quaver quantize models/story-opt story-opt-rtn --method rtn --rule 'fc2=bits:8'\n"
        "  quaver quantize models/story-opt story-opt-4bit --redo 'layers\\.3\\..*' --set "
        "damp=0.05\n",
    .run = run_quantize,
};

}  // namespace quaver::cli
