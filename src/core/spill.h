#pragma once
// Memory of computations that take turns: what one of them holds while another runs may lie in a
// file instead. Bytes go there and come back as they are, so results do not depend on it.
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "core/file.h"
#include "core/host_memory.h"

namespace quaver {

class SpillSet;

// What all sets of one job may keep in memory together while they wait.
class SpillPool {
 public:
  // Sets' files are made in `directory`, which must exist, and have no name there.
  SpillPool(std::filesystem::path directory, std::uint64_t most_resident)
      : directory_(std::move(directory)), most_resident_(most_resident) {}
  std::shared_ptr<SpillSet> make();
  std::uint64_t spilled_bytes() const { return spilled_; }  // written so far

 private:
  friend class SpillSet;
  const std::filesystem::path directory_;
  const std::uint64_t most_resident_;
  std::uint64_t resident_ = 0;  // of settled sets
  std::uint64_t spilled_ = 0;
};

// The paged host buffers that threads take within a Scope of the set. All calls but the buffers'
// own come from one thread at a time, and only while no computation of the set runs.
class SpillSet final : public BufferOwner {
 public:
  class Scope {  // the calling thread's buffers belong to `set`; null: to none
   public:
    explicit Scope(std::shared_ptr<SpillSet> set) : before_(set_buffer_owner(std::move(set))) {}
    ~Scope() { set_buffer_owner(std::move(before_)); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::shared_ptr<BufferOwner> before_;
  };

  explicit SpillSet(SpillPool& pool) : pool_(pool) {}

  // The computation is about to run, or its tensors to be read: all bytes are in memory. Throws
  // Error(io).
  void enter();
  // It waits: its bytes stay in memory where the pool has room for them, else they go to the file.
  // Throws Error(io, resource).
  void leave();
  std::uint64_t bytes() const;  // of the living buffers

  void taken(void* buffer, std::size_t bytes) override;
  void freed(void* buffer) override;

 private:
  SpillPool& pool_;
  mutable std::mutex mutex_;
  std::map<void*, std::size_t> buffers_;
  std::uint64_t bytes_ = 0, settled_ = 0;
  FileHandle file_;
  std::map<std::uint64_t, std::pair<void*, std::size_t>> places_;  // in the file, by offset
  bool is_out_ = false;
};

}  // namespace quaver
