// Products with a weight in the gptq layouts, read as it lies in the file, over the vector names
// that the including file defines. Vector lanes run along the outputs.

// Field number i of a bit stream whose words lie `stride` apart.
uint32_t field(const uint32_t* words, int64_t stride, int bits, int64_t i) {
  const int64_t at = i * bits, word = at / 32, shift = at % 32;
  uint64_t two = words[word * stride];
  if (shift + bits > 32) two |= static_cast<uint64_t>(words[(word + 1) * stride]) << 32;
  return static_cast<uint32_t>(two >> shift) & ((1u << bits) - 1);
}

// Eight fields from field number i, a multiple of 8: they fill `bits` bytes.
__m256i eight_fields(const uint32_t* words, int bits, int64_t i) {
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(words) + i / 8 * bits;
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
    const uint32_t* row = w.zeros + g * (w.rows * w.bits / 32);
    const uint16_t* halves = w.scales + g * w.rows + begin;
    int64_t j = 0;
    if (begin % 8 == 0)
      for (; j + 8 <= count; j += 8) {
        const __m256i fields = eight_fields(row, w.bits, begin + j);
        _mm256_storeu_ps(zeros + j, _mm256_cvtepi32_ps(_mm256_add_epi32(fields, shift)));
        _mm256_storeu_ps(scales + j, load8(halves, Element::f16, j));
      }
    for (; j < count; ++j) {
      zeros[j] =
          static_cast<float>(static_cast<int>(field(row, 1, w.bits, begin + j)) + w.zero_shift);
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
    const int64_t at = k * w.bits, table = w.group_of[k] * tile_cols;
    const int shift = static_cast<int>(at % 32);
    const uint32_t* words = w.codes + at / 32 * w.rows + begin;
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

// Outputs n .. n + V * W of M rows. The tables start at n and have rows of `width`.
template <int bits, int V, int M>
void gptq_strip(const GptqWeight& w, const GptqDotArgs& d, int64_t row, int64_t n,
                const float* scales, const float* zeros, int64_t width) {
  constexpr int cycle = bits == 3 ? 32 : 32 / bits, rows = bits == 3 ? 3 : 1;
  constexpr int64_t ahead = 16;  // rows of words to prefetch
  const float* x = d.x + row * w.cols;
  F totals[M * V];
  for (int i = 0; i < M * V; ++i) totals[i] = zero();
  const uint32_t* codes = w.codes + n;
  for (int64_t g = 0; g < w.groups; ++g) {
    const int64_t first = g * w.group_size;
    const int64_t last = first + w.group_size < w.cols ? first + w.group_size : w.cols;
    F sums[M * V];
    for (int i = 0; i < M * V; ++i) sums[i] = zero();
    for (int64_t k = first; k < last; k += cycle, codes += rows * w.rows) {
      I words[V][rows];
      for (int r = 0; r < rows; ++r) {
        const char* next = reinterpret_cast<const char*>(codes + (ahead + r) * w.rows);
        for (uint64_t line = 0; line < V * sizeof(F); line += 64)
          _mm_prefetch(next + line, _MM_HINT_T0);
        for (int v = 0; v < V; ++v) words[v][r] = load_int(codes + r * w.rows + v * W);
      }
      Fields<bits, 0, cycle, V, M>::run(words, x + k, w.cols, sums);
    }
    for (int m = 0; m < M; ++m) {
      const F x_sum = all(d.sums[(row + m) * w.groups + g]);
      for (int v = 0; v < V; ++v) {
        const F zero_part = times(load(zeros + g * width + v * W), x_sum);
        totals[m * V + v] = multiply_add(load(scales + g * width + v * W),
                                         minus(sums[m * V + v], zero_part), totals[m * V + v]);
      }
    }
  }
  for (int m = 0; m < M; ++m)
    for (int v = 0; v < V; ++v) {
      F total = totals[m * V + v];
      if (d.bias) total = plus(total, load(d.bias + n + v * W));
      store(d.y + (row + m) * w.rows + n + v * W, total);
    }
}

// Outputs that do not fill a vector.
void gptq_rest(const GptqWeight& w, const GptqDotArgs& d, int64_t n, const float* scales,
               const float* zeros, int64_t width) {
  for (int64_t i = 0; i < d.m; ++i) {
    float total = 0;
    for (int64_t g = 0; g < w.groups; ++g) {
      float sum = 0;
      const int64_t first = g * w.group_size;
      const int64_t last = first + w.group_size < w.cols ? first + w.group_size : w.cols;
      for (int64_t k = first; k < last; ++k) {
        const auto code = static_cast<float>(field(w.codes + n, w.rows, w.bits, k));
        sum += d.x[i * w.cols + k] * static_cast<float>(1u << gptq_shift(w.bits, k)) * code;
      }
      total += scales[g * width] * (sum - zeros[g * width] * d.sums[i * w.groups + g]);
    }
    d.y[i * w.rows + n] = d.bias ? total + d.bias[n] : total;
  }
}

template <int bits, int V>
void gptq_rows(const GptqWeight& w, const GptqDotArgs& d, int64_t n, const float* scales,
               const float* zeros, int64_t width) {
  int64_t row = 0;
  for (; row + 2 <= d.m; row += 2) gptq_strip<bits, V, 2>(w, d, row, n, scales, zeros, width);
  if (row < d.m) gptq_strip<bits, V, 1>(w, d, row, n, scales, zeros, width);
}

template <int bits>
void gptq_columns(const GptqWeight& w, const GptqDotArgs& d) {
  constexpr int64_t width = 64;
  for (int64_t begin = d.begin; begin < d.end; begin += width) {
    const int64_t end = d.end - begin < width ? d.end : begin + width;
    gptq_tables(w, begin, end - begin, width, d.scales, d.zeros);
    int64_t n = begin;
    for (; n + 4 * W <= end; n += 4 * W)
      gptq_rows<bits, 4>(w, d, n, d.scales + (n - begin), d.zeros + (n - begin), width);
    for (; n + W <= end; n += W)
      gptq_rows<bits, 1>(w, d, n, d.scales + (n - begin), d.zeros + (n - begin), width);
    for (; n < end; ++n) gptq_rest(w, d, n, d.scales + (n - begin), d.zeros + (n - begin), width);
  }
}

void gptq_dot(const GptqWeight& w, const GptqDotArgs& d) {
  if (w.bits == 2) {
    gptq_columns<2>(w, d);
  } else if (w.bits == 3) {
    gptq_columns<3>(w, d);
  } else if (w.bits == 4) {
    gptq_columns<4>(w, d);
  } else {
    gptq_columns<8>(w, d);
  }
}
