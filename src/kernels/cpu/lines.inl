// Products of whole numbers with a weight in lines, over the vector names that the including file
// defines: B (bytes) and `halves` of them in a line. Inputs come four at a time, broadcast.

struct LinesGroup {  // of one block of 16 outputs
  int64_t chunks, at;  // at: in scales, and in each row's own
};

constexpr int64_t line = 64;

// The codes of a quad in half a line; `at` is the chunk's first byte, plus the half's place.
template <int bits>
inline __attribute__((always_inline)) B quad_codes(const uint8_t* at, int quad) {
  if constexpr (bits == 8) {
    return load_bytes(at + quad * line);
  } else if constexpr (bits == 4) {
    const B v = load_bytes(at + quad / 2 * line);
    return and_bytes(quad % 2 == 0 ? v : down_bits(v, 4), 0x0f);
  } else if constexpr (bits == 2) {
    return and_bytes(down_bits(load_bytes(at + quad / 4 * line), 2 * (quad % 4)), 0x03);
  } else if constexpr (bits == 1) {
    return and_bytes(down_bits(load_bytes(at), quad), 0x01);
  } else {
    constexpr int low = bits & 4 ? 4 : 2;
    return or_bytes(quad_codes<low>(at, quad),
                    up_bits(quad_codes<bits - low>(at + low * line, quad), low));
  }
}

// Above 4 bits inputs have 15 bits. Where products of bytes are summed in pairs of bytes they are
// whole words, each quad as x0 x2 x1 x3 so that codes become words by a mask and a shift; elsewhere
// they are two planes of bytes.
template <int bits>
constexpr bool in_words = narrow_sums && bits > 4;
// Rows of bytes that a row of inputs makes.
template <int bits>
constexpr int planes_of = in_words<bits> ? 1 : lines_input_planes(bits);

