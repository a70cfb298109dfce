#pragma once
// Host buffers for tensors: 64-byte aligned, and kept for reuse, since asking the kernel for fresh
// pages costs more than many of the operations that fill them.
#include <cstddef>
#include <memory>

namespace quaver {

// A buffer of at least `bytes`, not initialized. Throws Error(resource) when memory is short.
std::shared_ptr<void> host_buffer(std::size_t bytes);

// Buffers of this size on lie on pages of their own, and go back to the system when they are freed
// and not kept.
inline constexpr std::size_t least_paged_buffer = std::size_t{256} << 10;

// Is told of the buffers that a thread takes, and when they are freed, be it by another thread.
class BufferOwner {
 public:
  virtual ~BufferOwner() = default;
  virtual void taken(void* buffer, std::size_t bytes) = 0;
  virtual void freed(void* buffer) = 0;
};

// The owner of what the calling thread takes from now on; null: none. Returns the one before.
std::shared_ptr<BufferOwner> set_buffer_owner(std::shared_ptr<BufferOwner> owner);

// Freed buffers are kept up to this many bytes in all; 0 keeps none.
inline constexpr std::size_t default_host_buffer_cache = std::size_t{256} << 20;
void set_host_buffer_cache(std::size_t bytes);

}  // namespace quaver
