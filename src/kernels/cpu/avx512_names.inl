// Names for the vectors of AVX-512, over which the kernels are written. Included inside the anonymous
// namespace of a file of this instruction set.

using F = __m512;
using I = __m512i;
constexpr int64_t W = 16;

// 24 sums, 2 of w and a broadcast: 27 of the 32 registers.
#define TILE_ROWS 12
#define QUAVER_TILE_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

F zero() { return _mm512_setzero_ps(); }
F all(float v) { return _mm512_set1_ps(v); }
F load(const float* p) { return _mm512_loadu_ps(p); }
void store(float* p, F v) { _mm512_storeu_ps(p, v); }
F plus(F a, F b) { return _mm512_add_ps(a, b); }
F minus(F a, F b) { return _mm512_sub_ps(a, b); }
F times(F a, F b) { return _mm512_mul_ps(a, b); }
F over(F a, F b) { return _mm512_div_ps(a, b); }
F multiply_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
// sum += a * b, as the one instruction: of the intrinsic GCC 12 makes forms that write another
// register than the sum's, moves and spills, at 5 % of a matrix product.
void add_product(F& sum, F a, F b) { asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }
F larger(F a, F b) { return _mm512_max_ps(a, b); }   // b if either is NaN
F smaller(F a, F b) { return _mm512_min_ps(a, b); }  // b if either is NaN
F negative(F a) { return _mm512_xor_ps(a, all(-0.0f)); }
F absolute(F a) { return _mm512_andnot_ps(all(-0.0f), a); }
F round_to_int(F a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
F where_less(F a, F b, F yes, F no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
F scale2(F a, F n) { return _mm512_scalef_ps(a, n); }  // a * 2^n

__mmask16 first_lanes(int64_t n) {
  return n >= W ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << n) - 1);
}
F load_some(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
void store_some(float* p, F v, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

F from_half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
F from_brain(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}

// Halves added to one another, as AVX2 does.
float sum(F v) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
float highest(F v) { return _mm512_reduce_max_ps(v); }
double sum4(__m256d v) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

I all_int(int v) { return _mm512_set1_epi32(v); }
I load_int(const uint32_t* p) { return _mm512_loadu_si512(p); }
I load_some_int(const uint32_t* p, int64_t n) {
  return _mm512_maskz_loadu_epi32(first_lanes(n), p);
}
I masked(I a, I b) { return _mm512_and_si512(a, b); }
I both(I a, I b) { return _mm512_or_si512(a, b); }
I shift_down(I a, int n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
I shift_up(I a, int n) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n)); }
F to_float(I a) { return _mm512_cvtepi32_ps(a); }
I minus_int(I a, I b) { return _mm512_sub_epi32(a, b); }
template <int power>
I times_power(I a) {  // 2^power
  return _mm512_slli_epi32(a, power);
}

using B = __m512i;
constexpr int halves = 1;
B load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
void store_bytes(uint8_t* p, B v) { _mm512_storeu_si512(p, v); }
B and_bytes(B a, int mask) {
  return _mm512_and_si512(a, _mm512_set1_epi8(static_cast<char>(mask)));
}
B or_bytes(B a, B b) { return _mm512_or_si512(a, b); }
B down_bits(B a, unsigned n) { return _mm512_srli_epi16(a, n); }  // bits of the byte above come in
B up_bits(B a, unsigned n) { return _mm512_slli_epi16(a, n); }
void store_as_bytes(int8_t* p, F whole) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(whole)));
}

// Whole numbers as words, four at a time in the order 0 2 1 3.
void store_as_words(int16_t* p, F whole) {
  const I words = _mm512_shuffle_epi32(_mm512_cvtps_epi32(whole), _MM_PERM_DBCA);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(words));
}
B even_bytes(B a) { return _mm512_and_si512(a, _mm512_set1_epi16(0xff)); }
B odd_bytes(B a) { return _mm512_srli_epi16(a, 8); }
B sums_added(B a, B b) { return _mm512_add_epi32(a, b); }
// The sum as an instruction of its own: see products_added.
B words_added(B sum, B codes, B inputs) {
  const B products = _mm512_madd_epi16(codes, inputs);
  asm("vpaddd %1, %0, %0" : "+v"(sum) : "v"(products));
  return sum;
}

F rounded_down(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
B with_low_plane(B high, B low) { return _mm512_add_epi32(_mm512_slli_epi32(high, 7), low); }
B no_bytes() { return _mm512_setzero_si512(); }
B four_bytes(const int8_t* x) {
  int four;
  __builtin_memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}
