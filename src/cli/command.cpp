#include "cli/command.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "api/machine.h"
#include "cli/terminal.h"
#include "core/file.h"
#include "core/log.h"
#include "core/threads.h"

namespace quaver::cli {
namespace {

constexpr std::uint64_t most_text_bytes = std::uint64_t{1} << 32;

void set_up_threads(const CommonOptions& common) {
  int threads = physical_cores();
  if (const char* const word = std::getenv("OMP_NUM_THREADS")) {
    const int asked = std::atoi(word);
    if (asked >= 1 && asked <= 1024) threads = asked;
  }
  if (common.threads) {
    ensure(*common.threads >= 1 && *common.threads <= 1024, "--threads: got ", *common.threads,
           ", expected 1 to 1024");
    threads = *common.threads;
  }
  set_thread_count(threads);
}

void set_up_log(const CommonOptions& common) {
  set_log_sink(
      [quiet = common.quiet, verbose = common.verbose](LogLevel level, std::string_view message) {
        if (quiet || (level == LogLevel::detail && !verbose)) return;
        std::fprintf(stderr, "%s%s%.*s\n", live_terminal() ? "\r\033[K" : "",
                     level == LogLevel::warning ? "warning: " : "",
                     static_cast<int>(message.size()), message.data());
      });
}

}  // namespace

bool wants_help(std::span<const std::string> arguments) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  return std::any_of(arguments.begin(), end,
                     [](const std::string& word) { return word == "--help" || word == "-h"; });
}

void print_help(const Command& command, const std::vector<Option>& own,
                const std::vector<Option>& common) {
  std::string out = text("Usage: quaver ", command.name, command.arguments.empty() ? "" : " ",
                         command.arguments, " [options]\n\n", command.help);
  if (!own.empty()) out += "\nOptions:\n" + help_text(own);
  out += "\nOptions of every command:\n" + help_text(common) +
         "  --help                    this text\n\nA switch is turned off by --no-NAME.\n";
  print(out);
}

std::vector<std::string> read_arguments(const Command& command,
                                        std::span<const std::string> arguments,
                                        const std::vector<Option>& all, CommonOptions& common,
                                        std::size_t least_words, std::size_t most_words) {
  const Flags flags = read_flags(arguments, all);
  if (!common.config.empty()) check_input_file(common.config);
  if (!common.config.empty())
    read_config(read_json_file(common.config), all, flags.given, common.config);
  const std::string usage =
      text("usage: quaver ", command.name, command.arguments.empty() ? "" : " ", command.arguments,
           " [options]; `quaver ", command.name, " --help` tells more");
  ensure(flags.words.size() >= least_words, "too few arguments; ", usage);
  ensure(flags.words.size() <= most_words, "unexpected argument '",
         flags.words.empty() ? "" : flags.words.back(), "'; ", usage);
  ensure(common.device == "cpu", "--device: got '", common.device,
         "', expected cpu, the only device that this build knows");
  set_up_threads(common);
  set_up_log(common);
  return flags.words;
}

void check_directory(const std::string& path) {
  std::error_code problem;
  const auto status = std::filesystem::status(path, problem);
  if (!std::filesystem::exists(status)) fail(Fault::bad_file, path, ": no such model directory");
  if (!std::filesystem::is_directory(status))
    fail(Fault::bad_file, path, ": not a directory; MODEL is a Hugging Face checkpoint directory");
}

void check_model_path(const std::string& path) {
  check_directory(path);
  std::error_code problem;
  if (!std::filesystem::exists(std::filesystem::path(path) / "config.json", problem))
    fail(Fault::bad_file, path, ": no config.json; MODEL is a Hugging Face checkpoint directory");
}

void check_input_file(const std::string& path) {
  std::error_code problem;
  if (!std::filesystem::exists(path, problem)) fail(Fault::bad_file, path, ": no such file");
}

std::string read_text_file(const std::string& path) {
  check_input_file(path);
  return read_file(path, most_text_bytes);
}

std::string read_standard_input() {
  std::string content;
  char buffer[1 << 16];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, stdin)) > 0;)
    content.append(buffer, n);
  if (std::ferror(stdin)) fail(Fault::io, "standard input: cannot read");
  return content;
}

}  // namespace quaver::cli
