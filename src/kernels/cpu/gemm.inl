// Packing, the register tile and the dot product of few rows, over the vector names that the
// including file defines: F (W floats), TILE_ROWS and QUAVER_TILE_ROWS(X).

constexpr int64_t tile_rows = TILE_ROWS, tile_cols = 2 * W, lanes = 32;

__m256 load8(const void* data, Element type, int64_t at) {
  if (type == Element::f32) return _mm256_loadu_ps(static_cast<const float*>(data) + at);
  const __m128i halves =
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(static_cast<const uint16_t*>(data) + at));
  if (type == Element::f16) return _mm256_cvtph_ps(halves);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

float element(const void* data, Element type, int64_t at) {
  if (type == Element::f32) return static_cast<const float*>(data)[at];
  const uint16_t half = static_cast<const uint16_t*>(data)[at];
  if (type == Element::f16) return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(half) << 16)));
}

void transpose8(__m256* r) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}

// The first `width` (4, 6 or 8) floats of v.
void store_width(float* to, __m256 v, int64_t width) {
  if (width == 8) {
    _mm256_storeu_ps(to, v);
    return;
  }
  _mm_storeu_ps(to, _mm256_castps256_ps128(v));
  if (width == 6) _mm_storel_pi(reinterpret_cast<__m64*>(to + 4), _mm256_extractf128_ps(v, 1));
}

// Up to 8 rows of a panel, from rows that are contiguous along p.
void pack_rows(const Strided& x, int64_t first, int64_t count, int64_t k, int64_t width,
               int64_t part, __m256 signs, float* out) {
  int64_t p = 0;
  for (; p + 8 <= k; p += 8) {
    __m256 r[8];
    for (int i = 0; i < 8; ++i)
      r[i] = i < count ? _mm256_xor_ps(load8(x.data, x.type, (first + i) * x.row + p), signs)
                       : _mm256_setzero_ps();
    transpose8(r);
    for (int i = 0; i < 8; ++i) store_width(out + (p + i) * width, r[i], part);
  }
  const bool negate = _mm256_movemask_ps(signs) != 0;
  for (; p < k; ++p)
    for (int64_t i = 0; i < part; ++i) {
      const float v = i < count ? element(x.data, x.type, (first + i) * x.row + p) : 0.0f;
      out[p * width + i] = negate ? -v : v;
    }
}

// The first `part` (4, 6 or 8) elements from `at`, and nothing beyond them.
__m256 load_part(const Strided& x, int64_t at, int64_t part) {
  if (part == 8) return load8(x.data, x.type, at);
  if (x.type == Element::f32) {
    const float* from = static_cast<const float*>(x.data) + at;
    __m128 high = _mm_setzero_ps();
    if (part == 6) high = _mm_loadl_pi(high, reinterpret_cast<const __m64*>(from + 4));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)), high, 1);
  }
  alignas(32) float some[8] = {};
  for (int64_t i = 0; i < part; ++i) some[i] = element(x.data, x.type, at + i);
  return _mm256_load_ps(some);
}

// Up to 8 rows of a panel, from rows that lie beside each other for one p.
void pack_columns(const Strided& x, int64_t first, int64_t k, int64_t width, int64_t part,
                  __m256 signs, float* out) {
  for (int64_t p = 0; p < k; ++p)
    store_width(out + p * width, _mm256_xor_ps(load_part(x, p * x.col + first, part), signs), part);
}

void pack(const Strided& x, int64_t first, int64_t count, int64_t k, int64_t width, bool negate,
          float* out) {
  const __m256 signs = _mm256_set1_ps(negate ? -0.0f : 0.0f);
  for (int64_t i = 0; i < width; i += 8, out += 8) {
    const int64_t part = width - i < 8 ? width - i : 8;
    const int64_t rest = count - i < part ? count - i : part;
    const int64_t live = rest < 0 ? 0 : rest;
    if (x.row == 1 && live == part) {
      pack_columns(x, first + i, k, width, part, signs, out);
    } else if (x.col == 1) {
      pack_rows(x, first + i, live, k, width, part, signs, out);
    } else {
      for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < part; ++j) {
          const int64_t at = (first + i + j) * x.row + p * x.col;
          const float v = j < live ? element(x.data, x.type, at) : 0.0f;
          out[p * width + j] = negate ? -v : v;
        }
    }
  }
}

