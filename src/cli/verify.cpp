#include "api/verify.h"

#include <algorithm>

#include "cli/command.h"
#include "cli/terminal.h"

namespace quaver::cli {
namespace {

struct ReCheckOptions {
  std::string inputs;

  void visit(auto&& field) {
    field("inputs", inputs,
          "where the files lie that quaver-manifest.json lists as inputs; without it only its "
          "outputs are hashed again",
          "DIR");
  }
};

std::string told(const Json& finding, const char* key) { return finding.at(key); }

// A table of severity, check and subject; below each row what is wrong with it.
std::string findings_text(const Json& report) {
  std::size_t widest = 0;
  for (const Json& finding : report.at("findings"))
    widest = std::max(widest, told(finding, "check").size());
  std::string out;
  for (const Json& finding : report.at("findings")) {
    const std::int64_t more = finding.at("more");
    std::string severity = told(finding, "severity"), check = told(finding, "check");
    severity.resize(9, ' ');
    check.resize(widest + 2, ' ');
    out += text(severity, check, told(finding, "subject"),
                more > 0 ? text(" and ", more, " more") : std::string(), "\n");
    const auto line = [&](const char* title, const char* key) {
      if (const std::string words = told(finding, key); !words.empty())
        out += text("         ", title, words, "\n");
    };
    line("found:    ", "problem");
    line("expected: ", "expected");
    line("concerns: ", "readers");
  }
  return out;
}

std::string counted(const Json& number, const char* what) {
  return text(number.dump(), " ", what, number == 1 ? "" : "s");
}

int run_verify(const Command& self, std::span<const std::string> arguments) {
  ReCheckOptions options;
  ModelOptions source;
  CommonOptions common;
  const auto words = begin(self, arguments, 1, 1, common, source, options);
  if (!words) return 0;
  check_directory((*words)[0]);
  if (!options.inputs.empty()) check_directory(options.inputs);
  const Json report =
      verify_checkpoint((*words)[0], {.arch_file = source.arch_file, .inputs = options.inputs});
  if (common.json)
    print_json(report);
  else
    print(text(findings_text(report), counted(report.at("errors"), "error"), ", ",
               counted(report.at("warnings"), "warning"), ", ", counted(report.at("notes"), "note"),
               "\n"));
  return report.at("errors") == 0 ? 0 : 3;
}

}  // namespace

constinit const Command verify = {
    .name = "verify",
    .arguments = "DIR",
    .summary = "would other programs load it, and read the right weights?",
    .help =
        "Reads the checkpoint DIR as transformers, vLLM and GPTQModel would, and tells what is\n"
        "wrong with it: each finding with the tensor or key, what was found, what was expected,\n"
        "and whom it concerns. Nothing is written.\n"
        "\n"
        "  error    no reader can use it, or some read other weights without saying so\n"
        "  warning  some readers refuse it, or its writer is unlikely to have meant it\n"
        "  note     worth knowing, such as linears that cannot be split over 8 GPUs\n"
        "\n"
        "Checked are the files and their index, config.json against quantize_config.json, the\n"
        "keys that readers need, names and shapes against the model family, packed tensors\n"
        "(shapes, g_idx, scales, zero points stored in another convention than said), values\n"
        "that are no numbers, tied heads, how packed layouts divide among GPUs, and the hashes\n"
        "of quaver-manifest.json where there is one. Exit code 0: no errors; 3: errors.\n"
        "\n"
        "Examples:\n"
        "  quaver verify models/story-opt\n"
        "  quaver verify models/story-opt --json\n",
    .run = run_verify,
};

}  // namespace quaver::cli
