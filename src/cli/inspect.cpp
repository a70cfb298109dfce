#include "api/inspect.h"

#include "cli/command.h"
#include "cli/terminal.h"

namespace quaver::cli {
namespace {

constexpr std::size_t most_module_rows = 24;

struct DetailOptions {
  bool modules = false, tensors = false, kernels = false;

  void visit(auto&& field) {
    field("modules", modules, "list every linear, however many there are");
    field("tensors", tensors, "list the tensors of the weight files");
    field("kernels", kernels, "tell which kernel runs each linear, for many tokens and for one");
  }
};

std::string word(const Json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// The rows of an array of objects under the given keys.
std::string table(const Json& objects,
                  const std::vector<std::pair<std::string, std::string>>& columns,
                  std::size_t most) {
  std::vector<std::vector<std::string>> rows(1);
  for (const auto& [key, title] : columns) rows[0].push_back(title);
  for (const Json& object : objects) {
    if (rows.size() > most) break;
    std::vector<std::string>& row = rows.emplace_back();
    for (const auto& [key, title] : columns) row.push_back(word(object.at(key)));
  }
  std::string out = aligned(rows);
  if (objects.size() > most) out += text("... and ", objects.size() - most, " more\n");
  return out;
}

std::string head(const Json& r) {
  const Json& shape = r.at("shape");
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](std::string name, std::string value) {
    rows.push_back({std::move(name), std::move(value)});
  };
  row("model", word(r.at("model")));
  row("architecture", word(r.at("architecture")) + " (" + word(r.at("model_type")) + ")");
  row("shape", text(word(shape.at("layers")), " layers, ", word(shape.at("hidden")), " wide, ",
                    word(shape.at("heads")), " heads, ", word(shape.at("kv_heads")),
                    " key-value heads, vocabulary ", word(shape.at("vocabulary"))));
  row("context", shape.at("context") == 0 ? "no limit" : word(shape.at("context")) + " tokens");
  row("parameters", with_separators(r.at("parameters")));
  row("weights", in_words(r.at("weight_bytes")) + " in " + word(r.at("weight_files")) + " files");
  row("linears",
      text(r.at("modules").size(), " of ", fixed(r.at("bits_per_weight"), 3), " bits a weight"));
  const Json& q = r.at("quantization");
  row("quantization", q.is_null()
                          ? "none"
                          : text(word(q.at("method")), ", layout ", word(q.at("format")), ", ",
                                 word(q.at("bits")), " bits, group ", word(q.at("group_size"))));
  if (!r.at("stored_as").is_null())
    row("stored as", text(word(r.at("stored_as")), ", computed with as floats"));
  const Json& t = r.at("tokenizer");
  row("tokenizer",
      t.is_null() ? "none" : text(word(t.at("file")), ", vocabulary ", word(t.at("vocabulary"))));
  return aligned(rows);
}

int run_inspect(const Command& self, std::span<const std::string> arguments) {
  DetailOptions details;
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 1, 1, common, source, details);
  if (!words) return 0;
  check_model_path((*words)[0]);
  const Json report = inspect_model(
      (*words)[0],
      {.tensors = details.tensors, .kernels = details.kernels, .arch_file = source.arch_file});
  if (common.json) {
    print_json(report);
    return 0;
  }
  std::vector<std::pair<std::string, std::string>> columns{{"name", "module"},
                                                           {"shape", "shape"},
                                                           {"form", "form"},
                                                           {"bits", "bits"},
                                                           {"group_size", "group"}};
  if (details.kernels) {
    columns.emplace_back("kernel_many", "512 tokens");
    columns.emplace_back("kernel_one", "one token");
  }
  const std::size_t most =
      details.modules || details.kernels ? report.at("modules").size() : most_module_rows;
  std::string out = head(report) + "\n" + table(report.at("modules"), columns, most);
  if (details.tensors)
    out += "\n" +
           table(report.at("tensors"),
                 {{"name", "tensor"}, {"dtype", "type"}, {"shape", "shape"}, {"bytes", "bytes"}},
                 report.at("tensors").size());
  print(out);
  return 0;
}

}  // namespace

constinit const Command inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .summary = "architecture, sizes, bits per module, tensors, tokenizer, kernels",
    .help =
        "Tells what MODEL is, without computing anything: architecture, sizes, bits a weight of\n"
        "every linear, and on request the tensors and the kernels that would run.\n"
        "\n"
        "Examples:\n"
        "  quaver inspect models/story-opt\n"
        "  quaver inspect models/story-opt --tensors --kernels --json\n",
    .run = run_inspect,
};

}  // namespace quaver::cli
