// Products with a weight in the gptq layouts, read as it lies in the file, over the vector names
// that the including file defines. Vector lanes run along the outputs.

// Field number i of words that lie `stride` apart.
uint32_t field(const uint32_t* words, int64_t stride, const GptqWeight& w, int64_t i) {
  const int64_t at = i % 32 * w.bits, word = i / 32 * w.block + w.plane + at / 32, shift = at % 32;
  uint64_t two = words[word * stride];
  if (shift + w.bits > 32) two |= static_cast<uint64_t>(words[(word + 1) * stride]) << 32;
  return static_cast<uint32_t>(two >> shift) & ((1u << w.bits) - 1);
}

// Eight fields from field number i, a multiple of 8, of adjacent words: they fill `bits` bytes.
__m256i eight_fields(const uint32_t* words, const GptqWeight& w, int64_t i) {
  const int bits = w.bits;
  const unsigned char* bytes =
      reinterpret_cast<const unsigned char*>(words + i / 32 * w.block + w.plane) +
      i % 32 / 8 * bits;
  if (bits == 8)
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
  uint32_t all_bits = 0;
  for (int b = 0; b < bits; ++b) all_bits |= static_cast<uint32_t>(bytes[b]) << (8 * b);
  const __m256i shifts =
      _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(bits));
  return _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(all_bits)), shifts),
                          _mm256_set1_epi32((1 << bits) - 1));
}

void gptq_tables(const GptqWeight& w, int64_t begin, int64_t count, int64_t width, float* scales,
                 float* zeros) {
  const __m256i shift = _mm256_set1_epi32(w.zero_shift);
  for (int64_t g = 0; g < w.groups; ++g, scales += width, zeros += width) {
    const uint32_t* row = w.zeros + g * (w.rows * w.block / 32);
    const uint16_t* halves = w.scales + g * w.rows + begin;
    int64_t j = 0;
    if (begin % 8 == 0)
      for (; j + 8 <= count; j += 8) {
        const __m256i fields = eight_fields(row, w, begin + j);
        _mm256_storeu_ps(zeros + j, _mm256_cvtepi32_ps(_mm256_add_epi32(fields, shift)));
        _mm256_storeu_ps(scales + j, load8(halves, Element::f16, j));
      }
    for (; j < count; ++j) {
      zeros[j] = static_cast<float>(static_cast<int>(field(row, 1, w, begin + j)) + w.zero_shift);
      scales[j] = element(halves, Element::f16, j);
    }
    for (; j < width; ++j) zeros[j] = scales[j] = 0;
  }
}

void gptq_panel(const GptqWeight& w, int64_t begin, int64_t count, const float* scales,
                const float* zeros, float* out) {
  const I mask = all_int((1 << w.bits) - 1);
  const int64_t first = count < W ? count : W, second = count - first;
  for (int64_t k = 0; k < w.cols; ++k, out += tile_cols) {
    const int64_t at = k % 32 * w.bits, table = w.group_of[k] * tile_cols;
    const int shift = static_cast<int>(at % 32);
    const uint32_t* words = w.codes + (k / 32 * w.block + w.plane + at / 32) * w.rows + begin;
    I low = shift_down(load_some_int(words, first), shift);
    I high = shift_down(load_some_int(words + first, second), shift);
    if (shift + w.bits > 32) {
      low = both(low, shift_up(load_some_int(words + w.rows, first), 32 - shift));
      high = both(high, shift_up(load_some_int(words + w.rows + first, second), 32 - shift));
    }
    const F q0 = to_float(masked(low, mask)), q1 = to_float(masked(high, mask));
    store(out, times(minus(q0, load(zeros + table)), load(scales + table)));
    store(out + W, times(minus(q1, load(zeros + table + W)), load(scales + table + W)));
  }
}

// The code of column `i` of its word cycle, in place (2^gptq_shift too large) where it can be.
template <int bits, int i>
I code_of(const I* words) {
  constexpr int at = i * bits, word = at / 32, shift = at % 32;
  if constexpr (shift + bits > 32) {
    return masked(both(shift_down(words[word], shift), shift_up(words[word + 1], 32 - shift)),
                  all_int((1 << bits) - 1));
  } else if constexpr (shift + bits == 32) {
    return shift_down(words[word], shift);
  } else {
    return masked(words[word], all_int(((1 << bits) - 1) << shift));
  }
}

template <int bits, int i, int end, int V, int M>
struct Fields {
  // sums[m * V + v] += code * x[m * stride + i]
  static inline __attribute__((always_inline)) void run(const I (*words)[bits == 3 ? 3 : 1],
                                                        const float* x, int64_t stride, F* sums) {
    F codes[V];
    for (int v = 0; v < V; ++v) codes[v] = to_float(code_of<bits, i>(words[v]));
    for (int m = 0; m < M; ++m) {
      const F value = all(x[m * stride + i]);
      for (int v = 0; v < V; ++v) sums[m * V + v] = multiply_add(codes[v], value, sums[m * V + v]);
    }
    Fields<bits, i + 1, end, V, M>::run(words, x, stride, sums);
  }
};
template <int bits, int end, int V, int M>
struct Fields<bits, end, end, V, M> {
  static inline __attribute__((always_inline)) void run(const I (*)[bits == 3 ? 3 : 1],
                                                        const float*, int64_t, F*) {}
};

constexpr int64_t chunk = 256;  // outputs whose sums stay in L1 while the codes stream by

