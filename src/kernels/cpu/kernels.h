#pragma once
// Everything a CPU instruction set can speed up. Pointers and sizes only: no Tensor, no
// allocation, no exceptions, no standard containers, no threads (see kernels/README.md).
#include <stdint.h>

namespace quaver::cpu {

enum class Element : uint8_t { f32, f16, bf16 };
enum class Curve : uint8_t { relu, gelu, gelu_tanh, silu, relu_squared, gelu_quick, identity };

// A matrix whose element (i, p) lies at data[i * row + p * col].
struct Strided {
  const void* data = nullptr;
  int64_t row = 0, col = 1;
  Element type = Element::f32;
};

// One block of outputs: y[i, j] for i < m, j < n, from a panel of x [k, tile_rows] and one of w
// [k, tile_cols]. `resume`: the chains of sums go on from y, else they start at 0. `bias` [n] is
// added at the end; null: none.
struct TileArgs {
  const float *x, *w;
  float* y;
  const float* bias;
  int64_t ldy, m, n, k;
  bool resume;
};

// y[i, j] = sum over p of x[i, p] * w[j, p] + bias[j] for few rows i. Lane l of 32 sums the
// products of p = l, l + 32, ... as one chain; then lanes l and l + 16 are added, l and l + 8, down
// to one.
struct DotArgs {
  const float* x;  // [m, k] with row stride x_row
  const void* w;   // [n, k] with row stride w_row, in elements
  const float* bias;
  float* y;
  int64_t x_row, w_row, ldy, m, n, k;
  Element type;
};

// A weight in the gptq layouts, or one plane of one in gptq_p: see formats/gptq.cpp. Fields are
// `bits` wide; 32 of them stand in `bits` words, which begin at word `plane` of `block`.
struct GptqWeight {
  const uint32_t* codes = nullptr;    // [cols * bits / 32, rows]
  const uint32_t* zeros = nullptr;    // [groups, rows * bits / 32]
  const uint16_t* scales = nullptr;   // f16 [groups, rows]
  const int32_t* group_of = nullptr;  // [cols]
  int64_t rows = 0, cols = 0, groups = 0, group_size = 0;
  int bits = 4;
  int block = 4, plane = 0;
  int zero_shift = 0;  // what is added to a stored zero point: 1 in gptq, else 0
};

// Some output columns of a product with a gptq weight of consecutive groups, whose size is a
// multiple of 32 / gcd(32, bits) codes.
struct GptqDotArgs {
  const float* x;         // [m, cols], each scaled by gptq_factor of its column
  const float* sums;      // [m, groups]: sum of the group's x, not scaled
  const float* bias;      // [rows] of the weight, or null
  float* y;               // [m, rows]
  int64_t m, begin, end;  // outputs begin .. end; begin is a multiple of 32
  float *scales, *zeros;  // room for [groups, 64] each
};

// A weight in lines: see formats/lines.h. `zeros` is null where all are 2^(bits-1).
struct LinesWeight {
  const uint8_t* lines = nullptr;
  const uint16_t *scales = nullptr, *zeros = nullptr;
  int64_t rows = 0, chunks = 0, groups = 0, group_chunks = 0, last_chunks = 0;
  int bits = 4;
};

// Whole numbers that a weight of so many bits is multiplied with: of 8 bits, or, where these would
// show beside the weight's own error, of 15 bits, as a plane of 128 hi and one of lo.
constexpr int lines_input_planes(int bits) { return bits <= 4 ? 1 : 2; }

// Rows of x as whole numbers, -127 .. 127 or -16256 .. 16256, group by group times a scale.
struct LinesInput {
  const int8_t* x;      // [m, planes, chunks * 32], or as the same table's kernels like it
  const float* scales;  // [m, groups]
  const int32_t* sums;  // [m, groups]: sum of the group's numbers
  int64_t m = 0;
};

// Outputs of blocks begin .. end of 16 for all rows of x. An output is one chain of fused
// multiply-adds, group by group: (sum of codes * x - zero * sum of x) * (scale of w * scale of x),
// where the sums are exact, and their difference too where zero points are all alike; then the bias
// is added. So every way to sum gives the same bits.
struct LinesArgs {
  LinesInput in;
  const float* bias;  // [rows], or null
  float* y;           // [m, rows]
  int64_t begin, end;
};

struct Kernels {
  int64_t tile_rows = 0, tile_cols = 0;
  // out [k, width]: rows first .. first + count of x, transposed; columns beyond count are 0.
  // width is tile_rows or tile_cols. `negate` flips the signs.
  void (*pack)(const Strided& x, int64_t first, int64_t count, int64_t k, int64_t width,
               bool negate, float* out);
  void (*tile)(const TileArgs&);
  void (*dot)(const DotArgs&);

