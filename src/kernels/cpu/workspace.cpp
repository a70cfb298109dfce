#include <array>
#include <cstdlib>
#include <memory>
#include <new>

#include "core/threads.h"
#include "kernels/cpu/drivers.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace quaver::cpu {
namespace {

constexpr std::size_t line = 64, huge_page = std::size_t{2} << 20;

struct Buffer {
  std::unique_ptr<float, decltype(&std::free)> bytes{nullptr, std::free};
  std::size_t size = 0;
};

}  // namespace

#if defined(__x86_64__)
constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040;
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) {
  _mm_setcsr(saved_ | flush_to_zero | denormals_are_zero);
}
FlushDenormals::~FlushDenormals() { _mm_setcsr(saved_); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() = default;
#endif

void parallel(std::int64_t items, std::int64_t grain,
              const std::function<void(std::int64_t, std::int64_t)>& body) {
  parallel_for(items, grain, [&](std::int64_t begin, std::int64_t end) {
    const FlushDenormals flush;
    body(begin, end);
  });
}

float* workspace(Room room, std::int64_t floats) {
  thread_local std::array<Buffer, 5> buffers;
  Buffer& buffer = buffers[static_cast<std::size_t>(room)];
  const std::size_t wanted = static_cast<std::size_t>(floats) * sizeof(float);
  if (buffer.size < wanted) {
    const std::size_t unit = wanted < huge_page ? line : huge_page;
    const std::size_t size = (wanted + unit - 1) / unit * unit;
    buffer.bytes.reset();
    buffer.size = 0;
    buffer.bytes.reset(static_cast<float*>(std::aligned_alloc(unit, size)));
    if (!buffer.bytes) throw std::bad_alloc();
#if defined(__linux__)
    if (unit == huge_page) madvise(buffer.bytes.get(), size, MADV_HUGEPAGE);  // only a wish
#endif
    buffer.size = size;
  }
  return buffer.bytes.get();
}

Element element_of(DType type) {
  return type == DType::f16 ? Element::f16 : type == DType::bf16 ? Element::bf16 : Element::f32;
}

}  // namespace quaver::cpu
