#include "io/shard_writer.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "io/shard_layout.h"

namespace quaver {
ShardWriter::ShardWriter(std::filesystem::path directory, std::uint64_t shard_bytes)
    : directory_(std::move(directory)), shard_bytes_(shard_bytes) {
  ensure(shard_bytes > 0, "[shard writer] shards of 0 bytes");
}

void ShardWriter::write(std::string_view name, const Tensor& host) {
  ensure(!finished_, "[shard writer] tensor ", printable(name), " after finish()");
  ensure(is_utf8(name) && name != "__metadata__", "[shard writer] ", printable(name),
         " cannot be the name of a tensor");
  ensure(static_cast<bool>(host), "[shard writer] tensor ", printable(name), " is empty");
  ensure(names_.emplace(name).second, "[shard writer] tensor ", printable(name),
         " is written twice");
  const std::uint64_t bytes = host.bytes();
  if (data_ && data_->size() + bytes > shard_bytes_) complete_shard();
  if (!data_) data_.emplace(directory_ / "model.data");
  entries_.push_back({.name = std::string(name),
                      .dtype = &stored_dtype(host.dtype()),
                      .shape = host.shape(),
                      .begin = data_->size(),
                      .end = data_->size() + bytes});
  data_->write({host.host(), bytes});
  total_bytes_ += bytes;
}

void ShardWriter::complete_shard() {
  ensure(shards_.size() < most_shards, "[shard writer] more than ", most_shards, " shards");
  std::ranges::sort(entries_, lies_before);
  const std::vector<HeaderEntry> placed = placed_in_order(entries_);
  AtomicFile shard(directory_ / "model.shard");
  shard.write(safetensors_header(placed));
  for (const HeaderEntry& entry : entries_)
    shard.append(data_->descriptor(), entry.begin, entry.end - entry.begin);
  shard.sync();
  shards_.push_back(std::move(shard));
  auto& names = names_of_shards_.emplace_back();
  for (HeaderEntry& entry : entries_) names.insert(std::move(entry.name));
  entries_.clear();
  data_.reset();
}

void ShardWriter::finish() {
  ensure(!finished_, "[shard writer] finish() was called before");
  if (data_ || shards_.empty()) complete_shard();
  finished_ = true;
  ShardIndex index;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const std::string name = shard_name(i, shards_.size());
    shards_[i].commit_as(directory_ / name);
    index.files[name] = std::move(names_of_shards_[i]);
    files_.push_back(name);
  }
  if (shards_.size() > 1) {
    files_.emplace_back(shard_index_file);
    write_file_atomically(directory_ / shard_index_file, shard_index_json(index, total_bytes_));
  }
}

}  // namespace quaver
