#include "api/report.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "quaver/evaluate.h"
#include "quaver/model.h"

namespace quaver::cli {
namespace {

Json result_json(const EvaluateResult& r) {
  Json j = evaluation_json(r);
  j.erase("seconds");  // the same text of the same model: the same line
  return j;
}

std::string summary(const EvaluateResult& r, const EvaluateOptions& options) {
  std::string out =
      text("perplexity  ", fixed(r.perplexity, 3), " ± ", fixed(r.perplexity_stderr, 3), "\n");
  if (r.kl)
    out += text("KL          ", fixed(*r.kl, 5), " ± ", fixed(r.kl_stderr.value_or(0), 5),
                " nats a token from ", options.against, "\n");
  if (r.top1) out += text("equal top   ", fixed(100 * *r.top1, 2), " %\n");
  out += text("scored      ", with_separators(r.tokens), " tokens in ", r.windows, " windows of ",
              r.context, ", protocol ", r.protocol, ", ", time_in_words(r.seconds), "\n");
  return out;
}

int run_eval(const Command& self, std::span<const std::string> arguments) {
  EvaluateOptions options;
  PrecisionOptions precision;
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 1, 1, common, source, options, precision);
  if (!words) return 0;
  check_model_path((*words)[0]);
  if (!options.against.empty()) check_model_path(options.against);
  if (!options.text.empty()) check_input_file(options.text);
  catch_interrupts();
  const Model model = Model::load((*words)[0], source.load(precision.exact));
  Progress progress(common);
  const EvaluateResult result = model.evaluate(options, [&](const EvaluateProgress& p) {
    progress.step(
        "window  perplexity " + fixed(p.perplexity, 3), static_cast<double>(p.done),
        static_cast<double>(p.total), p.left,
        {{"event", "window"}, {"done", p.done}, {"total", p.total}, {"perplexity", p.perplexity}});
    stop_if_interrupted();
  });
  progress.clear();
  progress.event({{"event", "finished"}, {"perplexity", result.perplexity}});
  if (common.json)
    print_json(result_json(result));
  else
    print(summary(result, options));
  return 0;
}

}  // namespace

constinit const Command eval = {
    .name = "eval",
    .arguments = "MODEL",
    .summary = "perplexity; with --against also divergence from a reference model",
    .help =
        "Perplexity of MODEL on a text, with its standard error. The protocol `gptq` cuts the\n"
        "text's ids into whole windows of --context tokens, each scored alone from its second\n"
        "token on. --against REF adds the divergence KL(REF || MODEL) and the share of equal top\n"
        "tokens.\n"
        "\n"
        "Examples:\n"
        "  quaver eval models/story-opt --context 512 --max-windows 20\n"
        "  quaver eval models/story-opt --protocol strided --context 256 --stride 128 "
        "--max-windows 10\n"
        "  quaver eval models/story-opt --against models/story-opt --context 256 --max-windows 4 "
        "--json\n",
    .run = run_eval,
};

}  // namespace quaver::cli
