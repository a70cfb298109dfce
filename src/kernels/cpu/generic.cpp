// The plain version of every kernel: complete, for any machine, and the oracle of the tests.
#include <math.h>
#include <string.h>

#include "kernels/cpu/kernels.h"

namespace quaver::cpu {
namespace {

constexpr int64_t tile_rows = 4, tile_cols = 8, lanes = 32;

#include "kernels/cpu/plain.inl"

float from_half(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const int exponent = (h >> 10) & 31;
  const int fraction = h & 1023;
  float value;
  if (exponent == 31) {
    const uint32_t bits = 0x7f800000u | static_cast<uint32_t>(fraction) << 13;
    memcpy(&value, &bits, sizeof value);
  } else {
    value = exponent == 0 ? ldexpf(static_cast<float>(fraction), -24)
                          : ldexpf(static_cast<float>(fraction + 1024), exponent - 25);
  }
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits |= sign;
  memcpy(&value, &bits, sizeof value);
  return value;
}

float element(const void* data, Element type, int64_t i) {
  if (type == Element::f32) return static_cast<const float*>(data)[i];
  const uint16_t half = static_cast<const uint16_t*>(data)[i];
  if (type == Element::f16) return from_half(half);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void to_f32(const void* x, Element type, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = element(x, type, i);
}

void pack(const Strided& x, int64_t first, int64_t count, int64_t k, int64_t width, bool negate,
          float* out) {
  for (int64_t p = 0; p < k; ++p)
    for (int64_t i = 0; i < width; ++i) {
      const float v = i < count ? element(x.data, x.type, (first + i) * x.row + p * x.col) : 0.0f;
      out[p * width + i] = negate ? -v : v;
    }
}

void tile(const TileArgs& t) {
  for (int64_t i = 0; i < t.m; ++i)
    for (int64_t j = 0; j < t.n; ++j) {
      float sum = t.resume ? t.y[i * t.ldy + j] : 0.0f;
      for (int64_t p = 0; p < t.k; ++p)
        sum = fmaf(t.x[p * tile_rows + i], t.w[p * tile_cols + j], sum);
      t.y[i * t.ldy + j] = t.bias ? sum + t.bias[j] : sum;
    }
}

void dot(const DotArgs& d) {
  for (int64_t i = 0; i < d.m; ++i)
    for (int64_t j = 0; j < d.n; ++j) {
      float sums[lanes] = {};
      for (int64_t p = 0; p < d.k; ++p)
        sums[p % lanes] =
            fmaf(d.x[i * d.x_row + p], element(d.w, d.type, j * d.w_row + p), sums[p % lanes]);
      for (int64_t half = lanes / 2; half > 0; half /= 2)
        for (int64_t l = 0; l < half; ++l) sums[l] += sums[l + half];
      d.y[i * d.ldy + j] = d.bias ? sums[0] + d.bias[j] : sums[0];
    }
}

// Field number i of a bit stream whose words lie `stride` apart.
uint32_t field(const uint32_t* words, int64_t stride, const GptqWeight& w, int64_t i) {
  const int64_t at = i % 32 * w.bits, word = i / 32 * w.block + w.plane + at / 32, shift = at % 32;
  uint64_t two = words[word * stride];
  if (shift + w.bits > 32) two |= static_cast<uint64_t>(words[(word + 1) * stride]) << 32;
  return static_cast<uint32_t>(two >> shift) & ((1u << w.bits) - 1);
}

void gptq_tables(const GptqWeight& w, int64_t begin, int64_t count, int64_t width, float* scales,
                 float* zeros) {
  for (int64_t g = 0; g < w.groups; ++g)
    for (int64_t j = 0; j < width; ++j) {
      const bool inside = j < count;
      const uint32_t* row = w.zeros + g * (w.rows * w.block / 32);
      scales[g * width + j] = inside ? from_half(w.scales[g * w.rows + begin + j]) : 0.0f;
      zeros[g * width + j] =
          inside ? static_cast<float>(static_cast<int>(field(row, 1, w, begin + j)) + w.zero_shift)
                 : 0.0f;
    }
}

void gptq_panel(const GptqWeight& w, int64_t begin, int64_t count, const float* scales,
                const float* zeros, float* out) {
  for (int64_t k = 0; k < w.cols; ++k)
    for (int64_t j = 0; j < tile_cols; ++j) {
      const int64_t at = w.group_of[k] * tile_cols + j;
      out[k * tile_cols + j] =
          j < count ? (static_cast<float>(field(w.codes + begin + j, w.rows, w, k)) - zeros[at]) *
                          scales[at]
                    : 0.0f;
    }
}

void gptq_dot(const GptqWeight& w, const GptqDotArgs& d) {
  for (int64_t n = d.begin; n < d.end; ++n) {
    gptq_tables(w, n, 1, 1, d.scales, d.zeros);
    for (int64_t i = 0; i < d.m; ++i) {
      float total = 0;
      for (int64_t g = 0; g < w.groups; ++g) {
        float sum = 0;
        const int64_t first = g * w.group_size;
        const int64_t last = first + w.group_size < w.cols ? first + w.group_size : w.cols;
        for (int64_t k = first; k < last; ++k)
          sum += ldexpf(d.x[i * w.cols + k], gptq_shift(w.bits, k)) *
                 static_cast<float>(field(w.codes + n, w.rows, w, k));
        total += d.scales[g] * (sum - d.zeros[g] * d.sums[i * w.groups + g]);
      }
      d.y[i * w.rows + n] = d.bias ? total + d.bias[n] : total;
    }
  }
}

void layer_norm(const float* x, const float* gain, const float* bias, float* y, int64_t cols,
                float eps) {
  double mean = 0, square = 0;
  for (int64_t c = 0; c < cols; ++c) mean += x[c];
  mean /= static_cast<double>(cols);
  for (int64_t c = 0; c < cols; ++c) square += (x[c] - mean) * (x[c] - mean);
  const double scale = 1 / sqrt(square / static_cast<double>(cols) + eps);
  for (int64_t c = 0; c < cols; ++c) {
    const float value = static_cast<float>((x[c] - mean) * scale);
    y[c] = value * (gain ? gain[c] : 1.0f) + (bias ? bias[c] : 0.0f);
  }
}

void rms_norm(const float* x, const float* gain, float* y, int64_t cols, float eps) {
  double square = 0;
  for (int64_t c = 0; c < cols; ++c) square += static_cast<double>(x[c]) * x[c];
  const double scale = 1 / sqrt(square / static_cast<double>(cols) + eps);
  for (int64_t c = 0; c < cols; ++c)
    y[c] = static_cast<float>(x[c] * scale) * (gain ? gain[c] : 1.0f);
}

void softmax(float* s, const float* add, float scale, int64_t n) {
  float top = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    s[i] = s[i] * scale + (add ? add[i] : 0.0f);
    if (!(s[i] <= top)) top = s[i];
  }
  for (int64_t i = 0; i < n; ++i) sum += s[i] = top == -INFINITY ? 0.0f : expf(s[i] - top);
  const float inverse = sum == 0 ? 0.0f : 1 / sum;
  for (int64_t i = 0; i < n; ++i) s[i] *= inverse;
}

void weighted_sum(const float* p, const float* v, int64_t row, int64_t rows, int64_t cols,
                  float* y) {
  for (int64_t c = 0; c < cols; ++c) {
    float sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum = fmaf(p[r], v[r * row + c], sum);
    y[c] = sum;
  }
}

void extremes(const float* x, int64_t n, float* least, float* most) {
  *least = *most = x[0];
  for (int64_t i = 1; i < n; ++i) {
    *least = x[i] < *least ? x[i] : *least;
    *most = x[i] > *most ? x[i] : *most;
  }
}

void round_codes(const float* x, int64_t n, float scale, float zero, float top, uint8_t* codes,
                 double* squares) {
  constexpr float shifter = 0x1.8p23f;  // rounds, see rows.inl
  const float inverse = 1 / scale, low = -zero, high = top - zero;
  for (int64_t i = 0; i < n; ++i) {
    float level = x[i] * inverse;
    level = level < low ? low : level > high ? high : level;
    level = (level + shifter) - shifter;
    codes[i] = static_cast<uint8_t>(static_cast<int>(level + zero));
    const double value = static_cast<double>(x[i]);
    const double difference = value - static_cast<double>(level) * static_cast<double>(scale);
    squares[0] += difference * difference;
    squares[1] += value * value;
  }
}

double sum_exp(const float* x, int64_t n, float top) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += exp(static_cast<double>(x[i]) - top);
  return sum;
}

float curve(Curve function, float x) {
  switch (function) {
    case Curve::relu:
      return x < 0 ? 0.0f : x;
    case Curve::gelu:
      return 0.5f * x * erfcf(x * -0.70710678f);
    case Curve::gelu_tanh:
      return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Curve::relu_squared:
      return x < 0 ? 0.0f : x * x;
    case Curve::identity:
      return x;
    case Curve::gelu_quick:
      return x / (1 + expf(-1.702f * x));
    default:
      return x / (1 + expf(-x));
  }
}

void activation(Curve function, const float* x, const float* gate, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = curve(function, x[i]);
    y[i] = gate ? v * gate[i] : v;
  }
}

