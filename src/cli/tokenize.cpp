#include "api/tokenize.h"

#include "cli/command.h"
#include "cli/terminal.h"

namespace quaver::cli {
namespace {

struct TextOptions {
  std::string file;
  bool lines = false, add_special_tokens = false;

  void visit(auto&& field) {
    field("file", file, "read the text from this file", "FILE");
    field("lines", lines, "tokenize each line alone (lines end at \\n only), one list a line");
    field("add-special-tokens", add_special_tokens,
          "add what the model expects around a text, such as a start token");
  }
};

int run_tokenize(const Command& self, std::span<const std::string> arguments) {
  TextOptions options;
  CommonOptions common;
  const auto words = begin(self, arguments, 1, 2, common, options);
  if (!words) return 0;
  ensure(words->size() == 1 || options.file.empty(), "TEXT and --file exclude each other");
  check_directory((*words)[0]);
  const TextCodec codec((*words)[0]);
  const std::string content = words->size() == 2     ? (*words)[1]
                              : options.file.empty() ? read_standard_input()
                                                     : read_text_file(options.file);
  if (!options.lines) {
    print_json(codec.encode(content, options.add_special_tokens));
    return 0;
  }
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    print_json(codec.encode(std::string_view(content).substr(begin, end - begin),
                            options.add_special_tokens));
    begin = end + 1;
  }
  return 0;
}

}  // namespace

constinit const Command tokenize = {
    .name = "tokenize",
    .arguments = "MODEL [TEXT]",
    .summary = "text to token ids",
    .help =
        "Prints the token ids of TEXT, of --file, or of standard input as a JSON list. No special\n"
        "tokens are added unless asked for; those written out in the text are recognized.\n"
        "\n"
        "Examples:\n"
        "  quaver tokenize models/story-opt \"Once upon a time\"\n"
        "  printf 'one line\\nanother\\n' | quaver tokenize models/story-opt --lines\n",
    .run = run_tokenize,
};

}  // namespace quaver::cli
