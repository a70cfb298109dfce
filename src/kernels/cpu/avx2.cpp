// The kernels for AVX2 with FMA and F16C. Includes no C++ standard header: see kernels/README.md.
#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/kernels.h"

namespace quaver::cpu {
namespace {

#include "kernels/cpu/avx2_names.inl"

constexpr bool narrow_sums = true;  // of products, in 16 bits
// The sum as an instruction of its own: GCC 12 makes a tree of a chain of sums, and keeps all its
// leaves in memory.
B products_added(B sum, B codes, B inputs) {
  const B products = _mm256_maddubs_epi16(codes, inputs);
  asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(products));
  return sum;
}
B widened(B wide, B narrow) {
  return _mm256_add_epi32(wide, _mm256_madd_epi16(narrow, _mm256_set1_epi16(1)));
}

#include "kernels/cpu/gemm.inl"
#include "kernels/cpu/gptq.inl"
#include "kernels/cpu/lines.inl"
#include "kernels/cpu/plain.inl"
#include "kernels/cpu/rows.inl"
#include "kernels/cpu/table.inl"

}  // namespace

void use_avx2(Kernels& k) { fill(k); }

}  // namespace quaver::cpu