  // f32 of rows begin .. begin + count of the weight: scales and zeros [groups, width], 0 beyond.
  void (*gptq_tables)(const GptqWeight&, int64_t begin, int64_t count, int64_t width, float* scales,
                      float* zeros);
  // out [cols, tile_cols]: the dequantized rows begin .. begin + count; the rest is 0. The tables
  // are those of gptq_tables with width tile_cols.
  void (*gptq_panel)(const GptqWeight&, int64_t begin, int64_t count, const float* scales,
                     const float* zeros, float* out);
  void (*gptq_dot)(const GptqWeight&, const GptqDotArgs&);

  // x [chunks * 32] as x [planes * chunks * 32], scales and sums of one row of a LinesInput. A
  // table's other kernels know how its bytes lie.
  void (*lines_input)(const LinesWeight&, const float* x, int8_t* out, float* scales,
                      int32_t* sums);
  void (*lines_dot)(const LinesWeight&, const LinesArgs&);  // few rows
  // Many rows, through codes of whole bytes; `room` has lines_room bytes.
  void (*lines_multiply)(const LinesWeight&, const LinesArgs&, uint8_t* room);

  // One row of `cols`; sums in double. gain and bias may be null.
  void (*layer_norm)(const float* x, const float* gain, const float* bias, float* y, int64_t cols,
                     float eps);
  void (*rms_norm)(const float* x, const float* gain, float* y, int64_t cols, float eps);
  // s = softmax(s * scale + add); add may be null and may hold -infinity. All hidden: zeros.
  void (*softmax)(float* s, const float* add, float scale, int64_t n);
  // y[c] = sum over r of p[r] * v[r * row + c]
  void (*weighted_sum)(const float* p, const float* v, int64_t row, int64_t rows, int64_t cols,
                       float* y);
  // sum of exp(x - top), in double
  double (*sum_exp)(const float* x, int64_t n, float top);
  void (*activation)(Curve, const float* x, const float* gate, float* y, int64_t n);
  void (*add)(const float* a, const float* b, float* y, int64_t n);
  void (*to_f32)(const void* x, Element type, int64_t n, float* y);
  // The least and the largest of n > 0 values.
  void (*extremes)(const float* x, int64_t n, float* least, float* most);
  // codes[i] = zero + the whole number in -zero .. top - zero that is nearest to x[i] / scale, half
  // to even; adds the sums of squares of what is lost, and of x, to squares[0] and [1].
  void (*round_codes)(const float* x, int64_t n, float scale, float zero, float top, uint8_t* codes,
                      double* squares);
  // Rotates one head: pairs (i, i + half), or (2i, 2i + 1) if interleaved. y may be x.
  void (*rope)(const float* x, const float* cos, const float* sin, float* y, int64_t half,
               bool interleaved);

  // Measuring: a loop of independent multiply-adds in registers, and one of loads. fma_burst
  // returns the floating point operations done; *sink keeps the work alive.
  int64_t (*fma_burst)(int64_t turns, float* sink);
  float (*read_burst)(const float* x, int64_t n);
};

// The place of a code in its 32-bit word, when the word is not shifted but masked: the value then
// reads 2^shift times too large, for which x is scaled. 0 where the field is shifted down.
constexpr int gptq_shift(int bits, int64_t column) {
  const int place = static_cast<int>(column * bits % 32);
  return place + bits >= 32 ? 0 : place;
}

// Blocks that lines_dot reads side by side for one row: a range of so many or a multiple is best.
inline constexpr int lines_streams = 4;
inline constexpr int64_t lines_panel_chunks = 16, lines_panel_rows = 256;
inline constexpr int64_t lines_room = lines_panel_chunks * 512 + lines_panel_rows * 64;

Kernels generic();            // complete, plain loops: the reference for tests
void use_avx2(Kernels&);      // replaces the entries that AVX2, FMA and F16C do faster
void use_avx2vnni(Kernels&);  // AVX-VNNI: the products of whole numbers
void use_avx512(Kernels&);
void use_avx512vnni(Kernels&);

// The best table for this machine, chosen once. QUAVER_CPU=generic|avx2|avx2vnni|avx512|avx512vnni
// caps it; another value throws.
const Kernels& kernels();

}  // namespace quaver::cpu
