#pragma once
// Host buffers for tensors: 64-byte aligned, and kept for reuse, since asking the kernel for fresh
// pages costs more than many of the operations that fill them.
#include <cstddef>
#include <memory>

namespace quaver {

// A buffer of at least `bytes`, not initialized. Throws Error(resource) when memory is short.
std::shared_ptr<void> host_buffer(std::size_t bytes);

// Freed buffers are kept up to this many bytes in all; 0 keeps none.
inline constexpr std::size_t default_host_buffer_cache = std::size_t{256} << 20;
void set_host_buffer_cache(std::size_t bytes);

}  // namespace quaver
