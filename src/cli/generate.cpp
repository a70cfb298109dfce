#include "quaver/generate.h"

#include <vector>

#include "api/ids.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "quaver/model.h"

namespace quaver::cli {
namespace {

struct InputOptions {
  std::string prompt_file, ids;
  bool no_stream = false;

  void visit(auto&& field) {
    field("prompt-file", prompt_file, "read the prompt from this file, as it is", "FILE");
    field("ids", ids, "token ids instead of a prompt: a .json list, or a list of lists for a batch",
          "FILE");
    field("no-stream", no_stream, "print the text when it is complete");
  }
};

Json result_json(const GenerateResult& r, bool lookup) {
  Json json = {{"text", r.text ? Json(*r.text) : Json()}, {"ids", r.ids},
               {"prompt_tokens", r.prompt_tokens},        {"new_tokens", r.new_tokens},
               {"prompt_seconds", r.prompt_seconds},      {"new_seconds", r.new_seconds}};
  if (lookup) {
    json["drafted_tokens"] = r.drafted_tokens;
    json["accepted_tokens"] = r.accepted_tokens;
  }
  return json;
}

// Results of several prompts or answers; `listed`: as a list even if it is one.
int generate_batch(const Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
                   bool listed, const GenerateOptions& options, const CommonOptions& common) {
  const std::vector<GenerateResult> results = model.generate(prompts, options);
  if (common.json) {
    Json all = Json::array();
    for (const GenerateResult& r : results)
      all.push_back(result_json(r, options.prompt_lookup_num_tokens.has_value()));
    print_json(listed || all.size() > 1 ? all : all[0]);
    return 0;
  }
  for (const GenerateResult& r : results) {
    print((r.text ? *r.text : Json(r.ids).dump()) + "\n");
    if (common.verbose) note(common, speed_in_words(r));
  }
  return 0;
}

std::string prompt_of(const std::vector<std::string>& words, const InputOptions& input) {
  if (!input.prompt_file.empty()) return read_text_file(input.prompt_file);
  if (words.size() == 2) return words[1];
  std::string prompt = read_standard_input();
  if (prompt.ends_with('\n')) prompt.pop_back();
  return prompt;
}

// One answer to one text, printed as it comes.
int generate_text(const Model& model, const std::string& prompt, const GenerateOptions& options,
                  const InputOptions& input, const CommonOptions& common) {
  const bool stream = !input.no_stream && !common.json;
  catch_interrupts();
  GenerateResult result;
  try {
    result = model.generate(prompt, options, [stream](std::string_view piece) {
      if (stream) print(piece);
      return !interrupted();
    });
  } catch (const Error& error) {
    if (error.fault == Fault::interrupted) return 130;
    throw;
  }
  if (common.json)
    print_json(result_json(result, options.prompt_lookup_num_tokens.has_value()));
  else
    print(stream ? "\n" : result.text.value_or("") + "\n");
  note(common, speed_in_words(result));
  return interrupted() ? 130 : 0;
}

int run_generate(const Command& self, std::span<const std::string> arguments) {
  GenerateOptions options;
  InputOptions input;
  PrecisionOptions precision{.exact = false};
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 1, 2, common, source, input, options, precision);
  if (!words) return 0;
  const int sources =
      int{words->size() == 2} + int{!input.prompt_file.empty()} + int{!input.ids.empty()};
  ensure(sources <= 1, "PROMPT, --prompt-file and --ids exclude each other, got ", sources,
         " of them");
  check_model_path((*words)[0]);
  if (!input.ids.empty()) check_input_file(input.ids);
  const Model model = Model::load((*words)[0], source.load(precision.exact));
  if (!input.ids.empty()) {
    const IdLists ids = read_ids(input.ids);
    return generate_batch(model, ids.lists, ids.nested, options, common);
  }
  const std::string prompt = prompt_of(*words, input);
  if (options.num_return_sequences.value_or(1) > 1)
    return generate_batch(model, {model.tokenize(prompt, true)}, true, options, common);
  return generate_text(model, prompt, options, input, common);
}

}  // namespace

constinit const Command generate = {
    .name = "generate",
    .arguments = "MODEL [PROMPT]",
    .summary = "continue a prompt",
    .help =
        "Continues PROMPT, the text of --prompt-file, or standard input (without its last line\n"
        "end), and prints the new text alone. Without sampling options the likeliest token is\n"
        "taken, or what the model's generation_config.json says.\n"
        "\n"
        "Examples:\n"
        "  quaver generate models/story-opt \"Once upon a time\" --max-new-tokens 40\n"
        "  quaver generate models/story-opt \"The cat\" --temperature 0.8 --top-p 0.9 --seed 7\n"
        "  quaver generate models/story-opt \"The cat\" --prompt-lookup-num-tokens 8 --kv-cache "
        "f16\n"
        "  echo \"One day\" | quaver generate models/story-opt --num-beams 4 --json\n",
    .run = run_generate,
};

}  // namespace quaver::cli
