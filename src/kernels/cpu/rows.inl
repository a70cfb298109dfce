// Norms, softmax and activations, over the vector names that the including file defines.

constexpr float infinity = __builtin_inff();

// e^x to 2 units in the last place; below -87 the result is 0, above 88.7 infinity.
F exponential(F x) {
  const F low = all(-87.33654f), high = all(88.72283f);
  const F clipped = smaller(high, larger(low, x));  // a NaN in x stays
  const F whole = round_to_int(times(clipped, all(1.44269504f)));
  F r = multiply_add(whole, all(-0.693359375f), clipped);
  r = multiply_add(whole, all(2.12194440e-4f), r);
  F e = all(1.9875691500e-4f);
  e = multiply_add(e, r, all(1.3981999507e-3f));
  e = multiply_add(e, r, all(8.3334519073e-3f));
  e = multiply_add(e, r, all(4.1665795894e-2f));
  e = multiply_add(e, r, all(1.6666665459e-1f));
  e = multiply_add(e, r, all(5.0000001201e-1f));
  e = plus(multiply_add(e, times(r, r), r), all(1.0f));
  return where_less(x, low, zero(), where_less(high, x, all(infinity), scale2(e, whole)));
}

// e^-|x|-like tails: 0.5 * erfc(z) for z >= 0, after Abramowitz and Stegun 7.1.26 (error 8e-8).
F half_erfc(F z) {
  const F t = over(all(1.0f), multiply_add(z, all(0.3275911f), all(1.0f)));
  F poly = all(1.061405429f);
  poly = multiply_add(poly, t, all(-1.453152027f));
  poly = multiply_add(poly, t, all(1.421413741f));
  poly = multiply_add(poly, t, all(-0.284496736f));
  poly = multiply_add(poly, t, all(0.254829592f));
  return times(times(times(poly, t), all(0.5f)), exponential(negative(times(z, z))));
}

F gelu(F x) {
  const F tail = times(absolute(x), half_erfc(times(absolute(x), all(0.70710678f))));
  return minus(where_less(x, zero(), zero(), x), tail);  // x >= 0: x - x Q(x); x < 0: x Q(-x)
}

F sigmoid_times(F x, F u) { return over(x, plus(all(1.0f), exponential(negative(u)))); }

// x / 2 * (1 + tanh(u)) = x * sigmoid(2 u)
F gelu_tanh(F x) {
  const F cube = times(times(x, x), x);
  return sigmoid_times(x, times(all(1.59576912f), multiply_add(cube, all(0.044715f), x)));
}

F curve(Curve function, F x) {
  if (function == Curve::relu) return larger(zero(), x);
  if (function == Curve::gelu) return gelu(x);
  if (function == Curve::gelu_tanh) return gelu_tanh(x);
  if (function == Curve::relu_squared) return times(larger(zero(), x), x);
  if (function == Curve::identity) return x;
  if (function == Curve::gelu_quick) return sigmoid_times(x, times(all(1.702f), x));
  return sigmoid_times(x, x);
}

void activation(Curve function, const float* x, const float* gate, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    const F v = curve(function, load(x + i));
    store(y + i, gate ? times(v, load(gate + i)) : v);
  }
  if (i == n) return;
  const F v = curve(function, load_some(x + i, n - i));
  store_some(y + i, gate ? times(v, load_some(gate + i, n - i)) : v, n - i);
}

void to_f32(const void* x, Element type, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, load8(x, type, i));
  for (; i < n; ++i) y[i] = element(x, type, i);
}

void extremes(const float* x, int64_t n, float* least, float* most) {
  F low = all(x[0]), high = low;
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    low = smaller(load(x + i), low);
    high = larger(load(x + i), high);
  }
  *least = -highest(negative(low));
  *most = highest(high);
  for (; i < n; ++i) {
    *least = x[i] < *least ? x[i] : *least;
    *most = x[i] > *most ? x[i] : *most;
  }
}

// Levels are far below 2^22, where adding and subtracting 1.5 * 2^23 rounds to a whole number.
void round_codes(const float* x, int64_t n, float scale, float zero_point, float top,
                 uint8_t* codes, double* squares) {
  constexpr float shifter = 0x1.8p23f;
  const float inverse = 1 / scale, low = -zero_point, high = top - zero_point;
  const F to_byte = all(zero_point - 128);
  F lost = zero(), whole = zero();
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    const F v = load(x + i);
    const F level = smaller(larger(times(v, all(inverse)), all(low)), all(high));
    const F rounded = minus(plus(level, all(shifter)), all(shifter));
    store_as_bytes(reinterpret_cast<int8_t*>(codes + i), plus(rounded, to_byte));
    const F difference = multiply_add(negative(rounded), all(scale), v);
    lost = multiply_add(difference, difference, lost);
    whole = multiply_add(v, v, whole);
  }
  for (int64_t j = 0; j < i; ++j) codes[j] ^= 128;
  squares[0] += static_cast<double>(sum(lost));
  squares[1] += static_cast<double>(sum(whole));
  for (; i < n; ++i) {
    float level = x[i] * inverse;
    level = level < low ? low : level > high ? high : level;
    const float rounded = (level + shifter) - shifter, difference = x[i] - rounded * scale;
    codes[i] = static_cast<uint8_t>(static_cast<int>(rounded + zero_point));
    squares[0] += static_cast<double>(difference) * static_cast<double>(difference);
    squares[1] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
}

