#include "io/placed_shards.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "core/error.h"
#include "io/shard_index.h"

namespace quaver {

PlacedShards::PlacedShards(std::filesystem::path directory, std::span<const TensorPlan> tensors,
                           std::uint64_t shard_bytes)
    : directory_(std::move(directory)) {
  ensure(shard_bytes > 0, "[shards] shards of 0 bytes");
  std::vector<HeaderEntry> entries;
  std::uint64_t bytes = 0;
  std::set<std::string_view> names;
  for (const TensorPlan& t : tensors) {
    ensure(is_utf8(t.name) && t.name != "__metadata__", "[shards] ", printable(t.name),
           " cannot be the name of a tensor");
    ensure(names.insert(t.name).second, "[shards] tensor ", printable(t.name), " is planned twice");
    if (!entries.empty() && bytes + t.bytes() > shard_bytes) {
      add_shard(std::move(entries));
      entries.clear();
      bytes = 0;
    }
    entries.push_back({.name = t.name,
                       .dtype = &stored_dtype(t.dtype),
                       .shape = t.shape,
                       .begin = 0,
                       .end = t.bytes()});
    bytes += t.bytes();
  }
  if (!entries.empty() || shards_.empty()) add_shard(std::move(entries));
  ensure(shards_.size() <= most_shards, "[shards] more than ", most_shards, " shards");
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i]->path = directory_ / shard_name(i, shards_.size());
    open(*shards_[i]);
  }
}

void PlacedShards::add_shard(std::vector<HeaderEntry> entries) {
  entries = placed_in_order(std::move(entries));
  auto shard = std::make_unique<Shard>();
  shard->header = safetensors_header(entries);
  shard->bytes = shard->header.size();
  for (const HeaderEntry& entry : entries) {
    places_.emplace(entry.name, Place{.shard = shards_.size(),
                                      .begin = shard->header.size() + entry.begin,
                                      .dtype = *entry.dtype->dtype,
                                      .shape = entry.shape});
    shard->bytes += entry.end - entry.begin;
    total_bytes_ += entry.end - entry.begin;
  }
  shards_.push_back(std::move(shard));
}

// A file of this very header and size was made by an earlier run of the same job.
void PlacedShards::open(Shard& shard) const {
  shard.file = FileHandle(::open(shard.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  const auto failed = [&](const char* what) {
    const int error = errno;
    fail(error == ENOSPC || error == EDQUOT || error == EFBIG ? Fault::resource : Fault::io,
         shard.path.string(), ": cannot ", what, ": ", std::strerror(error));
  };
  if (!shard.file) failed("create");
  struct stat now {};
  if (::fstat(shard.file.get(), &now) != 0) failed("look at");
  if (static_cast<std::uint64_t>(now.st_size) == shard.bytes) {
    std::string header(shard.header.size(), '\0');
    read_at(shard.file.get(), reinterpret_cast<std::byte*>(header.data()), header.size(), 0,
            shard.path);
    if (header == shard.header) return;
  }
  if (::ftruncate(shard.file.get(), 0) != 0) failed("empty");
  write_all_at(shard.file.get(), std::as_bytes(std::span(shard.header)), 0, shard.path);
  if (::ftruncate(shard.file.get(), static_cast<off_t>(shard.bytes)) != 0) failed("extend");
  shard.written = true;
}

const PlacedShards::Place& PlacedShards::place_of(std::string_view name) const {
  const auto found = places_.find(name);
  if (found == places_.end())
    fail(Fault::internal, "[shards] tensor ", printable(name), " is not planned");
  return found->second;
}

void PlacedShards::write(std::string_view name, const Tensor& host) {
  const Place& place = place_of(name);
  if (!host || host.dtype() != place.dtype || host.shape() != place.shape)
    fail(Fault::internal, "[shards] tensor ", printable(name), " is planned as ", place.dtype, " ",
         place.shape);
  Shard& shard = *shards_[place.shard];
  write_all_at(shard.file.get(), {host.host(), host.bytes()}, place.begin, shard.path);
  shard.written = true;
#ifdef __linux__
  // The disk begins at once, so that sync() finds little left. Only a hint: its errors come there.
  ::sync_file_range(shard.file.get(), static_cast<off64_t>(place.begin),
                    static_cast<off64_t>(host.bytes()), SYNC_FILE_RANGE_WRITE);
#endif
}

Tensor PlacedShards::read(std::string_view name) const {
  Shard& shard = *shards_[place_of(name).shard];
  if (!shard.source) shard.source = open_safetensors(shard.path);
  return shard.source->read(name);
}

std::filesystem::path PlacedShards::file_of(std::string_view name) const {
  return shards_[place_of(name).shard]->path;
}

void PlacedShards::sync() {
  for (const auto& shard : shards_) {
    if (!shard->written.exchange(false)) continue;
    try {
      sync_descriptor(shard->file.get(), shard->path);
    } catch (...) {
      shard->written = true;
      throw;
    }
  }
}

void PlacedShards::finish() {
  sync();
  if (shards_.size() == 1) return;
  ShardIndex index;
  for (const auto& [name, place] : places_)
    index.files[shards_[place.shard]->path.filename().string()].insert(name);
  write_file_atomically(directory_ / shard_index_file, shard_index_json(index, total_bytes_));
}

std::uint64_t PlacedShards::bytes() const {
  std::uint64_t total = 0;
  for (const auto& shard : shards_) total += shard->bytes;
  return total;
}

std::vector<std::string> PlacedShards::files() const {
  std::vector<std::string> names;
  for (const auto& shard : shards_) names.push_back(shard->path.filename().string());
  if (shards_.size() > 1) names.emplace_back(shard_index_file);
  return names;
}

}  // namespace quaver
