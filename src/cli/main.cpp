// The program `quaver`: finds the command, runs it, turns errors into exit codes.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/terminal.h"
#include "quaver/quaver.h"

namespace quaver::cli {
namespace {

int exit_code(Fault fault) {
  switch (fault) {
    case Fault::bad_argument:
      return 2;
    case Fault::bad_file:
    case Fault::unsupported:
      return 3;
    case Fault::io:
    case Fault::resource:
      return 4;
    case Fault::numerical:
      return 5;
    case Fault::interrupted:
      return 130;
    case Fault::internal:
      break;
  }
  return 1;
}

std::string overview() {
  std::string out =
      "Usage: quaver COMMAND [options]\n\n"
      "Quantizes, runs and measures large language models.\n\nCommands:\n";
  std::vector<std::vector<std::string>> rows;
  for (const Command* command : commands())
    rows.push_back({"  " + std::string(command->name), std::string(command->summary)});
  out += aligned(rows);
  out +=
      "\nExamples:\n"
      "  quaver quantize models/story-opt story-opt-4bit\n"
      "  quaver generate story-opt-4bit \"Once upon a time\"\n"
      "\n`quaver COMMAND --help` explains a command; `quaver --version` tells the version.\n";
  return out;
}

int run(const std::vector<std::string>& words) {
  if (words.empty()) {
    std::fprintf(stderr, "%s", overview().c_str());
    return 2;
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print(overview());
    return 0;
  }
  if (words[0] == "--version") {
    print("quaver " + std::string(version()) + "\n");
    return 0;
  }
  std::vector<std::string> names;
  for (const Command* command : commands()) {
    if (words[0] == command->name) return command->run(*command, std::span(words).subspan(1));
    names.emplace_back(command->name);
  }
  const std::vector<std::string> near = nearest_names(words[0], names);
  fail(Fault::bad_argument, "unknown command '", words[0], "'; nearest known: ", near[0],
       "; `quaver --help` lists all");
}

}  // namespace
}  // namespace quaver::cli

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  try {
    return quaver::cli::run(words);
  } catch (const quaver::Error& error) {
    std::fprintf(stderr, "quaver: %s\n", error.what());
    return quaver::cli::exit_code(error.fault);
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "quaver: %s\n", error.what());
    return 4;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "quaver: out of memory\n");
    return 4;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quaver: internal error: %s\n", error.what());
    return 1;
  }
}
