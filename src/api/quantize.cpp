#include "quaver/quantize.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>

#include "api/loaded_model.h"
#include "api/report_page.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "formats/format.h"
#include "io/hf_directory.h"
#include "io/manifest.h"
#include "quant/job.h"
#include "quant/pipeline.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t sample_tokens = 48;
constexpr std::uint64_t most_card_bytes = 1 << 20;

const char* const questions[] = {"What is the capital of France?",
                                 "Write a Python function that adds two numbers.",
                                 "Name three colours of the rainbow."};
const char* const beginnings[] = {"Once upon a time", "The capital of France is",
                                  "The three most important things in life are"};

bool chats(const Model& model) {
  try {
    model.check_chat();
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::string answer(const Model& model, const std::vector<std::int32_t>& prompt) {
  const GenerateOptions greedy{.max_new_tokens = sample_tokens, .temperature = 0};
  return model.generate({&prompt, 1}, greedy).front().text.value_or("");
}

// Perplexities, divergence and texts of both models.
QuantizeEvaluation measured(const Model& before, const Model& after, const std::string& reference,
                            const std::string& file) {
  QuantizeEvaluation e;
  e.before = before.evaluate({.text = file});
  e.after = after.evaluate({.text = file, .against = reference});
  const bool in_chat = chats(before);
  for (const char* words : in_chat ? questions : beginnings) {
    const ChatMessage message{"user", words};
    const auto prompt = in_chat ? before.chat_prompt({&message, 1}) : before.tokenize(words, true);
    e.samples.push_back({words, answer(before, prompt), answer(after, prompt)});
  }
  return e;
}

bool is_hub_name(const std::string& s) {
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./";
  return s.size() < 200 && std::ranges::count(s, '/') == 1 && s.front() != '/' &&
         s.front() != '.' && s.back() != '/' && s.find_first_not_of(plain) == std::string::npos;
}

std::string base_model_of(const fs::path& model, const Json& config, const std::string& given) {
  if (!given.empty()) return given;
  const fs::path place = fs::weakly_canonical(model).lexically_normal();
  for (const fs::path& part : place) {  // the hub's cache: models--ORG--NAME/snapshots/...
    std::string name = part.string();
    if (!name.starts_with("models--")) continue;
    name = name.substr(8);
    if (const std::size_t dashes = name.find("--"); dashes != std::string::npos)
      return name.substr(0, dashes) + "/" + name.substr(dashes + 2);
  }
  const auto it = config.find("_name_or_path");
  if (it != config.end() && it->is_string() && is_hub_name(it->get<std::string>()))
    return it->get<std::string>();
  return place.has_filename() ? place.filename().string() : place.parent_path().filename().string();
}

// The lines about the licence in the front matter of the source's model card.
std::vector<std::string> licence_of(const fs::path& model) {
  std::vector<std::string> lines;
  std::string card;
  try {
    if (!fs::is_regular_file(model / "README.md")) return lines;
    card = read_file(model / "README.md", most_card_bytes);
  } catch (const Error& error) {
    log(LogLevel::detail, error.what());
    return lines;
  }
  if (!card.starts_with("---\n")) return lines;
  for (std::size_t begin = 4, end; (end = card.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const std::string line = card.substr(begin, end - begin);
    if (line == "---") break;
    for (const char* key : {"license: ", "license_name: ", "license_link: "})
      if (line.starts_with(key)) lines.push_back(line);
  }
  return lines;
}

std::uint64_t weight_bytes(const fs::path& directory) {
  std::uint64_t bytes = 0;
  for (const std::string& name : names_in(directory)) {
    std::error_code error;
    const bool weights = name.ends_with(".safetensors") || name.ends_with(".bin");
    const auto size = weights ? fs::file_size(directory / name, error) : 0;
    if (!error) bytes += size;
  }
  return bytes;
}

// Every file below a directory but what only an unfinished job needs, under its relative name.
std::map<std::string, FileHash> hashes_of(const fs::path& directory) {
  std::map<std::string, FileHash> hashes;
  for (auto it = fs::recursive_directory_iterator(directory);
       it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().lexically_relative(directory).generic_string();
    if (it->is_directory() && it.depth() == 0 && is_working_name(name))
      it.disable_recursion_pending();
    if (it->is_regular_file() && !is_working_name(name) && name != manifest_file)
      hashes.emplace(name, hash_file(it->path()));
  }
  return hashes;
}

void describe(const fs::path& model, const fs::path& made, const QuantizeOptions& options,
              const QuantizeReport& report) {
  const Json config = read_config(model);
  Description d{.report = report,
                .options = options,
                .base_model = base_model_of(model, config, options.base_model),
                .model_type = config.value("model_type", ""),
                .licence = licence_of(model),
                .weights_before = weight_bytes(model),
                .weights_after = weight_bytes(made),
                .files = {}};
  write_file_atomically(made / "report.html", report_page(d));
  Manifest manifest{.quaver = QUAVER_VERSION, .inputs = hashes_of(model), .outputs = {}};
  manifest.outputs = hashes_of(made);
  for (const auto& [name, hash] : manifest.outputs)
    if (name != report_file && name != "report.html")  // they tell times: the card must not
      d.files.push_back({name, hash.sha256, hash.bytes});
  write_file_atomically(made / "README.md", model_card(d));
  manifest.outputs["README.md"] = hash_file(made / "README.md");
  write_manifest(made, manifest);
}

}  // namespace

namespace {

// In a file an unknown name is the file's fault, here the caller's.
void check_format(const std::string& name) {
  try {
    find_format(name);
  } catch (const Error& error) {
    fail(Fault::bad_argument, error.what());
  }
}

}  // namespace

QuantizePlan plan_quantize(const std::string& model, const QuantizeOptions& options,
                           const LoadOptions& load) {
  check_device(load.device);
  check_format(options.format);
  return plan_checkpoint(model, options, search_of(load));
}

QuantizeReport quantize(const std::string& model, const std::string& out,
                        const QuantizeOptions& options,
                        const std::function<void(const QuantizeProgress&)>& progress,
                        const LoadOptions& load) {
  check_device(load.device);
  check_format(options.format);
  QuantizeHooks hooks{.progress = progress, .evaluate = {}, .describe = {}};
  if (!options.evaluate.empty())
    hooks.evaluate = [&](const fs::path& made, QuantizeReport& report) {
      if (progress) progress({.stage = "evaluate"});
      LoadOptions own = load;
      own.arch_file.clear();  // a copy of it lies in the output
      report.evaluation = measured(Model::load(model, load), Model::load(made.string(), own), model,
                                   options.evaluate);
    };
  hooks.describe = [&](const fs::path& made, QuantizeReport& report) {
    const auto start = std::chrono::steady_clock::now();
    describe(model, made, options, report);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    report.stages.emplace_back("hash", took.count());
  };
  return quantize_checkpoint(model, out, options, hooks, search_of(load));
}

}  // namespace quaver