// Adds one cycle of codes, for V vectors of outputs and M rows of x, to sums [M, chunk].
template <int bits, int V, int M>
void gptq_step(const uint32_t* codes, int64_t stride, const float* x, int64_t cols, float* sums) {
  constexpr int cycle = bits == 3 ? 32 : 32 / bits, rows = bits == 3 ? 3 : 1;
  I words[V][rows];
  for (int v = 0; v < V; ++v)
    for (int r = 0; r < rows; ++r) words[v][r] = load_int(codes + r * stride + v * W);
  F s[M * V];
  for (int m = 0; m < M; ++m)
    for (int v = 0; v < V; ++v) s[m * V + v] = load(sums + m * chunk + v * W);
  Fields<bits, 0, cycle, V, M>::run(words, x, cols, s);
  for (int m = 0; m < M; ++m)
    for (int v = 0; v < V; ++v) store(sums + m * chunk + v * W, s[m * V + v]);
}

// One output that does not fill a vector.
void gptq_rest(const GptqWeight& w, const GptqDotArgs& d, int64_t n) {
  for (int64_t i = 0; i < d.m; ++i) {
    float total = 0;
    for (int64_t g = 0; g < w.groups; ++g) {
      float part = 0;
      const int64_t first = g * w.group_size;
      const int64_t last = first + w.group_size < w.cols ? first + w.group_size : w.cols;
      for (int64_t k = first; k < last; ++k) {
        const auto code = static_cast<float>(field(w.codes + n, w.rows, w, k));
        part += d.x[i * w.cols + k] * static_cast<float>(1u << gptq_shift(w.bits, k)) * code;
      }
      const uint32_t stored = field(w.zeros + g * (w.rows * w.block / 32), 1, w, n);
      const auto zero_point = static_cast<float>(static_cast<int>(stored) + w.zero_shift);
      total += element(w.scales, Element::f16, g * w.rows + n) *
               (part - zero_point * d.sums[i * w.groups + g]);
    }
    d.y[i * w.rows + n] = d.bias ? total + d.bias[n] : total;
  }
}

// Outputs begin .. begin + count, whole vectors and at most a chunk, of rows row .. row + M of x.
// The codes are read along the rows of the file, so that memory and its pages are used in order.
template <int bits, int M>
void gptq_chunk(const GptqWeight& w, const GptqDotArgs& d, int64_t row, int64_t begin,
                int64_t count) {
  constexpr int cycle = bits == 3 ? 32 : 32 / bits, rows = bits == 3 ? 3 : 1;
  constexpr int64_t ahead = 4;  // rows of words to fetch ahead
  alignas(64) float sums[M * chunk], totals[M * chunk], scales[chunk], zeros[chunk];
  for (int64_t i = 0; i < M * chunk; ++i) totals[i] = 0;
  GptqWeight group = w;  // one group at a time
  group.groups = 1;
  for (int64_t g = 0; g < w.groups; ++g) {
    for (int64_t i = 0; i < M * chunk; ++i) sums[i] = 0;
    const int64_t first = g * w.group_size;
    const int64_t last = first + w.group_size < w.cols ? first + w.group_size : w.cols;
    for (int64_t k = first; k < last; k += cycle) {
      const int64_t word = k / 32 * w.block + w.plane + k % 32 * bits / 32;
      const uint32_t* codes = w.codes + word * w.rows + begin;
      const float* x = d.x + row * w.cols + k;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t n = 0; n < count; n += 16)
          _mm_prefetch(reinterpret_cast<const char*>(codes + (ahead + r) * w.rows + n),
                       _MM_HINT_T0);
      constexpr int V = 4 / M;
      int64_t n = 0;
      for (; n + V * W <= count; n += V * W)
        gptq_step<bits, V, M>(codes + n, w.rows, x, w.cols, sums + n);
      for (; n < count; n += W) gptq_step<bits, 1, M>(codes + n, w.rows, x, w.cols, sums + n);
    }
    group.scales = w.scales + g * w.rows;
    group.zeros = w.zeros + g * (w.rows * w.block / 32);
    gptq_tables(group, begin, count, count, scales, zeros);
    for (int m = 0; m < M; ++m) {
      const F x_sum = all(d.sums[(row + m) * w.groups + g]);
      for (int64_t n = 0; n < count; n += W) {
        float* total = totals + m * chunk + n;
        const F centered = minus(load(sums + m * chunk + n), times(load(zeros + n), x_sum));
        store(total, multiply_add(load(scales + n), centered, load(total)));
      }
    }
  }
  for (int m = 0; m < M; ++m)
    for (int64_t n = 0; n < count; n += W) {
      F total = load(totals + m * chunk + n);
      if (d.bias) total = plus(total, load(d.bias + begin + n));
      store(d.y + (row + m) * w.rows + begin + n, total);
    }
}

template <int bits>
void gptq_columns(const GptqWeight& w, const GptqDotArgs& d) {
  const int64_t whole = d.begin + (d.end - d.begin) / W * W;
  for (int64_t n = d.begin; n < whole; n += chunk) {
    const int64_t count = whole - n < chunk ? whole - n : chunk;
    int64_t row = 0;
    for (; row + 2 <= d.m; row += 2) gptq_chunk<bits, 2>(w, d, row, n, count);
    if (row < d.m) gptq_chunk<bits, 1>(w, d, row, n, count);
  }
  for (int64_t n = whole; n < d.end; ++n) gptq_rest(w, d, n);
}

void gptq_dot(const GptqWeight& w, const GptqDotArgs& d) {
  if (w.bits == 1) {
    gptq_columns<1>(w, d);
  } else if (w.bits == 2) {
    gptq_columns<2>(w, d);
  } else if (w.bits == 3) {
    gptq_columns<3>(w, d);
  } else if (w.bits == 4) {
    gptq_columns<4>(w, d);
  } else {
    gptq_columns<8>(w, d);
  }
}