// Adds one chunk's products with M rows to wide [M * halves]. Named sums: of arrays GCC 12 makes
// memory. A product of two bytes and its neighbour are at most 2 * 127 * 15: eight fit 16 bits.
template <int stored, int bits, int M>
inline __attribute__((always_inline)) void add_bytes(const uint8_t* chunk, const int8_t* x,
                                                     int64_t stride, B* wide) {
  constexpr int other = line / halves;  // where the second half of a line begins
  B a0 = no_bytes(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
#define QUAVER_ROW(i, quad)                                             \
  if constexpr (i < M) {                                                \
    const B inputs = four_bytes(x + i * stride + 4 * (quad));           \
    a##i = products_added(a##i, c0, inputs);                            \
    if constexpr (halves == 2) b##i = products_added(b##i, c1, inputs); \
  }
#define QUAVER_QUAD(quad)                                                             \
  {                                                                                   \
    const B c0 = quad_codes<stored>(chunk, quad);                                     \
    [[maybe_unused]] B c1 = c0;                                                       \
    if constexpr (halves == 2) c1 = quad_codes<stored>(chunk + other, quad);          \
    QUAVER_ROW(0, quad) QUAVER_ROW(1, quad) QUAVER_ROW(2, quad) QUAVER_ROW(3, quad)   \
  }
  QUAVER_QUAD(0) QUAVER_QUAD(1) QUAVER_QUAD(2) QUAVER_QUAD(3)
  QUAVER_QUAD(4) QUAVER_QUAD(5) QUAVER_QUAD(6) QUAVER_QUAD(7)
#undef QUAVER_QUAD
#undef QUAVER_ROW
#define QUAVER_WIDEN(i)                                                                      \
  if constexpr (i < M) {                                                                     \
    wide[i * halves] = widened(wide[i * halves], a##i);                                      \
    if constexpr (halves == 2) wide[i * halves + 1] = widened(wide[i * halves + 1], b##i);   \
  }
  QUAVER_WIDEN(0) QUAVER_WIDEN(1) QUAVER_WIDEN(2) QUAVER_WIDEN(3)
#undef QUAVER_WIDEN
}

// The same for inputs in words.
template <int stored, int M>
inline __attribute__((always_inline)) void add_words(const uint8_t* chunk, const int8_t* x,
                                                     int64_t stride, B* wide) {
  constexpr int other = line / halves;
  B a0 = no_bytes(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
#define QUAVER_ROW(i, quad, part)                                            \
  if constexpr (i < M) {                                                     \
    const B inputs = four_bytes(x + i * stride + 8 * (quad) + 4 * (part));   \
    a##i = words_added(a##i, w0, inputs);                                    \
    if constexpr (halves == 2) b##i = words_added(b##i, w1, inputs);         \
  }
#define QUAVER_PART(quad, part, words)                                                   \
  {                                                                                      \
    const B w0 = words(c0);                                                              \
    [[maybe_unused]] const B w1 = words(c1);                                             \
    QUAVER_ROW(0, quad, part) QUAVER_ROW(1, quad, part) QUAVER_ROW(2, quad, part)        \
    QUAVER_ROW(3, quad, part)                                                            \
  }
#define QUAVER_QUAD(quad)                                                             \
  {                                                                                   \
    const B c0 = quad_codes<stored>(chunk, quad);                                     \
    [[maybe_unused]] B c1 = c0;                                                       \
    if constexpr (halves == 2) c1 = quad_codes<stored>(chunk + other, quad);          \
    QUAVER_PART(quad, 0, even_bytes) QUAVER_PART(quad, 1, odd_bytes)                  \
  }
  QUAVER_QUAD(0) QUAVER_QUAD(1) QUAVER_QUAD(2) QUAVER_QUAD(3)
  QUAVER_QUAD(4) QUAVER_QUAD(5) QUAVER_QUAD(6) QUAVER_QUAD(7)
#undef QUAVER_QUAD
#undef QUAVER_PART
#undef QUAVER_ROW
#define QUAVER_KEEP(i)                                                                     \
  if constexpr (i < M) {                                                                   \
    wide[i * halves] = sums_added(wide[i * halves], a##i);                                 \
    if constexpr (halves == 2) wide[i * halves + 1] = sums_added(wide[i * halves + 1], b##i); \
  }
  QUAVER_KEEP(0) QUAVER_KEEP(1) QUAVER_KEEP(2) QUAVER_KEEP(3)
#undef QUAVER_KEEP
}

template <int stored, int bits, int M>
inline __attribute__((always_inline)) void add_chunk(const uint8_t* chunk, const int8_t* x,
                                                     int64_t stride, B* wide) {
  if constexpr (in_words<bits>)
    add_words<stored, M>(chunk, x, stride, wide);
  else
    add_bytes<stored, bits, M>(chunk, x, stride, wide);
}

// Adds the sums of group g to the totals.
template <int bits, int M>
inline __attribute__((always_inline)) void end_group(const LinesWeight& w, const LinesInput& in,
                                                     int64_t block, int64_t row, int64_t g,
                                                     const B* sums, float* totals) {
  constexpr int planes = planes_of<bits>;
  const int64_t at = (block * w.groups + g) * 16;
  for (int h = 0; h < 16 / W; ++h) {
    const F scale = from_half(w.scales + at + h * W);
    for (int m = 0; m < M / planes; ++m) {
      const int64_t mine = (row + m) * w.groups + g;
      B whole = sums[m * planes * halves + h];
      if constexpr (planes == 2) whole = with_low_plane(whole, sums[(m * 2 + 1) * halves + h]);
      F centered;
      if (w.zeros)
        centered = minus(to_float(whole), times(from_half(w.zeros + at + h * W),
                                                all(static_cast<float>(in.sums[mine]))));
      else
        centered = to_float(minus_int(whole, times_power<bits - 1>(all_int(in.sums[mine]))));
      float* total = totals + m * 16 + h * W;
      store(total, multiply_add(centered, times(scale, all(in.scales[mine])), load(total)));
    }
  }
}

// Groups from .. until of one block for M rows of bytes, M / planes of x; `totals` [M / planes][16]
// go on from what they hold.
template <int stored, int bits, int M>
void add_groups(const LinesWeight& w, const LinesInput& in, int64_t block, int64_t row,
                int64_t from, int64_t until, const uint8_t* chunk, const int8_t* x,
                float* totals) {
  constexpr int64_t chunk_bytes = in_words<bits> ? 64 : 32;  // of a row of x
  const int64_t stride = w.chunks * chunk_bytes;
  const auto prefetch = [](const uint8_t* ahead) {
    if constexpr (stored == bits)
      for (int64_t i = 0; i < stored; ++i)
        _mm_prefetch(reinterpret_cast<const char*>(ahead + 4096 + i * line), _MM_HINT_T0);
  };
  for (int64_t g = from; g < until; ++g) {
    const int64_t chunks = g + 1 < w.groups ? w.group_chunks : w.last_chunks;
    if (chunks == 1) {  // by itself: its sums need not go through memory
      B sums[M * halves];
      for (int i = 0; i < M * halves; ++i) sums[i] = no_bytes();
      prefetch(chunk);
      add_chunk<stored, bits, M>(chunk, x, stride, sums);
      end_group<bits, M>(w, in, block, row, g, sums, totals);
      chunk += stored * line, x += chunk_bytes;
      continue;
    }
    B sums[M * halves];
    for (int i = 0; i < M * halves; ++i) sums[i] = no_bytes();
    for (int64_t c = 0; c < chunks; ++c, chunk += stored * line, x += chunk_bytes) {
      prefetch(chunk);
      add_chunk<stored, bits, M>(chunk, x, stride, sums);
    }
    end_group<bits, M>(w, in, block, row, g, sums, totals);
  }
}

// The 16 outputs of a block, of which the last may have fewer.
void finish_block(const LinesWeight& w, const LinesArgs& a, int64_t block, int64_t row, int64_t m,
                  const float* totals) {
  const int64_t first = block * 16, count = w.rows - first < 16 ? w.rows - first : 16;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t n = 0; n < count; ++n)
      a.y[(row + i) * w.rows + first + n] =
          a.bias ? totals[i * 16 + n] + a.bias[first + n] : totals[i * 16 + n];
}

// Without a loop: of `= {}` GCC makes a string instruction, which takes longer than a group's sums.
template <int M>
inline __attribute__((always_inline)) void clear(float* totals) {
#pragma GCC unroll 16
  for (int i = 0; i < M * 16; i += W) store(totals + i, zero());
}

template <int bits, int M>
void dot_block(const LinesWeight& w, const LinesArgs& a, int64_t block, int64_t row) {
  alignas(64) float totals[M * 16];
  clear<M>(totals);
  add_groups<bits, bits, M>(w, a.in, block, row, 0, w.groups,
                            w.lines + block * w.chunks * line * bits,
                            a.in.x + row * lines_input_planes(bits) * w.chunks * 32, totals);
  finish_block(w, a, block, row, M / planes_of<bits>, totals);
}

// One row with N blocks that lie `step` blocks apart: memory is read fastest in several streams, and
// the inputs are broadcast once for all.
template <int bits, int N>
inline __attribute__((always_inline)) void add_chunks(const uint8_t* chunk, int64_t apart,
                                                      const int8_t* x, B* wide) {
  constexpr int other = line / halves;
  B a0 = no_bytes(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
#define QUAVER_BLOCK(i, quad)                                                          \
  if constexpr (i < N) {                                                               \
    const B c0 = quad_codes<bits>(chunk + i * apart, quad);                            \
    [[maybe_unused]] B c1 = c0;                                                        \
    if constexpr (halves == 2) c1 = quad_codes<bits>(chunk + i * apart + other, quad); \
    if constexpr (in_words<bits>) {                                                    \
      a##i = words_added(words_added(a##i, even_bytes(c0), x0), odd_bytes(c0), x1);    \
      if constexpr (halves == 2)                                                       \
        b##i = words_added(words_added(b##i, even_bytes(c1), x0), odd_bytes(c1), x1);  \
    } else {                                                                           \
      a##i = products_added(a##i, c0, x0);                                             \
      if constexpr (halves == 2) b##i = products_added(b##i, c1, x0);                  \
    }                                                                                  \
  }
#define QUAVER_QUAD(quad)                                                                  \
  {                                                                                        \
    const B x0 = four_bytes(x + (in_words<bits> ? 8 : 4) * (quad));                        \
    [[maybe_unused]] const B x1 = in_words<bits> ? four_bytes(x + 8 * (quad) + 4) : x0;    \
    QUAVER_BLOCK(0, quad) QUAVER_BLOCK(1, quad) QUAVER_BLOCK(2, quad) QUAVER_BLOCK(3, quad) \
  }
  QUAVER_QUAD(0) QUAVER_QUAD(1) QUAVER_QUAD(2) QUAVER_QUAD(3)
  QUAVER_QUAD(4) QUAVER_QUAD(5) QUAVER_QUAD(6) QUAVER_QUAD(7)
#undef QUAVER_QUAD
#undef QUAVER_BLOCK
#define QUAVER_KEEP(i)                                                                          \
  if constexpr (i < N) {                                                                        \
    wide[i * halves] = in_words<bits> ? sums_added(wide[i * halves], a##i)                      \
                                      : widened(wide[i * halves], a##i);                        \
    if constexpr (halves == 2)                                                                  \
      wide[i * halves + 1] = in_words<bits> ? sums_added(wide[i * halves + 1], b##i)            \
                                            : widened(wide[i * halves + 1], b##i);              \
  }
  QUAVER_KEEP(0) QUAVER_KEEP(1) QUAVER_KEEP(2) QUAVER_KEEP(3)
#undef QUAVER_KEEP
}

template <int bits, int N>
void dot_blocks(const LinesWeight& w, const LinesArgs& a, int64_t block, int64_t step) {
  alignas(64) float totals[N * 16];
  clear<N>(totals);
  const int64_t apart = step * w.chunks * line * bits;
  const uint8_t* chunk = w.lines + block * w.chunks * line * bits;
  const int8_t* x = a.in.x;
  for (int64_t g = 0; g < w.groups; ++g) {
    const int64_t chunks = g + 1 < w.groups ? w.group_chunks : w.last_chunks;
    B sums[N * halves];
    for (int i = 0; i < N * halves; ++i) sums[i] = no_bytes();
    for (int64_t c = 0; c < chunks; ++c, chunk += bits * line, x += in_words<bits> ? 64 : 32) {
      for (int i = 0; i < N; ++i)
        for (int64_t j = 0; j < bits; ++j)
          _mm_prefetch(reinterpret_cast<const char*>(chunk + i * apart + 2048 + j * line),
                       _MM_HINT_T0);
      add_chunks<bits, N>(chunk, apart, x, sums);
    }
    for (int i = 0; i < N; ++i)
      end_group<bits, 1>(w, a.in, block + i * step, 0, g, sums + i * halves, totals + i * 16);
  }
  for (int i = 0; i < N; ++i) finish_block(w, a, block + i * step, 0, 1, totals + i * 16);
}

// Block by block, so that more than one pass over its codes finds them in the nearest cache.
template <int bits>
void dot_bits(const LinesWeight& w, const LinesArgs& a) {
  constexpr int planes = planes_of<bits>;
  int64_t block = a.begin;
  if constexpr (planes == 1)
    if (a.in.m == 1) {
      // Codes in several planes need the registers themselves.
      constexpr int streams = bits == 4 || bits == 8 ? lines_streams : lines_streams / 2;
      const int64_t step = (a.end - a.begin) / streams;
      for (; block < a.begin + step; ++block) dot_blocks<bits, streams>(w, a, block, step);
      block = a.begin + step * streams;
    }
  for (; block < a.end; ++block) {
    int64_t row = 0;
    for (; row + 4 / planes <= a.in.m; row += 4 / planes) dot_block<bits, 4>(w, a, block, row);
    if (a.in.m - row >= 2 / planes) dot_block<bits, 2>(w, a, block, row), row += 2 / planes;
    if constexpr (planes == 1)
      if (a.in.m - row >= 1) dot_block<bits, 1>(w, a, block, row);
  }
}

// Codes as whole bytes, [chunks][8 quads][64].
template <int bits>
void unpack_panel(const uint8_t* chunk, int64_t chunks, uint8_t* panel) {
  for (int64_t c = 0; c < chunks; ++c, chunk += bits * line, panel += 8 * line)
#pragma GCC unroll 8
    for (int quad = 0; quad < 8; ++quad)
      for (int h = 0; h < halves; ++h)
        store_bytes(panel + quad * line + h * (line / halves),
                    quad_codes<bits>(chunk + h * (line / halves), quad));
}

// As many rows as stay in the cache that a core has to itself, while all blocks pass.
template <int bits>
int64_t rows_at_once(const LinesWeight& w) {
  constexpr int64_t bytes = 320 << 10;
  const int64_t rows = bytes / (w.chunks * 32 * lines_input_planes(bits)) / 4 * 4;
  return rows < 16 ? 16 : rows > lines_panel_rows ? lines_panel_rows : rows;
}

// Rows first .. first + count of x with one block. Sums of all groups wait in `totals`.
template <int bits>
void multiply_block(const LinesWeight& w, const LinesArgs& a, int64_t block, int64_t first,
                    int64_t count, uint8_t* panel, float* totals) {
  constexpr int planes = planes_of<bits>;
  const int64_t step = lines_panel_chunks / w.group_chunks;  // groups at a time
  for (int64_t i = 0; i < count * 16; i += W) store(totals + i, zero());
  for (int64_t from = 0; from < w.groups; from += step) {
    const int64_t until = from + step < w.groups ? from + step : w.groups;
    const int64_t at = from * w.group_chunks;
    const int64_t end = until < w.groups ? until * w.group_chunks : w.chunks;
    unpack_panel<bits>(w.lines + (block * w.chunks + at) * line * bits, end - at, panel);
    const int64_t row_bytes = lines_input_planes(bits) * w.chunks * 32;
    const int8_t* x = a.in.x + first * row_bytes + at * (in_words<bits> ? 64 : 32);
    int64_t row = 0;
    for (; row + 4 / planes <= count; row += 4 / planes)
      add_groups<8, bits, 4>(w, a.in, block, first + row, from, until, panel, x + row * row_bytes,
                             totals + row * 16);
    if (count - row >= 2 / planes) {
      add_groups<8, bits, 2>(w, a.in, block, first + row, from, until, panel, x + row * row_bytes,
                             totals + row * 16);
      row += 2 / planes;
    }
    if constexpr (planes == 1)
      if (count - row >= 1)
        add_groups<8, bits, 1>(w, a.in, block, first + row, from, until, panel,
                               x + row * row_bytes, totals + row * 16);
  }
  finish_block(w, a, block, first, count, totals);
}

template <int bits>
void multiply_bits(const LinesWeight& w, const LinesArgs& a, uint8_t* room) {
  const int64_t at_once = rows_at_once<bits>(w);
  float* totals = reinterpret_cast<float*>(room + lines_panel_chunks * 512);
  for (int64_t row = 0; row < a.in.m; row += at_once)
    for (int64_t block = a.begin; block < a.end; ++block)
      multiply_block<bits>(w, a, block, row, at_once < a.in.m - row ? at_once : a.in.m - row, room,
                           totals);
}

void lines_dot(const LinesWeight& w, const LinesArgs& a) {
#define QUAVER_BITS(b) \
  if (w.bits == b) return dot_bits<b>(w, a);
  QUAVER_BITS(2) QUAVER_BITS(3) QUAVER_BITS(4) QUAVER_BITS(5) QUAVER_BITS(6) QUAVER_BITS(7)
  QUAVER_BITS(8)
#undef QUAVER_BITS
}

void lines_multiply(const LinesWeight& w, const LinesArgs& a, uint8_t* room) {
#define QUAVER_BITS(b) \
  if (w.bits == b) return multiply_bits<b>(w, a, room);
  QUAVER_BITS(2) QUAVER_BITS(3) QUAVER_BITS(4) QUAVER_BITS(5) QUAVER_BITS(6) QUAVER_BITS(7)
  QUAVER_BITS(8)
#undef QUAVER_BITS
}

void lines_input(const LinesWeight& w, const float* x, int8_t* out, float* scales, int32_t* sums) {
  const bool two = lines_input_planes(w.bits) == 2;
  const float top = two ? 16256.0f : 127.0f;
  int8_t* low = out + w.chunks * 32;
  [[maybe_unused]] int16_t* words = reinterpret_cast<int16_t*>(out);
  for (int64_t g = 0; g < w.groups; ++g) {
    const int64_t size = 32 * (g + 1 < w.groups ? w.group_chunks : w.last_chunks);
    F tops = zero();
    for (int64_t i = 0; i < size; i += W) tops = larger(tops, absolute(load(x + i)));
    const float most = highest(tops), inverse = most > 0 ? top / most : 0;
    F total = zero();
    for (int64_t i = 0; i < size; i += W) {
      const F rounded = round_to_int(times(load(x + i), all(inverse)));
      total = plus(total, rounded);  // whole numbers below 2^24: exact in any order
      if (!two) {
        store_as_bytes(out + i, rounded);
        continue;
      }
      if constexpr (narrow_sums) {
        store_as_words(words + i, rounded);
        continue;
      }
      const F high = rounded_down(times(plus(rounded, all(64)), all(1 / 128.0f)));
      store_as_bytes(out + i, high);
      store_as_bytes(low + i, minus(rounded, times(high, all(128))));
    }
    scales[g] = most / top;
    sums[g] = static_cast<int32_t>(sum(total));
    x += size, out += size, low += size, words += size;
  }
}
