// Loops that the compiler vectorizes by itself. Included by the file of each instruction set,
// inside its anonymous namespace.

void add(const float* a, const float* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

void rope(const float* x, const float* cos, const float* sin, float* y, int64_t half,
          bool interleaved) {
  const int64_t step = interleaved ? 2 : 1, other = interleaved ? 1 : half;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i * step], b = x[i * step + other];
    y[i * step] = a * cos[i] - b * sin[i];
    y[i * step + other] = b * cos[i] + a * sin[i];
  }
}
