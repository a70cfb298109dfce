#pragma once
// Writes a checkpoint as safetensors files, tensor by tensor, in bounded memory.
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/file.h"
#include "io/checkpoint.h"
#include "io/safetensors_header.h"
#include "io/shard_index.h"
#include "io/shard_layout.h"

namespace quaver {

// The files are model.safetensors if all fits into one, else model-0000i-of-0000n.safetensors and
// model.safetensors.index.json. The order of the calls decides which tensor goes to which shard; in
// a shard they lie as in io/shard_layout.h. Every byte is a function of the tensors written and the
// order of the calls.
//
// A file's header needs the sizes of all its tensors, so data go to a temporary file first and are
// copied behind the header, by the kernel, when the shard is complete. Shards wait under temporary
// names for finish(), which knows how many there are; without it the destructor removes all.
class ShardWriter final : public TensorSink {
 public:
  // A shard's data section stays within `shard_bytes`, unless one tensor alone is larger. The
  // directory must exist.
  explicit ShardWriter(std::filesystem::path directory,
                       std::uint64_t shard_bytes = default_shard_bytes);

  // Error(bad_argument) on a second tensor of the same name or a name that is no valid UTF-8.
  void write(std::string_view name, const Tensor& host) override;
  void finish() override;

  // After finish(): names of the files written, the index included.
  const std::vector<std::string>& files() const { return files_; }

 private:
  void complete_shard();

  std::filesystem::path directory_;
  std::uint64_t shard_bytes_, total_bytes_ = 0;
  std::set<std::string, std::less<>> names_;
  std::vector<HeaderEntry> entries_;  // of the current shard
  std::optional<AtomicFile> data_;    // of the current shard; never committed
  std::vector<AtomicFile> shards_;    // complete, under temporary names
  std::vector<std::set<std::string>> names_of_shards_;
  std::vector<std::string> files_;
  bool finished_ = false;
};

}  // namespace quaver
