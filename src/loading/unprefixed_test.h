#pragma once
// For tests: checkpoints as they are written from the inner model alone.
#include <filesystem>
#include <string>

#include "io/checkpoint.h"
#include "io/shard_writer.h"

namespace quaver {

// Copies a checkpoint; its tensors lose `prefix` ("transformer.h.0..." becomes "h.0...").
inline void write_without_prefix(const std::filesystem::path& from, const std::filesystem::path& to,
                                 const std::string& prefix) {
  std::filesystem::create_directories(to);
  std::filesystem::copy_file(from / "config.json", to / "config.json");
  const auto source = open_checkpoint(from);
  ShardWriter writer(to);
  for (const TensorInfo& t : source->tensors())
    writer.write(t.name.starts_with(prefix) ? t.name.substr(prefix.size()) : t.name,
                 source->read(t.name));
  writer.finish();
}

}  // namespace quaver