void lines_input(const LinesWeight& w, const float* x, int8_t* out, float* scales, int32_t* sums) {
  const int planes = lines_input_planes(w.bits);
  for (int64_t g = 0; g < w.groups; ++g) {
    const int64_t size = 32 * (g + 1 < w.groups ? w.group_chunks : w.last_chunks);
    float most = 0;
    for (int64_t i = 0; i < size; ++i) most = fmaxf(most, fabsf(x[i]));
    const float top = planes == 1 ? 127.0f : 16256.0f, inverse = most > 0 ? top / most : 0;
    int32_t sum = 0;
    for (int64_t i = 0; i < size; ++i) {
      const auto v = static_cast<int32_t>(nearbyintf(x[i] * inverse));
      const int32_t high = planes == 1 ? v : (v + 64) >> 7;
      out[i] = static_cast<int8_t>(high);
      if (planes == 2) out[w.chunks * 32 + i] = static_cast<int8_t>(v - 128 * high);
      sum += v;
    }
    scales[g] = most / top;
    sums[g] = sum;
    x += size, out += size;
  }
}

// The code of input i of output r in the chunk at `chunk`.
int line_code(const uint8_t* chunk, int bits, int64_t r, int64_t i) {
  int code = 0, lowest = 0;
  for (int width = 8; width > 0; width /= 2) {
    if (!(bits & width)) continue;
    const int64_t quad = i / 4, in_a_line = 8 / width;
    const int byte = chunk[quad / in_a_line * 64 + 4 * r + i % 4];
    code |= (byte >> (quad % in_a_line * width) & ((1 << width) - 1)) << lowest;
    chunk += 64 * width;
    lowest += width;
  }
  return code;
}

