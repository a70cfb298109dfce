#include "core/spill.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace quaver {
namespace {

void read_all(int descriptor, std::byte* to, std::size_t bytes, std::uint64_t from) {
  while (bytes > 0) {
    const ssize_t n = ::pread(descriptor, to, bytes, static_cast<off_t>(from));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(Fault::io, "[memory] cannot read spilled bytes: ", std::strerror(errno));
    if (n == 0) fail(Fault::io, "[memory] the file of spilled bytes ends at ", from);
    to += n;
    from += static_cast<std::uint64_t>(n);
    bytes -= static_cast<std::size_t>(n);
  }
}

}  // namespace

std::shared_ptr<SpillSet> SpillPool::make() { return std::make_shared<SpillSet>(*this); }

void SpillSet::taken(void* buffer, std::size_t bytes) {
  if (bytes < least_paged_buffer) return;  // shares its pages with others
  const std::lock_guard lock(mutex_);
  buffers_.emplace(buffer, bytes);
  bytes_ += bytes;
}

void SpillSet::freed(void* buffer) {
  const std::lock_guard lock(mutex_);
  const auto it = buffers_.find(buffer);
  if (it == buffers_.end()) return;
  bytes_ -= it->second;
  buffers_.erase(it);
}

std::uint64_t SpillSet::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void SpillSet::enter() {
  pool_.resident_ -= settled_;
  settled_ = 0;
  if (!is_out_) return;
  const std::lock_guard lock(mutex_);
  // Without those that were freed meanwhile.
  for (const auto& [offset, buffer] : places_) {
    const auto it = buffers_.find(buffer.first);
    if (it != buffers_.end())
      read_all(file_.get(), static_cast<std::byte*>(buffer.first), buffer.second, offset);
  }
  is_out_ = false;
}

void SpillSet::leave() {
  const std::lock_guard lock(mutex_);
  if (is_out_) return;
  if (pool_.resident_ + bytes_ <= pool_.most_resident_) {
    settled_ = bytes_;
    pool_.resident_ += settled_;
    return;
  }
  if (!file_) file_ = open_unnamed(pool_.directory_);
  if (::lseek(file_.get(), 0, SEEK_SET) != 0)
    fail(Fault::io, "[memory] cannot seek: ", std::strerror(errno));
  places_.clear();
  std::uint64_t offset = 0;
  for (const auto& [buffer, bytes] : buffers_) {
    write_all(file_.get(), {static_cast<const std::byte*>(buffer), bytes}, pool_.directory_);
    places_.emplace(offset, std::pair(buffer, bytes));
    offset += bytes;
  }
  // Nothing is dropped before everything is written.
  for (const auto& [buffer, bytes] : buffers_) ::madvise(buffer, bytes, MADV_DONTNEED);
  pool_.spilled_ += offset;
  is_out_ = true;
}

}  // namespace quaver