// Replaces x by e^(x - top) and returns their sum: of 16 lanes however wide the vectors are, so that
// the instruction sets agree to the bit.
float exponentials(float* x, int64_t n, float top) {
  constexpr int parts = 16 / W;
  const F highest_score = all(top);
  F sums[parts];
  for (int p = 0; p < parts; ++p) sums[p] = zero();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int p = 0; p < parts; ++p) {
      const F e = exponential(minus(load(x + i + p * W), highest_score));
      store(x + i + p * W, e);
      sums[p] = plus(sums[p], e);
    }
  for (int p = 0; i < n; ++p, i += W) {
    const int64_t left = n - i < W ? n - i : W;
    const F e = exponential(minus(load_some(x + i, left), highest_score));
    store_some(x + i, e, left);
    sums[p] = plus(sums[p], load_some(x + i, left));
  }
  return sum(parts == 1 ? sums[0] : plus(sums[0], sums[parts - 1]));
}

void softmax(float* s, const float* add, float scale, int64_t n) {
  F tops = all(-infinity);
  const F factor = all(scale);
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    F v = times(load(s + i), factor);
    if (add) v = plus(v, load(add + i));
    store(s + i, v);
    tops = larger(v, tops);
  }
  float top = highest(tops);
  for (; i < n; ++i) {
    s[i] *= scale;
    if (add) s[i] += add[i];
    if (s[i] > top) top = s[i];
  }
  if (top == -infinity) {
    for (i = 0; i < n; ++i) s[i] = 0;
    return;
  }
  const float inverse = 1 / exponentials(s, n, top);
  for (i = 0; i + W <= n; i += W) store(s + i, times(load(s + i), all(inverse)));
  for (; i < n; ++i) s[i] *= inverse;
}

double sum_exp(const float* x, int64_t n, float top) {
  __m256d sums = _mm256_setzero_pd();
  for (int64_t i = 0; i < n; i += W) {
    alignas(64) float e[W];
    if (n - i >= W) {
      store(e, exponential(minus(load(x + i), all(top))));
    } else {
      store(e, exponential(minus(load_some(x + i, n - i), all(top))));
      for (int64_t j = n - i; j < W; ++j) e[j] = 0;
    }
    for (int64_t j = 0; j < W; j += 4)
      sums = _mm256_add_pd(sums, _mm256_cvtps_pd(_mm_load_ps(e + j)));
  }
  return sum4(sums);
}

double square_sum(const float* x, int64_t n, double mean) {
  __m256d a = _mm256_setzero_pd(), b = a;
  const __m256d m = _mm256_set1_pd(mean);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256d u = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + i)), m);
    const __m256d v = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + i + 4)), m);
    a = _mm256_fmadd_pd(u, u, a);
    b = _mm256_fmadd_pd(v, v, b);
  }
  double total = sum4(_mm256_add_pd(a, b));
  for (; i < n; ++i) total += (x[i] - mean) * (x[i] - mean);
  return total;
}

double plain_sum(const float* x, int64_t n) {
  __m256d a = _mm256_setzero_pd(), b = a;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    a = _mm256_add_pd(a, _mm256_cvtps_pd(_mm_loadu_ps(x + i)));
    b = _mm256_add_pd(b, _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4)));
  }
  double total = sum4(_mm256_add_pd(a, b));
  for (; i < n; ++i) total += x[i];
  return total;
}

// y = (x - mean) * scale * gain + bias
void normalize(const float* x, const float* gain, const float* bias, float* y, int64_t n,
               double mean, double scale) {
  const __m256d m = _mm256_set1_pd(mean), s = _mm256_set1_pd(scale);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const __m256d u = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + i)), m);
    __m128 v = _mm256_cvtpd_ps(_mm256_mul_pd(u, s));
    if (gain) v = _mm_mul_ps(v, _mm_loadu_ps(gain + i));
    if (bias) v = _mm_add_ps(v, _mm_loadu_ps(bias + i));
    _mm_storeu_ps(y + i, v);
  }
  for (; i < n; ++i) {
    float v = static_cast<float>((x[i] - mean) * scale);
    if (gain) v *= gain[i];
    if (bias) v += bias[i];
    y[i] = v;
  }
}

void layer_norm(const float* x, const float* gain, const float* bias, float* y, int64_t cols,
                float eps) {
  const double mean = plain_sum(x, cols) / static_cast<double>(cols);
  const double variance = square_sum(x, cols, mean) / static_cast<double>(cols);
  normalize(x, gain, bias, y, cols, mean, 1 / __builtin_sqrt(variance + eps));
}

void rms_norm(const float* x, const float* gain, float* y, int64_t cols, float eps) {
  const double square = square_sum(x, cols, 0) / static_cast<double>(cols);
  normalize(x, gain, nullptr, y, cols, 0, 1 / __builtin_sqrt(square + eps));
}
