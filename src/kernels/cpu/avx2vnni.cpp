// Products of whole numbers for AVX-VNNI: the rest is that of AVX2. Includes no C++ standard
// header: see kernels/README.md.
#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/kernels.h"

namespace quaver::cpu {
namespace {

#include "kernels/cpu/avx2_names.inl"

constexpr bool narrow_sums = false;  // of products: 32 bits
B products_added(B sum, B codes, B inputs) { return _mm256_dpbusd_avx_epi32(sum, codes, inputs); }
B widened(B wide, B narrow) { return _mm256_add_epi32(wide, narrow); }

#include "kernels/cpu/lines.inl"

}  // namespace

void use_avx2vnni(Kernels& k) {
  k.lines_input = lines_input;
  k.lines_dot = lines_dot;
  k.lines_multiply = lines_multiply;
}

}  // namespace quaver::cpu
