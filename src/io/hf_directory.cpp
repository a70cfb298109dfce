#include "io/hf_directory.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr JsonLimits config_limits{.bytes = 16'000'000, .depth = 64};
constexpr std::uintmax_t most_side_file_bytes = 256'000'000;
constexpr std::string_view templates = "additional_chat_templates";

Json read_object(const fs::path& path) {
  Json object = read_json_file(path.string(), config_limits);
  ensure_file(object.is_object(), path.string(), ": expected an object, found ",
              object.type_name());
  return object;
}

bool is_inside(const fs::path& file, const fs::path& directory) {
  const auto [end, unused] =
      std::mismatch(directory.begin(), directory.end(), file.begin(), file.end());
  return end == directory.end();
}

// The first pattern of 'dynamic' that matches a module wins, and a Json object forgets which was
// written first: their order is added as 'dynamic_order'.
Json with_order(Json quantization, const fs::path& file, bool nested) {
  const auto dynamic = quantization.find("dynamic");
  if (dynamic == quantization.end() || !dynamic->is_object() || dynamic->size() < 2)
    return quantization;
  const OrderedJson written =
      parse_ordered_json(read_file(file, config_limits.bytes), file.string(), config_limits);
  const OrderedJson section =
      nested ? written.value("quantization_config", OrderedJson()) : written;
  const OrderedJson entries = section.value("dynamic", OrderedJson::object());
  Json order = Json::array();
  for (const auto& [pattern, entry] : entries.items()) order.push_back(pattern);
  quantization["dynamic_order"] = std::move(order);
  return quantization;
}

// Why a file must not be copied; empty: it may. `root` is the canonical checkpoint directory.
std::string refusal(const fs::path& file, const fs::path& root) {
  std::error_code error;
  const fs::path real = fs::canonical(file, error);
  if (error) return error.message();
  // snapshots/<revision>/x in the cache links to blobs/<hash> beside snapshots.
  const fs::path blobs = root.parent_path().parent_path() / "blobs";
  const bool cached = root.parent_path().filename() == "snapshots" && is_inside(real, blobs);
  if (!is_inside(real, root) && !cached) return "a link that leaves the checkpoint";
  if (!fs::is_regular_file(real, error)) return "not a regular file";
  if (fs::file_size(real, error) > most_side_file_bytes || error) return "above 256 MB";
  return {};
}

bool copy_one(const fs::path& from, const fs::path& to, const fs::path& root) {
  if (const std::string why = refusal(from, root); !why.empty()) {
    log(LogLevel::warning, printable(from.string()), " is not copied: ", why);
    return false;
  }
  copy_file_atomically(from, to);
  return true;
}

}  // namespace

Json read_config(const fs::path& directory) { return read_object(directory / "config.json"); }

Json read_quantization(const fs::path& directory, const Json& config) {
  if (const auto it = config.find("quantization_config"); it != config.end() && !it->is_null()) {
    ensure_file(it->is_object(), (directory / "config.json").string(),
                ": 'quantization_config' is not an object");
    return with_order(*it, directory / "config.json", true);
  }
  if (fs::exists(directory / "quantize_config.json")) {
    Json found = read_object(directory / "quantize_config.json");
    if (!found.contains("quant_method")) found["quant_method"] = "gptq";
    return with_order(std::move(found), directory / "quantize_config.json", false);
  }
  if (fs::exists(directory / "quant_config.json"))
    return read_object(directory / "quant_config.json");
  return nullptr;
}

bool is_side_file(const std::string& name) {
  constexpr std::array never = {std::string_view("config.json"), std::string_view("params.json"),
                                std::string_view("quantize_config.json"),
                                std::string_view("quant_config.json"),
                                std::string_view("quaver-report.json")};
  if (std::ranges::find(never, name) != never.end() || name.ends_with(".index.json")) return false;
  constexpr std::array endings = {std::string_view(".json"), std::string_view(".model"),
                                  std::string_view(".jinja"), std::string_view(".tiktoken")};
  if (std::ranges::any_of(endings, [&](auto ending) { return name.ends_with(ending); }))
    return !name.starts_with('.');
  return name == "vocab.txt" || name == "merges.txt" || name.starts_with("LICENSE") ||
         name.starts_with("NOTICE") || name.starts_with("COPYING");
}

std::vector<std::string> copy_side_files(const fs::path& from, const fs::path& to) {
  std::error_code error;
  const fs::path root = fs::canonical(from, error);
  if (error) fail(Fault::io, from.string(), ": ", error.message());
  std::vector<std::string> copied;
  for (const std::string& name : names_in(from)) {
    if (name.ends_with(".py"))
      log(LogLevel::warning, printable((from / name).string()),
          " is not copied: quaver neither runs nor passes on code");
    if (is_side_file(name) && !fs::is_directory(from / name, error) &&
        copy_one(from / name, to / name, root))
      copied.push_back(name);
    if (name != templates || !fs::is_directory(from / name, error)) continue;
    fs::create_directory(to / name, error);
    if (error) fail(Fault::io, (to / name).string(), ": cannot create: ", error.message());
    for (const std::string& inner : names_in(from / name))
      if (inner.ends_with(".jinja") && copy_one(from / name / inner, to / name / inner, root))
        copied.push_back(name + "/" + inner);
  }
  std::ranges::sort(copied);
  return copied;
}

std::uint64_t side_file_bytes(const fs::path& from) {
  std::uint64_t total = 0;
  for (const std::string& name : names_in(from)) {
    std::error_code error;
    if (!is_side_file(name) || !fs::is_regular_file(from / name, error)) continue;
    if (const auto bytes = fs::file_size(from / name, error); !error) total += bytes;
  }
  return total;
}

}  // namespace quaver
