#pragma once
// The CPU's entries of DeviceOps: they cut the work, allocate, and call the serial kernels.
#include <functional>
#include <span>

#include "core/host_memory.h"
#include "kernels/backend.h"
#include "kernels/cpu/kernels.h"

namespace quaver::cpu {

template <class T>
T* host(const Mem& m) {
  return m ? reinterpret_cast<T*>(static_cast<std::byte*>(m.base) + m.offset) : nullptr;
}

// Makes this thread treat denormal floats as zero, in and out, until the end of the scope: they are
// up to a hundred times slower, and far below the precision of anything here.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

// parallel_for with denormals flushed in every range.
void parallel(std::int64_t items, std::int64_t grain,
              const std::function<void(std::int64_t, std::int64_t)>& body);

// 64-byte aligned floats, not initialized, from the process's kept buffers; lasts as long as the
// object.
class Workspace {
 public:
  Workspace() = default;  // no floats
  explicit Workspace(std::int64_t floats)
      : buffer_(host_buffer(static_cast<std::size_t>(floats) * sizeof(float))) {}
  float* floats() const { return static_cast<float*>(buffer_.get()); }

 private:
  std::shared_ptr<void> buffer_;
};

// Up to so many rows of one step, each has the bits that it has alone: the guesses of speculative
// decoding are judged by them.
inline constexpr std::int64_t few_rows_most = 8;

Element element_of(DType type);  // f32, f16 or bf16

// A product whose w comes as panels: pack(first, count, panel) writes columns first .. first +
// count of w^T as [k, tile_cols], 0 beyond count. first is a multiple of tile_cols.
struct PanelProduct {
  Strided x;
  std::function<void(std::int64_t first, std::int64_t count, float* panel)> pack;
  float* y = nullptr;
  const float* bias = nullptr;
  std::int64_t m = 0, n = 0, k = 0, ldy = 0;
  bool resume = false, negate = false, lower_only = false;
  std::int64_t most_w_floats = 0;  // of w's panels at a time
};
void multiply(const PanelProduct& product);

bool fits_lines(const Packed& w, std::int64_t m);
void run_lines(Stream, const PackedArgs& args);
void run_all_lines(Stream, std::span<const PackedArgs> all);
void gemm(Stream, const GemmArgs& args);
void attention(Stream, const AttentionArgs& args);
std::span<const PackedGemm> packed_kernels();

}  // namespace quaver::cpu
