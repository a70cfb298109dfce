#pragma once
// model.safetensors.index.json and pytorch_model.bin.index.json: which file of a sharded checkpoint
// holds which tensor.
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "io/checkpoint.h"

namespace quaver {

struct ShardIndex {
  // file name -> names of its tensors. File names are plain names inside the directory:
  // ^[A-Za-z0-9._-]+\.safetensors$, or .bin
  std::map<std::string, std::set<std::string>> files;
};

inline constexpr std::string_view shard_index_file = "model.safetensors.index.json";
inline constexpr std::size_t max_index_bytes = 64'000'000;

// `ending` is that of all files of the checkpoint. Throws Error(bad_file) that begins with `where`.
ShardIndex parse_shard_index(std::string_view json, std::string_view where,
                             std::string_view ending = ".safetensors");

// Throws Error(bad_file) that begins with `where` unless `found`, the tensors that stand in `file`,
// have exactly the names that the index gives it.
void check_shard(const ShardIndex& index, const std::string& file,
                 std::span<const TensorInfo> found, std::string_view where);

// The inverse, for a finished writer: total_size counts the bytes of all tensors.
std::string shard_index_json(const ShardIndex& index, std::uint64_t total_size);

}  // namespace quaver
