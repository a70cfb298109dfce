#pragma once
// A second backend for tests. Its buffers cannot be read or written by the host: the pointers it
// hands out fault. It has a few kernels of its own; everything else falls back to the CPU.
#include "core/tensor.h"

namespace quaver {

// Registers the backend on first use.
Device guarded_device();

// How often the backend's own kernels ran, and how many bytes it has copied in and out.
struct GuardedCounts {
  long kernels = 0, bytes_in = 0, bytes_out = 0;
};
GuardedCounts guarded_counts();

}  // namespace quaver
