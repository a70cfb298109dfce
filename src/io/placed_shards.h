#pragma once
// A checkpoint whose tensors are all known before the first is written: each has its place in the
// safetensors files from the start, is written there once, in any order, and can be read back.
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/tensor.h"
#include "io/checkpoint.h"
#include "io/shard_layout.h"

namespace quaver {

struct TensorPlan {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;

  std::uint64_t bytes() const { return static_cast<std::uint64_t>(shape.size()) * size_of(dtype); }
};

// The files are those that ShardWriter makes of the same tensors in the same order, but stand under
// their own names from the beginning, holes and all: their directory is one that nobody takes for
// a whole checkpoint yet. What an earlier PlacedShards of the same plan has written there stays.
class PlacedShards {
 public:
  // A shard's data section stays within `shard_bytes`, unless one tensor alone is larger. Throws
  // Error(bad_argument) on two tensors of one name or a name that is no valid UTF-8, Error(io,
  // resource) where the files cannot be made.
  PlacedShards(std::filesystem::path directory, std::span<const TensorPlan> tensors,
               std::uint64_t shard_bytes = default_shard_bytes);

  bool has(std::string_view name) const { return places_.contains(name); }  // is it planned?
  // Threads may write different tensors at a time. Throws Error(internal) unless it is planned as
  // it is.
  void write(std::string_view name, const Tensor& host);
  // What was written last, by an earlier PlacedShards too: a view of the file.
  Tensor read(std::string_view name) const;
  // Where a tensor lies, for messages.
  std::filesystem::path file_of(std::string_view name) const;

  void sync();    // what was written up to here is durable
  void finish();  // sync, and the index if there are several files

  std::uint64_t bytes() const;  // of all files, the index left out
  // Names of the files, the index behind them if there are several.
  std::vector<std::string> files() const;

 private:
  struct Shard {
    std::filesystem::path path;
    FileHandle file;
    std::string header;
    std::uint64_t bytes = 0;               // header and data
    std::atomic<bool> written = false;     // since the last sync()
    std::unique_ptr<TensorSource> source;  // made by the first read()
  };
  struct Place {
    std::size_t shard = 0;
    std::uint64_t begin = 0;  // in the file
    DType dtype = DType::f32;
    Shape shape;
  };
  void add_shard(std::vector<HeaderEntry> entries);
  void open(Shard& shard) const;
  const Place& place_of(std::string_view name) const;

  std::filesystem::path directory_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string, Place, std::less<>> places_;
  std::uint64_t total_bytes_ = 0;  // of all tensors
};

}  // namespace quaver