float lines_output(const LinesWeight& w, const LinesInput& in, int64_t row, int64_t n) {
  const int planes = lines_input_planes(w.bits);
  const int64_t width = w.chunks * 32;
  const int8_t* x = in.x + row * planes * width;
  const uint8_t* chunk = w.lines + n / 16 * w.chunks * 64 * w.bits;
  float total = 0;
  for (int64_t g = 0; g < w.groups; ++g) {
    const int64_t chunks = g + 1 < w.groups ? w.group_chunks : w.last_chunks;
    int32_t sum = 0;
    for (int64_t c = 0; c < chunks; ++c, chunk += 64 * w.bits, x += 32)
      for (int64_t i = 0; i < 32; ++i)
        sum +=
            line_code(chunk, w.bits, n % 16, i) * (planes == 1 ? x[i] : 128 * x[i] + x[width + i]);
    const int64_t at = (n / 16 * w.groups + g) * 16 + n % 16;
    const int32_t x_sum = in.sums[row * w.groups + g];
    const float centered =
        w.zeros ? static_cast<float>(sum) - from_half(w.zeros[at]) * static_cast<float>(x_sum)
                : static_cast<float>(sum - (1 << (w.bits - 1)) * x_sum);
    total = fmaf(centered, from_half(w.scales[at]) * in.scales[row * w.groups + g], total);
  }
  return total;
}

void lines_dot(const LinesWeight& w, const LinesArgs& a) {
  for (int64_t n = a.begin * 16; n < a.end * 16 && n < w.rows; ++n)
    for (int64_t row = 0; row < a.in.m; ++row) {
      const float total = lines_output(w, a.in, row, n);
      a.y[row * w.rows + n] = a.bias ? total + a.bias[n] : total;
    }
}

void lines_multiply(const LinesWeight& w, const LinesArgs& a, uint8_t*) { lines_dot(w, a); }

int64_t fma_burst(int64_t turns, float* sink) {
  float a = *sink, b = a + 1, c = a + 2, d = a + 3;
  for (int64_t i = 0; i < turns; ++i) {
    a = fmaf(a, 0.5f, 1.0f);
    b = fmaf(b, 0.5f, 1.0f);
    c = fmaf(c, 0.5f, 1.0f);
    d = fmaf(d, 0.5f, 1.0f);
  }
  *sink = a + b + c + d;
  return turns * 8;
}

float read_burst(const float* x, int64_t n) {
  float a = 0, b = 0, c = 0, d = 0;
  for (int64_t i = 0; i + 4 <= n; i += 4) a += x[i], b += x[i + 1], c += x[i + 2], d += x[i + 3];
  return a + b + c + d;
}

}  // namespace

Kernels generic() {
  return {.tile_rows = tile_rows,
          .tile_cols = tile_cols,
          .pack = pack,
          .tile = tile,
          .dot = dot,
          .gptq_tables = gptq_tables,
          .gptq_panel = gptq_panel,
          .gptq_dot = gptq_dot,
          .lines_input = lines_input,
          .lines_dot = lines_dot,
          .lines_multiply = lines_multiply,
          .layer_norm = layer_norm,
          .rms_norm = rms_norm,
          .softmax = softmax,
          .weighted_sum = weighted_sum,
          .sum_exp = sum_exp,
          .activation = activation,
          .add = add,
          .to_f32 = to_f32,
          .extremes = extremes,
          .round_codes = round_codes,
          .rope = rope,
          .fma_burst = fma_burst,
          .read_burst = read_burst};
}

}  // namespace quaver::cpu
