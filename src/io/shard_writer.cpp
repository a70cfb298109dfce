#include "io/shard_writer.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace quaver {
namespace {

constexpr std::size_t most_shards = 99'999;

std::string shard_name(std::size_t i, std::size_t count) {
  if (count == 1) return "model.safetensors";
  char name[48];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, count);
  return name;
}

// The order in a file: elements of any size are aligned behind larger ones.
bool lies_before(const HeaderEntry& a, const HeaderEntry& b) {
  return std::tie(b.dtype->bits, a.name) < std::tie(a.dtype->bits, b.name);
}

// Entries in that order, at the places where their data come to lie.
std::vector<HeaderEntry> placed_in_order(std::vector<HeaderEntry> entries) {
  std::ranges::sort(entries, lies_before);
  std::uint64_t end = 0;
  for (HeaderEntry& entry : entries) {
    entry.end = end + (entry.end - entry.begin);
    entry.begin = std::exchange(end, entry.end);
  }
  return entries;
}

}  // namespace

FileHandle write_safetensors(const std::filesystem::path& file,
                             const std::map<std::string, Tensor>& tensors) {
  std::vector<HeaderEntry> entries;
  for (const auto& [name, tensor] : tensors)
    entries.push_back({.name = name,
                       .dtype = &stored_dtype(tensor.dtype()),
                       .shape = tensor.shape(),
                       .begin = 0,
                       .end = tensor.bytes()});
  entries = placed_in_order(std::move(entries));
  FileHandle handle(::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!handle) fail(Fault::io, file.string(), ": cannot write: ", std::strerror(errno));
  const std::string header = safetensors_header(entries);
  write_all(handle.get(), std::as_bytes(std::span(header)), file);
  for (const HeaderEntry& entry : entries) {
    const Tensor& tensor = tensors.at(entry.name);
    write_all(handle.get(), {tensor.host(), tensor.bytes()}, file);
  }
  return handle;
}

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
