#include <unistd.h>

#include "api/ids.h"
#include "api/tokenize.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace quaver::cli {
namespace {

struct IdOptions {
  std::string file;
  bool keep_special_tokens = false;

  void visit(auto&& field) {
    field("file", file, "a .json file: a list of ids, or a list of lists", "FILE");
    field("keep-special-tokens", keep_special_tokens, "write special tokens out");
  }
};

int run_detokenize(const Command& self, std::span<const std::string> arguments) {
  IdOptions options;
  CommonOptions common;
  const auto words = begin(self, arguments, 1, 2, common, options);
  if (!words) return 0;
  ensure(words->size() == 1 || options.file.empty(), "IDS and --file exclude each other");
  check_directory((*words)[0]);
  if (!options.file.empty()) check_input_file(options.file);
  const TextCodec codec((*words)[0]);
  const IdLists ids = words->size() == 2     ? parse_ids((*words)[1], "IDS")
                      : options.file.empty() ? parse_ids(read_standard_input(), "standard input")
                                             : read_ids(options.file);
  Json texts = Json::array();
  for (const auto& list : ids.lists)
    texts.push_back(codec.decode(list, options.keep_special_tokens));
  if (common.json) {
    print_json(ids.nested ? texts : texts[0]);
    return 0;
  }
  // One text is written exactly, so that a file survives tokenize and detokenize.
  const bool line_ends = ids.nested || isatty(STDOUT_FILENO);
  for (const Json& piece : texts) print(piece.get<std::string>() + (line_ends ? "\n" : ""));
  return 0;
}

}  // namespace

constinit const Command detokenize = {
    .name = "detokenize",
    .arguments = "MODEL [IDS]",
    .summary = "token ids to text",
    .help =
        "Writes the text of token ids: IDS as a JSON list, --file, or standard input. A list of\n"
        "lists gives one text a line. --json prints a string, or a list of strings.\n"
        "\n"
        "Examples:\n"
        "  quaver detokenize models/story-opt '[100, 200, 300]'\n"
        "  quaver tokenize models/story-opt \"Once upon a time\" | "
        "quaver detokenize models/story-opt --json\n",
    .run = run_detokenize,
};

}  // namespace quaver::cli
