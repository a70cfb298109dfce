#include "api/forward.h"

#include "cli/command.h"
#include "cli/terminal.h"
#include "quaver/model.h"

namespace quaver::cli {
namespace {

struct FileOptions {
  std::string ids, out;
  bool hidden = false;

  void visit(auto&& field) {
    field("ids", ids,
          "token ids: .json (a list, or a list of lists), or .safetensors with input_ids and "
          "perhaps attention_mask",
          "FILE");
    field("out", out, "the .safetensors file to write", "FILE");
    field("hidden", hidden,
          "write hidden.0 (the embedding) to hidden.N (after the last block) too");
  }
};

int run_forward(const Command& self, std::span<const std::string> arguments) {
  FileOptions files;
  PrecisionOptions precision;
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 1, 1, common, source, files, precision);
  if (!words) return 0;
  ensure(!files.ids.empty(), "--ids: needed, a .json or .safetensors file of token ids");
  ensure(!files.out.empty(), "--out: needed, the .safetensors file to write");
  check_model_path((*words)[0]);
  check_input_file(files.ids);
  const Model model = Model::load((*words)[0], source.load(precision.exact));
  const ForwardSummary s = forward_file(model, files.ids, files.out, files.hidden);
  if (common.json)
    print_json({{"out", files.out},
                {"batch", s.batch},
                {"tokens", s.tokens},
                {"vocabulary", s.vocabulary},
                {"hidden", s.hidden},
                {"seconds", s.seconds}});
  else if (!common.quiet)
    print(text(files.out, ": logits [", s.batch, ", ", s.tokens, ", ", s.vocabulary, "]",
               s.hidden > 0 ? text(", hidden.0 to hidden.", s.hidden - 1) : "", ", ",
               time_in_words(s.seconds), "\n"));
  return 0;
}

}  // namespace

constinit const Command forward = {
    .name = "forward",
    .arguments = "MODEL --ids FILE --out FILE",
    .summary = "logits (and hidden states) of given token ids, as safetensors",
    .help =
        "Runs MODEL over token ids and writes `logits` f32 [batch, tokens, vocabulary]: for tests\n"
        "and for comparison with other programs. Lists of unequal length are padded at their\n"
        "beginning; the padding is masked, and what stands there has no meaning.\n"
        "\n"
        "Examples:\n"
        "  quaver tokenize models/story-opt \"Once upon a time\" > ids.json && "
        "quaver forward models/story-opt --ids ids.json --out logits.safetensors\n"
        "  echo '[[2, 10, 11], [2, 12]]' > two.json && "
        "quaver forward models/story-opt --ids two.json --out two.safetensors --hidden --json\n",
    .run = run_forward,
};

}  // namespace quaver::cli
