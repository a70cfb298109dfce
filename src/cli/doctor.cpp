#include "api/machine.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace quaver::cli {
namespace {

struct DoctorOptions {
  bool measure = true;

  void visit(auto&& field) {
    field("measure", measure, "measure arithmetic and memory rates, in about two seconds");
  }
};

std::string list_of(const Json& words) {
  std::string out;
  for (const Json& word : words) out += (out.empty() ? "" : ", ") + word.get<std::string>();
  return out.empty() ? "none" : out;
}

std::string shown(const Json& r) {
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](std::string name, std::string value) {
    rows.push_back({std::move(name), std::move(value)});
  };
  const Json& cpu = r.at("cpu");
  const Json& cores = r.at("cores");
  const Json& memory = r.at("memory");
  row("quaver", text(r.at("version").get<std::string>(), ", built with ",
                     r.at("compiler").get<std::string>()));
  row("processor", cpu.at("model"));
  row("instruction sets", text(list_of(cpu.at("isa_available")),
                               "; chosen: ", cpu.at("isa_selected").get<std::string>()));
  row("cores", text(cores.at("online").dump(), " logical, ", cores.at("allowed").dump(),
                    " allowed to this process, ", cores.at("physical").dump(), " physical",
                    cores.at("cgroup_limit").is_null()
                        ? ""
                        : text(", limited to the time of ", fixed(cores.at("cgroup_limit"), 1))));
  row("threads", cores.at("threads").dump());
  row("memory",
      text(in_words(memory.at("total")), ", ", in_words(memory.at("available")), " available",
           memory.at("cgroup_limit").is_null()
               ? ""
               : ", limited to " + in_words(memory.at("cgroup_limit"))));
  if (const Json& measured = r.at("measured"); !measured.is_null()) {
    row("arithmetic", fixed(measured.at("fma_gflops"), 1) + " GFLOP/s in f32");
    row("memory rate", fixed(measured.at("read_gbytes"), 1) + " GB/s read");
  }
  row("GPUs", list_of(r.at("gpus")));
  return aligned(rows);
}

int run_doctor(const Command& self, std::span<const std::string> arguments) {
  DoctorOptions options;
  CommonOptions common;
  const auto words = begin(self, arguments, 0, 0, common, options);
  if (!words) return 0;
  const Json report = examine_machine(options.measure);
  if (common.json)
    print_json(report);
  else
    print(shown(report));
  return 0;
}

}  // namespace

constinit const Command doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "what this machine has: instruction sets, memory rate, GPUs",
    .help =
        "Tells what quaver finds on this machine and how fast it is. GPUs are listed, not yet\n"
        "used.\n"
        "\n"
        "Examples:\n"
        "  quaver doctor\n"
        "  quaver doctor --no-measure --json\n",
    .run = run_doctor,
};

}  // namespace quaver::cli
