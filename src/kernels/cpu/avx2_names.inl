// Names for the vectors of AVX2, over which the kernels are written. Included inside the anonymous
// namespace of a file of this instruction set.

using F = __m256;
using I = __m256i;
constexpr int64_t W = 8;

// 12 sums, 2 of w and a broadcast: 15 of the 16 registers.
#define TILE_ROWS 6
#define QUAVER_TILE_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)

F zero() { return _mm256_setzero_ps(); }
F all(float v) { return _mm256_set1_ps(v); }
F load(const float* p) { return _mm256_loadu_ps(p); }
void store(float* p, F v) { _mm256_storeu_ps(p, v); }
F plus(F a, F b) { return _mm256_add_ps(a, b); }
F minus(F a, F b) { return _mm256_sub_ps(a, b); }
F times(F a, F b) { return _mm256_mul_ps(a, b); }
F over(F a, F b) { return _mm256_div_ps(a, b); }
F multiply_add(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
// sum += a * b, as the one instruction: of the intrinsic GCC 12 makes forms that write another
// register than the sum's, moves and spills, at 5 % of a matrix product.
void add_product(F& sum, F a, F b) { asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b)); }
F larger(F a, F b) { return _mm256_max_ps(a, b); }   // b if either is NaN
F smaller(F a, F b) { return _mm256_min_ps(a, b); }  // b if either is NaN
F negative(F a) { return _mm256_xor_ps(a, all(-0.0f)); }
F absolute(F a) { return _mm256_andnot_ps(all(-0.0f), a); }
F round_to_int(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
F where_less(F a, F b, F yes, F no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

// a * 2^n for whole n in -126 .. 128, in two steps since 2^128 is no float.
F scale2(F a, F n) {
  const I exponent = _mm256_cvtps_epi32(n);
  const I half = _mm256_srai_epi32(exponent, 1);
  const I bias = _mm256_set1_epi32(127);
  const F one = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const F two = _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(exponent, half), bias), 23));
  return times(times(a, one), two);
}

I first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
F load_some(const float* p, int64_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
void store_some(float* p, F v, int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }

F from_half(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
F from_brain(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}

float sum(F v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
float highest(F v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
double sum4(__m256d v) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

I all_int(int v) { return _mm256_set1_epi32(v); }
I load_int(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
I load_some_int(const uint32_t* p, int64_t n) {
  return n >= W ? load_int(p)
                : _mm256_maskload_epi32(reinterpret_cast<const int*>(p), first_lanes(n));
}
I masked(I a, I b) { return _mm256_and_si256(a, b); }
I both(I a, I b) { return _mm256_or_si256(a, b); }
I shift_down(I a, int n) { return _mm256_srl_epi32(a, _mm_cvtsi32_si128(n)); }
I shift_up(I a, int n) { return _mm256_sll_epi32(a, _mm_cvtsi32_si128(n)); }
F to_float(I a) { return _mm256_cvtepi32_ps(a); }
I minus_int(I a, I b) { return _mm256_sub_epi32(a, b); }
template <int power>
I times_power(I a) {  // 2^power
  return _mm256_slli_epi32(a, power);
}

using B = __m256i;
constexpr int halves = 2;
B load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const B*>(p)); }
void store_bytes(uint8_t* p, B v) { _mm256_storeu_si256(reinterpret_cast<B*>(p), v); }
B and_bytes(B a, int mask) {
  return _mm256_and_si256(a, _mm256_set1_epi8(static_cast<char>(mask)));
}
B or_bytes(B a, B b) { return _mm256_or_si256(a, b); }
B down_bits(B a, int n) { return _mm256_srli_epi16(a, n); }  // bits of the byte above come in
B up_bits(B a, int n) { return _mm256_slli_epi16(a, n); }
void store_as_bytes(int8_t* p, F whole) {
  const I words = _mm256_cvtps_epi32(whole);
  const __m128i pairs =
      _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(pairs, pairs));
}

// Whole numbers as words, four at a time in the order 0 2 1 3.
void store_as_words(int16_t* p, F whole) {
  const I words = _mm256_shuffle_epi32(_mm256_cvtps_epi32(whole), _MM_SHUFFLE(3, 1, 2, 0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi32(_mm256_castsi256_si128(words),
                                   _mm256_extracti128_si256(words, 1)));
}
B even_bytes(B a) { return _mm256_and_si256(a, _mm256_set1_epi16(0xff)); }
B odd_bytes(B a) { return _mm256_srli_epi16(a, 8); }
B sums_added(B a, B b) { return _mm256_add_epi32(a, b); }
// The sum as an instruction of its own: see products_added.
B words_added(B sum, B codes, B inputs) {
  const B products = _mm256_madd_epi16(codes, inputs);
  asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
  return sum;
}

F rounded_down(F a) { return _mm256_floor_ps(a); }
B with_low_plane(B high, B low) { return _mm256_add_epi32(_mm256_slli_epi32(high, 7), low); }
B no_bytes() { return _mm256_setzero_si256(); }
B four_bytes(const int8_t* x) {
  int four;
  __builtin_memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}