void whole_tile(const float* x, const float* w, float* y, const float* bias, int64_t ldy, int64_t k,
                bool resume) {
#define QUAVER_DECLARE(i) F a##i, b##i;
  QUAVER_TILE_ROWS(QUAVER_DECLARE)
#undef QUAVER_DECLARE
  if (resume) {
#define QUAVER_LOAD(i) a##i = load(y + i * ldy), b##i = load(y + i * ldy + W);
    QUAVER_TILE_ROWS(QUAVER_LOAD)
#undef QUAVER_LOAD
  } else {
#define QUAVER_CLEAR(i) a##i = b##i = zero();
    QUAVER_TILE_ROWS(QUAVER_CLEAR)
#undef QUAVER_CLEAR
  }
// The outputs below, where the next tile goes on.
#define QUAVER_FETCH(i) \
  _mm_prefetch(reinterpret_cast<const char*>(y + (tile_rows + i) * ldy), _MM_HINT_T0);
  QUAVER_TILE_ROWS(QUAVER_FETCH)
#undef QUAVER_FETCH
#define QUAVER_ROW(i)         \
  {                           \
    const F v = all(x[i]);    \
    add_product(a##i, v, w0); \
    add_product(b##i, v, w1); \
  }
#define QUAVER_STEP                         \
  {                                         \
    const F w0 = load(w), w1 = load(w + W); \
    QUAVER_TILE_ROWS(QUAVER_ROW)            \
    x += tile_rows, w += tile_cols;         \
  }
  int64_t p = 0;
  for (; p + 4 <= k; p += 4) {
    QUAVER_STEP QUAVER_STEP QUAVER_STEP QUAVER_STEP
  }
  for (; p < k; ++p) QUAVER_STEP
#undef QUAVER_STEP
#undef QUAVER_ROW
  if (bias) {
    const F c0 = load(bias), c1 = load(bias + W);
#define QUAVER_BIAS(i) a##i = plus(a##i, c0), b##i = plus(b##i, c1);
    QUAVER_TILE_ROWS(QUAVER_BIAS)
#undef QUAVER_BIAS
  }
#define QUAVER_STORE(i) store(y + i * ldy, a##i), store(y + i * ldy + W, b##i);
  QUAVER_TILE_ROWS(QUAVER_STORE)
#undef QUAVER_STORE
}

void tile(const TileArgs& t) {
  if (t.m == tile_rows && t.n == tile_cols) {
    whole_tile(t.x, t.w, t.y, t.bias, t.ldy, t.k, t.resume);
    return;
  }
  alignas(64) float part[tile_rows * tile_cols];
  if (t.resume)
    for (int64_t i = 0; i < tile_rows; ++i)
      for (int64_t j = 0; j < tile_cols; ++j)
        part[i * tile_cols + j] = i < t.m && j < t.n ? t.y[i * t.ldy + j] : 0.0f;
  whole_tile(t.x, t.w, part, nullptr, tile_cols, t.k, t.resume);
  for (int64_t i = 0; i < t.m; ++i)
    for (int64_t j = 0; j < t.n; ++j) {
      const float sum = part[i * tile_cols + j];
      t.y[i * t.ldy + j] = t.bias ? sum + t.bias[j] : sum;
    }
}

F load_as(const float* data) { return load(data); }

struct HalfBits {
  uint16_t bits;
};
struct BrainBits {
  uint16_t bits;
};
F load_as(const HalfBits* data) { return from_half(&data->bits); }
F load_as(const BrainBits* data) { return from_brain(&data->bits); }

// Lanes l and l + 16 are added, l and l + 8, down to one.
float sum_of_lanes(const F* s) {
  constexpr int parts = lanes / W;
  return sum(parts == 2 ? plus(s[0], s[1])
                        : plus(plus(s[0], s[parts / 2]), plus(s[1], s[parts - 1])));
}

constexpr int64_t rows_ahead = 8;  // of rows that do not lie together: what is fetched meanwhile

// `ahead`: bytes from what is read to what is fetched meanwhile.
template <class T>
float dot_row(const float* x, const T* w, Element type, int64_t k, int64_t ahead) {
  constexpr int parts = lanes / W;
  alignas(64) float sums[lanes];
  F s[parts];
  for (int i = 0; i < parts; ++i) s[i] = zero();
  int64_t p = 0;
  for (; p + lanes <= k; p += lanes) {
    for (uint64_t line = 0; line < lanes * sizeof(T); line += 64)
      _mm_prefetch(reinterpret_cast<const char*>(w + p) + ahead + line, _MM_HINT_T0);
    for (int i = 0; i < parts; ++i)
      s[i] = multiply_add(load(x + p + i * W), load_as(w + p + i * W), s[i]);
  }
  if (p == k) return sum_of_lanes(s);
  for (int i = 0; i < parts; ++i) store(sums + i * W, s[i]);
  for (int l = 0; p < k; ++p, ++l) sums[l] = __builtin_fmaf(x[p], element(w, type, p), sums[l]);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
  return sums[0];
}

// Four rows of w that lie together: four streams fill the memory's queues better than one.
template <class T>
void dot_four(const float* x, const T* w, int64_t k, float* y) {
  constexpr int parts = lanes / W, together = 4;
  F s[together][parts];
  for (int r = 0; r < together; ++r)
    for (int i = 0; i < parts; ++i) s[r][i] = zero();
  for (int64_t p = 0; p < k; p += lanes)
    for (int r = 0; r < together; ++r) {
      const T* row = w + r * k + p;
      for (uint64_t line = 0; line < lanes * sizeof(T); line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(row) + 1024 + line, _MM_HINT_T0);
      for (int i = 0; i < parts; ++i)
        s[r][i] = multiply_add(load(x + p + i * W), load_as(row + i * W), s[r][i]);
    }
  for (int r = 0; r < together; ++r) y[r] = sum_of_lanes(s[r]);
}

template <class T>
void dot_rows(const DotArgs& d) {
  const T* w = static_cast<const T*>(d.w);
  // Of rows with gaps, as the keys of one head are, those that come next.
  const int64_t ahead =
      d.w_row == d.k ? 4096 : rows_ahead * d.w_row * static_cast<int64_t>(sizeof(T));
  int64_t j = 0;
  if (d.m == 1 && d.w_row == d.k && d.k % lanes == 0)
    for (; j + 4 <= d.n; j += 4, w += 4 * d.w_row) {
      dot_four(d.x, w, d.k, d.y + j);
      for (int64_t i = j; d.bias && i < j + 4; ++i) d.y[i] += d.bias[i];
    }
  for (; j < d.n; ++j, w += d.w_row)
    for (int64_t i = 0; i < d.m; ++i) {
      const float sum = dot_row(d.x + i * d.x_row, w, d.type, d.k, ahead);
      d.y[i * d.ldy + j] = d.bias ? sum + d.bias[j] : sum;
    }
}

void dot(const DotArgs& d) {
  if (d.type == Element::f32) {
    dot_rows<float>(d);
  } else if (d.type == Element::f16) {
    dot_rows<HalfBits>(d);
  } else {
    dot_rows<BrainBits>(d);
  }
}

// 8 * W columns at a time, so that a head's values are read in one pass.
void weighted_sum8(const float* p, const float* v, int64_t row, int64_t rows, float* y) {
  F s0 = zero(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (int64_t r = 0; r < rows; ++r, v += row) {
    for (int64_t at = 0; at < 8 * W; at += 16)
      _mm_prefetch(reinterpret_cast<const char*>(v + rows_ahead * row + at), _MM_HINT_T0);
    const F weight = all(p[r]);
    s0 = multiply_add(weight, load(v), s0);
    s1 = multiply_add(weight, load(v + W), s1);
    s2 = multiply_add(weight, load(v + 2 * W), s2);
    s3 = multiply_add(weight, load(v + 3 * W), s3);
    s4 = multiply_add(weight, load(v + 4 * W), s4);
    s5 = multiply_add(weight, load(v + 5 * W), s5);
    s6 = multiply_add(weight, load(v + 6 * W), s6);
    s7 = multiply_add(weight, load(v + 7 * W), s7);
  }
  store(y, s0), store(y + W, s1), store(y + 2 * W, s2), store(y + 3 * W, s3);
  store(y + 4 * W, s4), store(y + 5 * W, s5), store(y + 6 * W, s6), store(y + 7 * W, s7);
}

void weighted_sum(const float* p, const float* v, int64_t row, int64_t rows, int64_t cols,
                  float* y) {
  int64_t c = 0;
  for (; c + 8 * W <= cols; c += 8 * W) weighted_sum8(p, v + c, row, rows, y + c);
  for (; c + 4 * W <= cols; c += 4 * W) {
    F s0 = zero(), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t r = 0; r < rows; ++r) {
      const F weight = all(p[r]);
      const float* at = v + r * row + c;
      s0 = multiply_add(weight, load(at), s0);
      s1 = multiply_add(weight, load(at + W), s1);
      s2 = multiply_add(weight, load(at + 2 * W), s2);
      s3 = multiply_add(weight, load(at + 3 * W), s3);
    }
    store(y + c, s0), store(y + c + W, s1), store(y + c + 2 * W, s2), store(y + c + 3 * W, s3);
  }
  for (; c + W <= cols; c += W) {
    F s = zero();
    for (int64_t r = 0; r < rows; ++r) s = multiply_add(all(p[r]), load(v + r * row + c), s);
    store(y + c, s);
  }
  for (; c < cols; ++c) {
    float s = 0;
    for (int64_t r = 0; r < rows; ++r) s = __builtin_fmaf(p[r], v[r * row + c], s);
    y[c] = s;
  }
}

int64_t fma_burst(int64_t turns, float* sink) {
  const F half = all(0.5f), one = all(1.0f);
#define QUAVER_CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)
#define QUAVER_START(i) F s##i = all(*sink + i);
  QUAVER_CHAINS(QUAVER_START)
#undef QUAVER_START
#define QUAVER_GO(i) s##i = multiply_add(s##i, half, one);
  for (int64_t t = 0; t < turns; ++t) {
    QUAVER_CHAINS(QUAVER_GO) QUAVER_CHAINS(QUAVER_GO)
  }
#undef QUAVER_GO
  F total = zero();
#define QUAVER_END(i) total = plus(total, s##i);
  QUAVER_CHAINS(QUAVER_END)
#undef QUAVER_END
#undef QUAVER_CHAINS
  *sink = sum(total);
  return turns * 20 * W * 2;
}

// Four streams, each prefetched: one alone does not fill the memory's queues.
float read_burst(const float* x, int64_t n) {
  const int64_t quarter = n / 4 / W * W;
  F a = zero(), b = a, c = a, d = a;
  for (int64_t i = 0; i < quarter; i += W) {
    a = plus(a, load(x + i)), b = plus(b, load(x + quarter + i));
    c = plus(c, load(x + 2 * quarter + i)), d = plus(d, load(x + 3 * quarter + i));
  }
  return sum(plus(plus(a, b), plus(c, d)));
}
