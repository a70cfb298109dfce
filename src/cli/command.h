#pragma once
// Commands. One command is one file in this folder and one row of the table in all.cpp.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "quaver/load.h"

namespace quaver::cli {

struct Command {
  std::string_view name;
  std::string_view arguments;  // of the usage line: "MODEL OUT"
  std::string_view summary;    // one line for the list of commands
  std::string_view help;       // what it does and at least two examples, for --help
  // Returns the exit code; throws Error. `arguments` are the words after the command's name.
  int (*run)(const Command& self, std::span<const std::string> arguments);
};

// One per file; all.cpp holds the table.
extern const Command quantize, plan, generate, chat, eval, forward, tokenize, detokenize, inspect,
    verify, bench, doctor;
std::span<const Command* const> commands();

// The options that every command has.
struct CommonOptions {
  bool json = false;
  std::optional<int> threads;
  std::string device = "cpu";
  bool quiet = false, verbose = false;
  std::string config, events;

  void visit(auto&& field) {
    field("json", json, "print one JSON value on standard output and nothing else there");
    field("threads", threads, "threads to compute with; default: the physical cores");
    field("device", device, "where to compute; this build knows cpu", "NAME");
    field("quiet", quiet, "no progress and no notes on standard error");
    field("verbose", verbose, "more notes on standard error");
    field("config", config,
          "a JSON object of options, names with underscores; flags on the command line win",
          "FILE");
    field("events", events, "write progress as JSON lines to this file", "FILE");
  }
};

// For commands that read a model.
struct ModelOptions {
  std::string arch_file;

  void visit(auto&& field) {
    field("arch-file", arch_file,
          "a JSON file that describes MODEL as a known family under other names; default: "
          "quaver_arch.json in MODEL",
          "FILE");
  }
  LoadOptions load(bool exact = true) const { return {.arch_file = arch_file, .exact = exact}; }
};

// For commands that run a model.
struct PrecisionOptions {
  bool exact = true;

  void visit(auto&& field) {
    field(
        "exact", exact,
        "f32 activations; --fast takes int8 ones on packed weights (quantize is exact either way)");
  }
};

// Whether the user asks for help instead of a run.
bool wants_help(std::span<const std::string> arguments);
void print_help(const Command& command, const std::vector<Option>& own,
                const std::vector<Option>& common);
// Reads flags and --config into `all`, checks the number of words, sets up threads and logging.
std::vector<std::string> read_arguments(const Command& command,
                                        std::span<const std::string> arguments,
                                        const std::vector<Option>& all, CommonOptions& common,
                                        std::size_t least_words, std::size_t most_words);

// What every run() begins with: the command's words, or nothing if --help was asked for and
// answered.
template <class... Structs>
std::optional<std::vector<std::string>> begin(const Command& command,
                                              std::span<const std::string> arguments,
                                              std::size_t least_words, std::size_t most_words,
                                              CommonOptions& common, Structs&... structs) {
  if (wants_help(arguments)) {
    print_help(command, options_of(structs...), options_of(common));
    return std::nullopt;
  }
  return read_arguments(command, arguments, options_of(structs..., common), common, least_words,
                        most_words);
}

// MODEL must be a directory, and hold a config.json where the model itself is needed: throws
// Error(bad_file) otherwise, before anything slow begins.
void check_directory(const std::string& path);
void check_model_path(const std::string& path);

// The same for a file that an option names.
void check_input_file(const std::string& path);

// The whole of a file, or of standard input.
std::string read_text_file(const std::string& path);
std::string read_standard_input();

}  // namespace quaver::cli
