#include <algorithm>
#include <map>

#include "api/report.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "quaver/quantize.h"

namespace quaver::cli {
namespace {

// Modules of one kind that are stored in the same way share a line.
std::string module_table(const QuantizePlan& plan) {
  using Key = std::vector<std::string>;
  std::vector<Key> order;
  std::map<Key, std::pair<int, double>> lines;  // modules, and weights of all
  for (const QuantizedModule& m : plan.modules) {
    const Key key{module_kind(m.name),    m.method,
                  text(m.bits),           text(m.group_size),
                  m.sym ? "sym" : "asym", text(m.outputs, " x ", m.inputs)};
    auto& [count, weights] = lines[key];
    if (count++ == 0) order.push_back(key);
    weights += static_cast<double>(m.outputs) * static_cast<double>(m.inputs);
  }
  std::vector<std::vector<std::string>> rows{
      {"modules", "method", "bits", "group", "grid", "shape", "count", "million weights"}};
  for (const Key& key : order) {
    const auto& [count, weights] = lines[key];
    rows.push_back(key);
    rows.back().push_back(text(count));
    rows.back().push_back(fixed(weights / 1e6, 2));
  }
  return aligned(rows);
}

std::string in_words(const QuantizePlan& plan) {
  const QuantizeForecast& e = plan.expected;
  std::string out = module_table(plan) + "\n";
  out += text(plan.modules.size(), " modules, ", fixed(plan.bits_per_weight, 3), " bits a weight");
  if (plan.rows > 0)
    out += text("; calibration: ", plan.samples, " windows, ", plan.rows, " tokens");
  out += text("\ntime    ", time_in_words(e.seconds), "\nmemory  ", cli::in_words(e.peak_rss_bytes),
              " (--max-ram can be as low as ", cli::in_words(plan.least_ram_bytes), ")\ndisk    ",
              cli::in_words(e.disk_bytes), ", and up to ", cli::in_words(plan.working_disk_bytes),
              " more while it works\n");
  return out;
}

int run_plan(const Command& self, std::span<const std::string> arguments) {
  QuantizeOptions options;
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 1, 1, common, source, options);
  if (!words) return 0;
  check_model_path((*words)[0]);
  if (!options.calibration.empty()) check_input_file(options.calibration);
  const QuantizePlan made = plan_quantize((*words)[0], options, source.load());
  if (common.json)
    print_json(plan_json(made));
  else
    print(in_words(made));
  return 0;
}

}  // namespace

constinit const Command plan = {
    .name = "plan",
    .arguments = "MODEL",
    .summary = "tell what quantize would do, and the time, memory and disk that it would take",
    .help =
        "Takes the options of `quaver quantize` and tells what it would do to MODEL: the layout "
        "of\n"
        "every kind of module, bits a weight, time, memory and disk. It checks the options and "
        "the\n"
        "weights as quantize does, and measures this machine for some seconds: a forward of one\n"
        "block, a solve, the disk of the current directory. Nothing is written.\n"
        "\n"
        "Examples:\n"
        "  quaver plan models/story-opt\n"
        "  quaver plan models/story-opt --bits 3 --group-size 64 --max-ram 300M\n",
    .run = run_plan,
};

}  // namespace quaver::cli
