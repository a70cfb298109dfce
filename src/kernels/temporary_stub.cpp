// TEMPORARY plain-loop stand-in, to be deleted when helper "kernels" delivers.
#include <cmath>
#include <cstring>
#include <vector>

#include "core/threads.h"
#include "kernels/backend.h"
#include "kernels/cpu/kernels.h"
namespace quaver {
template <class T>
T* P(Mem m) {
  return m ? (T*)((char*)m.base + m.offset) : nullptr;
}
float W(Mem w, std::int64_t i, DType t) {
  if (t == DType::f16) return to_float(P<Half>(w)[i]);
  if (t == DType::bf16) return to_float(P<BFloat16>(w)[i]);
  return P<float>(w)[i];
}
static void gemm(Stream, const GemmArgs& a) {
  std::vector<float> w(a.n * a.k);
  for (int j = 0; j < a.n; ++j)
    for (int p = 0; p < a.k; ++p) w[j * a.k + p] = W(a.w, j * a.w_row + p * a.w_col, a.w_type);
  parallel_for(a.m, 4, [&](auto b, auto e) {
    for (auto i = b; i < e; ++i)
      for (int j = 0; j < a.n; ++j) {
        float s = 0;
        for (int p = 0; p < a.k; ++p)
          s += P<float>(a.x)[i * a.x_row + p * a.x_col] * w[j * a.k + p];
        float& y = P<float>(a.y)[i * a.ldy + j];
        if (a.into == GemmArgs::Into::store)
          y = s + (a.bias ? P<float>(a.bias)[j] : 0);
        else if (a.into == GemmArgs::Into::add)
          y += s;
        else
          y -= s;
      }
  });
}
static void ln(Stream, const NormArgs& a) {
  for (int r = 0; r < a.rows; ++r) {
    const float* x = P<float>(a.x) + r * a.cols;
    float* y = P<float>(a.y) + r * a.cols;
    double m = 0, v = 0;
    for (int c = 0; c < a.cols; ++c) m += x[c];
    m /= a.cols;
    for (int c = 0; c < a.cols; ++c) v += (x[c] - m) * (x[c] - m);
    v /= a.cols;
    for (int c = 0; c < a.cols; ++c)
      y[c] = (x[c] - m) / std::sqrt(v + a.eps) * (a.gain ? P<float>(a.gain)[c] : 1) +
             (a.bias ? P<float>(a.bias)[c] : 0);
  }
}
static void rn(Stream, const NormArgs& a) {
  for (int r = 0; r < a.rows; ++r) {
    const float* x = P<float>(a.x) + r * a.cols;
    float* y = P<float>(a.y) + r * a.cols;
    double v = 0;
    for (int c = 0; c < a.cols; ++c) v += x[c] * x[c];
    v /= a.cols;
    for (int c = 0; c < a.cols; ++c) y[c] = x[c] / std::sqrt(v + a.eps) * P<float>(a.gain)[c];
  }
}
static void ga(Stream, const GatherArgs& a) {
  for (int r = 0; r < a.rows; ++r)
    for (int c = 0; c < a.cols; ++c)
      P<float>(a.y)[r * a.cols + c] = W(a.table, P<int>(a.index)[r] * a.cols + c, a.type);
}
static void ro(Stream, const RopeArgs& a) {
  std::int64_t n = a.rows * a.heads * a.head_dim;
  std::vector<float> x(P<float>(a.x), P<float>(a.x) + n);
  float* y = P<float>(a.y);
  std::copy(x.begin(), x.end(), y);
  for (int r = 0; r < a.rows; ++r)
    for (int h = 0; h < a.heads; ++h)
      for (int i = 0; i < a.half; ++i) {
        auto at = (r * a.heads + h) * a.head_dim;
        auto A = at + (a.interleaved ? 2 * i : i), B = a.interleaved ? A + 1 : A + a.half;
        float c = P<float>(a.cos)[r * a.half + i], s = P<float>(a.sin)[r * a.half + i];
        y[A] = x[A] * c - x[B] * s;
        y[B] = x[B] * c + x[A] * s;
      }
}
static void at(Stream, const AttentionArgs& a) {
  auto H = a.heads * a.head_dim, K = a.kv_heads * a.head_dim;
  auto g = a.heads / a.kv_heads;
  parallel_for(a.rows, 1, [&](auto b, auto e) {
    for (auto i = b; i < e; ++i)
      for (int h = 0; h < a.heads; ++h) {
        std::vector<double> s;
        double mx = -1e30;
        int pos = 0;
        auto last = a.keys - a.rows + i;
        for (int j = 0; j <= last; ++j) {
          double d = -1e30;
          if (!a.mask || P<std::uint8_t>(a.mask)[j]) {
            d = 0;
            for (int c = 0; c < a.head_dim; ++c)
              d += P<float>(a.q)[i * H + h * a.head_dim + c] *
                   P<float>(a.k)[j * K + h / g * a.head_dim + c];
            d = d * a.scale + (a.slopes ? P<float>(a.slopes)[h] * pos : 0);
            ++pos;
            mx = std::max(mx, d);
          }
          s.push_back(d);
        }
        double t = 0;
        for (auto& d : s) {
          d = d < -1e29 ? 0 : std::exp(d - mx);
          t += d;
        }
        for (int c = 0; c < a.head_dim; ++c) {
          double o = 0;
          for (int j = 0; j <= last; ++j)
            if (s[j]) o += s[j] * P<float>(a.v)[j * K + h / g * a.head_dim + c];
          P<float>(a.y)[i * H + h * a.head_dim + c] = t ? o / t : 0;
        }
      }
  });
}
static void ac(Stream, const ActivationArgs& a) {
  for (int i = 0; i < a.size; ++i) {
    double x = P<float>(a.x)[i], y = 0;
    switch (a.function) {
      case Activation::relu:
        y = x > 0 ? x : 0;
        break;
      case Activation::gelu:
        y = x / 2 * (1 + std::erf(x / std::sqrt(2.)));
        break;
      case Activation::gelu_tanh:
        y = x / 2 * (1 + std::tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
        break;
      case Activation::silu:
        y = x / (1 + std::exp(-x));
    }
    if (a.gate) y *= P<float>(a.gate)[i];
    P<float>(a.y)[i] = y;
  }
}
static void ad(Stream, const AddArgs& a) {
  for (int i = 0; i < a.size; ++i) P<float>(a.y)[i] = P<float>(a.a)[i] + P<float>(a.b)[i];
}
static void co(Stream, const ColumnsArgs& a) {
  for (int r = 0; r < a.rows; ++r)
    for (int c = 0; c < a.count; ++c)
      P<float>(a.y)[r * a.count + c] = P<float>(a.x)[r * a.cols + a.begin + c];
}
static const DeviceOps dops = {gemm, ln, rn, ga, ro, at, ac, ad, co, {}};
extern const Backend cpu_backend;
const Backend cpu_backend = {
    "cpu",
    [] { return 1; },
    nullptr,
    [](Stream, Mem t, const void* f, std::size_t n) { memcpy(P<char>(t), f, n); },
    [](Stream, void* t, Mem f, std::size_t n) { memcpy(t, P<char>(f), n); },
    [](Stream, Mem t, Mem f, std::size_t n) { memmove(P<char>(t), P<char>(f), n); },
    [](Stream) {},
    [](int) -> const DeviceOps& { return dops; }};
static std::vector<const Backend*>& bsv() {
  static std::vector<const Backend*> v = {&cpu_backend};
  return v;
}
std::span<const Backend* const> backends() { return bsv(); }
std::uint8_t add_backend(const Backend& b) {
  bsv().push_back(&b);
  return bsv().size() - 1;
}

namespace cpu {
const Kernels& kernels() {
  static const Kernels k{[](const float* x, int64_t n, float m) {
    double s = 0;
    for (int64_t i = 0; i < n; ++i) s += std::exp(x[i] - m);
    return s;
  }};
  return k;
}
}  // namespace cpu
}  // namespace quaver
