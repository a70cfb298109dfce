#include "api/bench.h"

#include <algorithm>

#include "api/machine.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "core/threads.h"
#include "quaver/model.h"

namespace quaver::cli {
namespace {

struct BenchOptions {
  std::string prompt = "512", generated = "128", batch = "1", threads;
  int repetitions = 5;
  std::string format = "md";
  bool kernels = false;

  void visit(auto&& field) {
    field("p", prompt, "prompt lengths to read; 0: none", "LIST");
    field("n", generated, "numbers of tokens to generate; 0: none", "LIST");
    field("b", batch, "sequences side by side", "LIST");
    field("t", threads, "threads; default: --threads", "LIST");
    field("r", repetitions, "repetitions, after one that does not count");
    field("o", format, "md, csv or json", "NAME");
    field("kernels", kernels,
          "time kernels alone, beside the machine's limits measured in the same run; no MODEL");
  }
};

using Columns = std::vector<std::string>;

std::vector<int> read_list(const char* flag, const std::string& words, int least, int most) {
  std::vector<int> numbers;
  for (std::size_t begin = 0; begin <= words.size();) {
    const std::size_t end = std::min(words.find(',', begin), words.size());
    const std::string word = words.substr(begin, end - begin);
    const bool digits = !word.empty() && word.size() < 8 &&
                        word.find_first_not_of("0123456789") == std::string::npos;
    const int number = digits ? std::stoi(word) : -1;
    ensure(number >= least && number <= most, flag, ": got '", words, "', expected numbers from ",
           least, " to ", most, " with commas between them");
    numbers.push_back(number);
    begin = end + 1;
  }
  return numbers;
}

std::string cell(const Json& value) {
  if (value.is_number_float()) return fixed(value, 2);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string markdown(const Json& results, const Columns& columns) {
  std::string head = "|", rule = "|", body;
  for (const std::string& column : columns) head += " " + column + " |", rule += "---|";
  for (const Json& result : results) {
    body += "|";
    for (const std::string& column : columns) body += " " + cell(result.at(column)) + " |";
    body += "\n";
  }
  return head + "\n" + rule + "\n" + body;
}

std::string comma_separated(const Json& results, const Columns& columns) {
  std::string out;
  for (const std::string& column : columns) out += (out.empty() ? "" : ",") + column;
  out += "\n";
  for (const Json& result : results) {
    std::string line;
    for (const std::string& column : columns)
      line += (line.empty() ? "" : ",") + result.at(column).dump();
    out += line + "\n";
  }
  return out;
}

void show(const Json& report, const Columns& columns, const std::string& format) {
  const Json& results = report.at("results");
  if (format == "json") return print_json(report);
  if (format == "csv") return print(comma_separated(results, columns));
  const Json& machine = report.at("machine");
  std::string out = markdown(results, columns) + "\n";
  for (const auto& [key, value] : machine.items()) out += key + ": " + cell(value) + "  ";
  out.resize(out.find_last_not_of(' ') + 1);
  print(out + "\n");
}

int bench_kernels(const BenchOptions& options, const std::vector<int>& threads) {
  Json results = Json::array();
  for (const int t : threads) {
    set_thread_count(t);
    for (const KernelResult& r : measure_kernels(options.repetitions))
      results.push_back({{"kernel", r.kernel},
                         {"shape", r.shape},
                         {"threads", t},
                         {"value", r.value},
                         {"unit", r.unit},
                         {"of_limit", r.of_limit}});
  }
  show({{"results", std::move(results)}, {"machine", machine_summary()}},
       {"kernel", "shape", "threads", "value", "unit", "of_limit"}, options.format);
  return 0;
}

Json result_json(const BenchResult& r) {
  return {{"test", r.test},        {"batch", r.batch},
          {"threads", r.threads},  {"tokens_per_second", r.tokens_per_second},
          {"stddev", r.stddev},    {"repetitions", r.repetitions},
          {"of_limit", r.of_limit}};
}

int run_bench(const Command& self, std::span<const std::string> arguments) {
  BenchOptions options;
  PrecisionOptions precision{.exact = false};
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 0, 1, common, source, options, precision);
  if (!words) return 0;
  if (common.json) options.format = "json";
  ensure(options.format == "md" || options.format == "csv" || options.format == "json", "-o: got '",
         options.format, "', expected md, csv or json");
  ensure(options.repetitions >= 1 && options.repetitions <= 1000, "-r: got ", options.repetitions,
         ", expected 1 to 1000");
  const std::vector<int> prompts = read_list("-p", options.prompt, 0, 1 << 20);
  const std::vector<int> generated = read_list("-n", options.generated, 0, 1 << 20);
  const std::vector<int> batches = read_list("-b", options.batch, 1, 1024);
  const std::vector<int> threads = options.threads.empty()
                                       ? std::vector<int>{thread_count()}
                                       : read_list("-t", options.threads, 1, 1024);
  if (options.kernels) return bench_kernels(options, threads);
  ensure(words->size() == 1, "bench needs a MODEL, or --kernels");
  check_model_path((*words)[0]);
  const Model model = Model::load((*words)[0], source.load(precision.exact));
  Progress progress(common);
  Json results = Json::array();
  const auto add = [&](const BenchCase& what) {
    const BenchResult result = measure_model(model, what);
    results.push_back(result_json(result));
    progress.event(results.back());
  };
  for (const int t : threads)
    for (const int b : batches) {
      set_thread_count(t);
      for (const int p : prompts)
        if (p > 0) add({.prompt = p, .batch = b, .repetitions = options.repetitions});
      for (const int n : generated)
        if (n > 0) add({.generated = n, .batch = b, .repetitions = options.repetitions});
    }
  show({{"results", std::move(results)}, {"machine", machine_summary()}},
       {"test", "batch", "threads", "tokens_per_second", "stddev", "repetitions", "of_limit"},
       options.format);
  return 0;
}

}  // namespace

constinit const Command bench = {
    .name = "bench",
    .arguments = "[MODEL]",
    .summary = "tokens a second; --kernels: the kernels alone",
    .help =
        "Times reading a prompt (pp) and generating (tg); comma lists make all combinations. "
        "Shown\n"
        "are tokens a second of all sequences together, mean and standard deviation, and of_limit: "
        "for\n"
        "tg the bytes that are read in a second, of this machine's read rate, for pp the "
        "multiply-adds,\n"
        "of its rate in f32.\n"
        "\n"
        "Examples:\n"
        "  quaver bench models/story-opt -p 64,128 -n 32 -r 3\n"
        "  quaver bench models/story-opt -p 0 -n 16 -b 1,2 -t 1,2 -r 2 -o csv\n"
        "  quaver bench --kernels -r 2\n",
    .run = run_bench,
};

}  // namespace quaver::cli
