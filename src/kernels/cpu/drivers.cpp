// What the drivers share: denormals, and ranges of parallel work.
#include "kernels/cpu/drivers.h"

#include "core/threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace quaver::cpu {

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

Element element_of(DType type) {
  return type == DType::f16 ? Element::f16 : type == DType::bf16 ? Element::bf16 : Element::f32;
}

}  // namespace quaver::cpu
