#include "io/shard_index.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

constexpr std::size_t longest_file_name = 255;

// Nothing that could leave the directory gets through: no separator, no NUL, no "..", which lacks
// the ending.
bool is_shard_name(std::string_view name, std::string_view ending) {
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return name.size() > ending.size() && name.size() <= longest_file_name &&
         name.ends_with(ending) && std::ranges::all_of(name, allowed);
}

}  // namespace

ShardIndex parse_shard_index(std::string_view json, std::string_view where,
                             std::string_view ending) {
  const Json root = parse_json(json, where, {.bytes = max_index_bytes, .depth = 16});
  ensure_file(root.is_object(), where, ": expected an object, found ", root.type_name());
  const auto map = root.find("weight_map");
  ensure_file(map != root.end(), where, ": 'weight_map' is missing");
  ensure_file(map->is_object(), where, ": 'weight_map' is not an object");
  ensure_file(!map->empty(), where, ": 'weight_map' is empty");
  ShardIndex index;
  for (const auto& [tensor, file] : map->items()) {
    ensure_file(file.is_string(), where, ": the file of tensor ", printable(tensor),
                " is not a string");
    const auto& name = file.get_ref<const std::string&>();
    ensure_file(is_shard_name(name, ending), where, ": tensor ", printable(tensor), " lies in ",
                printable(name), ", expected the plain name of a ", ending,
                " file in the same directory");
    index.files[name].insert(tensor);
  }
  return index;
}

void check_shard(const ShardIndex& index, const std::string& file,
                 std::span<const TensorInfo> found, std::string_view where) {
  const auto& promised = index.files.at(file);
  for (const TensorInfo& tensor : found)
    ensure_file(promised.contains(tensor.name), where, ": ", file, " holds tensor ",
                printable(tensor.name), ", which the index does not place there");
  if (found.size() == promised.size()) return;
  for (const std::string& name : promised)
    ensure_file(std::ranges::binary_search(found, name, {}, &TensorInfo::name), where,
                ": the index places tensor ", printable(name), " in ", file,
                ", which does not hold it");
}

std::string shard_index_json(const ShardIndex& index, std::uint64_t total_size) {
  Json map = Json::object();
  for (const auto& [file, names] : index.files)
    for (const std::string& name : names) map[name] = file;
  const Json root{{"metadata", {{"total_size", total_size}}}, {"weight_map", std::move(map)}};
  return root.dump(2) + "\n";
}

}  // namespace quaver
