// A checkpoint directory as a TensorSource.
#include "io/checkpoint.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "io/safetensors_header.h"
#include "io/shard_index.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view file_name = "model.safetensors";
constexpr std::string_view index_ending = ".safetensors.index.json";
constexpr std::string_view torch_file_name = "pytorch_model.bin";
constexpr std::string_view torch_index_name = "pytorch_model.bin.index.json";

// How the files of a sharded checkpoint end, and what reads one.
struct ShardKind {
  std::string_view ending;
  std::unique_ptr<TensorSource> (*open)(const fs::path& file);
};
constexpr ShardKind safetensors_shards{".safetensors", open_safetensors};
constexpr ShardKind torch_shards{".bin", open_torch_file};

class ShardedSource final : public TensorSource {
 public:
  ShardedSource(const fs::path& directory, const fs::path& index_file, const ShardKind& kind)
      : index_file_(index_file) {
    const std::string where = index_file.string();
    const ShardIndex index =
        parse_shard_index(read_file(index_file, max_index_bytes), where, kind.ending);
    for (const auto& [file, names] : index.files)
      ensure_file(fs::exists(directory / file), where, ": the file ", file, " with ", names.size(),
                  " tensors (", printable(*names.begin()), ", ...) is missing");
    for (const auto& [file, names] : index.files) {
      shards_.push_back(kind.open(directory / file));
      const auto found = shards_.back()->tensors();
      check_shard(index, file, found, where);
      for (const TensorInfo& tensor : found) places_.emplace_back(tensor, shards_.size() - 1);
    }
    // No name occurs twice: every shard holds what the index says, and that is a map.
    std::ranges::sort(
        places_, {}, [](const auto& place) -> auto& { return place.first.name; });
    for (const auto& [info, shard] : places_) infos_.push_back(info);
  }

  std::span<const TensorInfo> tensors() const override { return infos_; }

  const TensorInfo* find(std::string_view name) const override {
    const auto it = std::ranges::lower_bound(infos_, name, {}, &TensorInfo::name);
    return it != infos_.end() && it->name == name ? &*it : nullptr;
  }

  Tensor read(std::string_view name) const override {
    const TensorInfo* const info = find(name);
    ensure_file(info != nullptr, index_file_.string(), ": no tensor ", printable(name));
    return shards_[places_[static_cast<std::size_t>(info - infos_.data())].second]->read(name);
  }

 private:
  fs::path index_file_;
  std::vector<std::unique_ptr<TensorSource>> shards_;
  std::vector<std::pair<TensorInfo, std::size_t>> places_;  // sorted by name
  std::vector<TensorInfo> infos_;                           // the same
};

// What early writers chose freely: llama-7b-4bit-128g, GPTQ-4bit.act-order.
bool tells_bits(const std::string& name) {
  for (std::size_t at = name.find("bit"); at != std::string::npos; at = name.find("bit", at + 1))
    if (at > 0 && name[at - 1] >= '1' && name[at - 1] <= '8') return true;
  return false;
}

// The name without ending that quantize_config.json gives the weights; empty: none.
std::string named_by_config(const fs::path& directory, const std::vector<std::string>& names) {
  if (!std::ranges::binary_search(names, "quantize_config.json")) return {};
  const Json config = read_json_file((directory / "quantize_config.json").string());
  if (!config.is_object()) return {};
  const auto found = config.find("model_file_base_name");
  return found != config.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// AutoGPTQ's gptq_model-4bit-128g with one of the endings, else the name that quantize_config.json
// gives, else one that tells its bits; empty if there is none.
std::string autogptq_file(const fs::path& directory, const std::vector<std::string>& names,
                          std::string_view ending) {
  const auto is_usual = [](const std::string& name) { return name.starts_with("gptq_model-"); };
  const bool usual = std::ranges::any_of(names, is_usual);
  std::string found = usual ? "" : named_by_config(directory, names);
  if (found += found.empty() ? "" : ending; std::ranges::binary_search(names, found)) return found;
  found.clear();
  for (const std::string& name : names) {
    if (!(usual ? is_usual(name) : tells_bits(name)) || !name.ends_with(ending) ||
        name.find("-of-") != std::string::npos)
      continue;
    ensure_file(found.empty(), directory.string(), ": both ", found, " and ", name,
                " are there; quaver cannot tell which one is meant");
    found = name;
  }
  return found;
}

[[noreturn]] void nothing_found(const fs::path& directory, const std::vector<std::string>& names) {
  const auto other = std::ranges::find_if(names, [](const std::string& name) {
    return name.ends_with(".safetensors") || name.ends_with(".bin") || name.ends_with(".pt") ||
           name.ends_with(".pth");
  });
  fail(Fault::bad_file, directory.string(), ": no weights: looked for ", file_name, ", model",
       index_ending, ", gptq_model-*.safetensors, ", torch_file_name, " and ", torch_index_name,
       other == names.end() ? std::string() : text("; found ", printable(*other)));
}

}  // namespace

WeightNames find_weights(const fs::path& directory) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (!fs::exists(status)) fail(Fault::io, directory.string(), ": no such directory");
  ensure_file(fs::is_directory(status), directory.string(),
              ": is a file, expected a checkpoint directory");
  const std::vector<std::string> names = names_in(directory);
  const auto has = [&](const std::string& name) { return std::ranges::binary_search(names, name); };
  if (has(std::string(file_name))) return {.single = std::string(file_name)};
  if (auto index = text("model", index_ending); has(index)) return {.index = index};
  if (auto one = autogptq_file(directory, names, ".safetensors"); !one.empty())
    return {.single = one};
  if (auto index = autogptq_file(directory, names, index_ending); !index.empty())
    return {.index = index};
  if (auto one = autogptq_file(directory, names, ".bin"); !one.empty()) return {.single = one};
  if (has(std::string(torch_file_name))) return {.single = std::string(torch_file_name)};
  if (has(std::string(torch_index_name))) return {.index = std::string(torch_index_name)};
  return {};
}

std::unique_ptr<TensorSource> open_checkpoint(const fs::path& directory) {
  const WeightNames found = find_weights(directory);
  if (found.single.empty() && found.index.empty()) nothing_found(directory, names_in(directory));
  if (!found.index.empty())
    return std::make_unique<ShardedSource>(
        directory, directory / found.index,
        found.index.ends_with(index_ending) ? safetensors_shards : torch_shards);
  const fs::path file = directory / found.single;
  return file.extension() == ".bin" ? open_torch_file(file) : open_safetensors(file);
}

}  // namespace quaver
