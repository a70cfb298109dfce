// Kernels of rows and elements: every instruction set against double precision.
#include "kernels/kernel_testing.h"

namespace quaver {
namespace {

using cpu::Curve;
using cpu::Kernels;
using cpu::Level;

constexpr Curve curves[] = {Curve::relu,         Curve::gelu,       Curve::gelu_tanh, Curve::silu,
                            Curve::relu_squared, Curve::gelu_quick, Curve::identity};
const std::int64_t row_sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 97, 259};

double reference(Curve function, double x) {
  switch (function) {
    case Curve::relu:
      return std::max(x, 0.0);
    case Curve::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Curve::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Curve::relu_squared:
      return x > 0 ? x * x : 0;
    case Curve::identity:
      return x;
    case Curve::gelu_quick:
      return x / (1 + std::exp(-1.702 * x));
    default:
      return x / (1 + std::exp(-x));
  }
}

TEST(Rows, Activations) {
  for (const Level* level : usable_levels())
    for (const Curve function : curves)
      for (const std::int64_t n : row_sizes) {
        const Guarded<float> x(Numbers(1).floats(n, 12)), gate(Numbers(2).floats(n));
        const Guarded<float> y(n), gated(n);
        level->table.activation(function, x.data(), nullptr, y.data(), n);
        level->table.activation(function, x.data(), gate.data(), gated.data(), n);
        for (std::int64_t i = 0; i < n; ++i) {
          const double want = reference(function, x[i]);
          EXPECT_NEAR(y[i], want, 1e-6 * std::max(1.0, std::abs(want))) << level->name << x[i];
          EXPECT_FLOAT_EQ(gated[i], y[i] * gate[i]);
        }
      }
}

TEST(Rows, ActivationsFarOut) {
  for (const Level* level : usable_levels())
    for (const Curve function : curves) {
      const std::vector<float> x{0, -0.0f, 1e-20f, 100, -100, 1000, -1000, 1e18f, -1e18f, 30, -30};
      std::vector<float> y(x.size());
      level->table.activation(function, x.data(), nullptr, y.data(), 11);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double want = reference(function, x[i]);
        EXPECT_NEAR(y[i], want, 1e-6 * std::max(1.0, std::abs(want)))
            << level->name << " " << int(function) << " " << x[i];
      }
    }
}

TEST(Rows, Norms) {
  for (const Level* level : usable_levels())
    for (const std::int64_t n : row_sizes)
      for (const float offset : {0.0f, 100.0f}) {
        std::vector<float> values = Numbers(3).floats(n);
        for (float& v : values) v += offset;
        const Guarded<float> x(values), gain(Numbers(4).floats(n)), bias(Numbers(5).floats(n));
        const Guarded<float> layer(n), rms(n), plain(n);
        const float eps = 1e-5f;
        level->table.layer_norm(x.data(), gain.data(), bias.data(), layer.data(), n, eps);
        level->table.layer_norm(x.data(), nullptr, nullptr, plain.data(), n, eps);
        level->table.rms_norm(x.data(), gain.data(), rms.data(), n, eps);
        double mean = 0, square = 0, moment = 0;
        for (const double v : values) mean += v / static_cast<double>(n);
        for (const double v : values) square += (v - mean) * (v - mean), moment += v * v;
        const double deviation = std::sqrt(square / static_cast<double>(n) + eps);
        const double root = std::sqrt(moment / static_cast<double>(n) + eps);
        for (std::int64_t i = 0; i < n; ++i) {
          const double z = (x[i] - mean) / deviation, r = x[i] / root * gain[i];
          EXPECT_NEAR(layer[i], z * gain[i] + bias[i], 2e-6) << level->name << " " << n;
          EXPECT_NEAR(plain[i], z, 1e-6 * std::max(1.0, std::abs(z)));
          EXPECT_NEAR(rms[i], r, 1e-6 * std::max(1.0, std::abs(r)));
        }
      }
}

TEST(Rows, Softmax) {
  const float hidden = -std::numeric_limits<float>::infinity();
  for (const Level* level : usable_levels())
    for (const std::int64_t n : row_sizes)
      for (const int kind : {0, 1, 2}) {  // nothing added, some hidden, all hidden
        const std::vector<float> scores = Numbers(6).floats(n, 30);
        std::vector<float> added = Numbers(7).floats(n, 3);
        for (std::int64_t i = 0; i < n; ++i)
          if (kind == 2 || (i % 3 == 1)) added[static_cast<std::size_t>(i)] = hidden;
        const Guarded<float> s(scores), add(added);
        level->table.softmax(s.data(), kind == 0 ? nullptr : add.data(), 0.7f, n);
        std::vector<double> want;
        double top = -1e300, sum = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const double a = kind == 0 ? 0.0 : double{add[i]};
          want.push_back(0.7f * double{scores[static_cast<std::size_t>(i)]} + a);
          top = std::max(top, want.back());
        }
        for (double& v : want) v = top < -1e299 ? 0.0 : std::exp(v - top), sum += v;
        for (std::int64_t i = 0; i < n; ++i)
          EXPECT_NEAR(s[i], sum == 0 ? 0 : want[static_cast<std::size_t>(i)] / sum, 4e-6)
              << level->name << " " << n << " " << kind;
      }
}

TEST(Rows, SumOfExponentials) {
  for (const Level* level : usable_levels())
    for (const std::int64_t n : row_sizes) {
      const Guarded<float> x(Numbers(8).floats(n, 40));
      float top = x[0];
      for (std::int64_t i = 1; i < n; ++i) top = std::max(top, x[i]);
      double want = 0;
      for (std::int64_t i = 0; i < n; ++i) want += std::exp(double{x[i]} - top);
      EXPECT_NEAR(level->table.sum_exp(x.data(), n, top) / want, 1, 1e-6) << level->name;
    }
}

// The order of its sum is fixed, so that all instruction sets with vectors give the same bits: of
// 16 lanes, whose halves are then added to one another.
TEST(Rows, SoftmaxSumsInSixteenLanes) {
  for (const Level* level : usable_levels())
    for (const std::int64_t n : row_sizes) {
      if (level->name == "generic") continue;
      const std::vector<float> scores = Numbers(6).floats(n, 30);
      const Guarded<float> s(scores);
      level->table.softmax(s.data(), nullptr, 1, n);
      const float top = *std::ranges::max_element(scores);
      std::vector<float> e;
      float sums[16] = {};
      for (std::size_t i = 0; i < scores.size(); ++i) {
        e.push_back(static_cast<float>(level->table.sum_exp(&scores[i], 1, top)));
        sums[i % 16] += e.back();
      }
      for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
      const float inverse = 1 / sums[0];
      for (std::int64_t i = 0; i < n; ++i)
        EXPECT_EQ(s[i], e[static_cast<std::size_t>(i)] * inverse) << level->name << " " << n;
    }
}

// Everything that a quantization computes is the same on AVX2 and AVX-512; products are compared
// in gemm_test.cpp.
TEST(Rows, VectorLevelsAgreeToTheBit) {
  std::vector<const Level*> vectors;
  for (const Level* level : usable_levels())
    if (level->name != "generic") vectors.push_back(level);
  for (std::size_t l = 1; l < vectors.size(); ++l)
    for (const std::int64_t n : row_sizes) {
      const auto count = static_cast<std::size_t>(n);
      const std::vector<float> x = Numbers(21).floats(n, 60), gain = Numbers(22).floats(n, 2);
      const auto results = [&](const Kernels& k) {
        std::vector<float> all(x), y(count);
        const auto keep = [&] { all.insert(all.end(), y.begin(), y.end()); };
        k.softmax(all.data(), gain.data(), 0.3f, n);
        k.layer_norm(x.data(), gain.data(), gain.data(), y.data(), n, 1e-5f), keep();
        k.rms_norm(x.data(), gain.data(), y.data(), n, 1e-5f), keep();
        for (const Curve curve : curves)
          k.activation(curve, x.data(), gain.data(), y.data(), n), keep();
        k.weighted_sum(gain.data(), x.data(), 1, n / 2, n - n / 2, y.data()), keep();
        all.push_back(static_cast<float>(k.sum_exp(x.data(), n, 60)));
        return all;
      };
      EXPECT_EQ(results(vectors[0]->table), results(vectors[l]->table))
          << vectors[l]->name << " " << n;
    }
}

TEST(Rows, AddRopeConversionAndWeightedSum) {
  for (const Level* level : usable_levels())
    for (const std::int64_t n : row_sizes) {
      const Kernels& k = level->table;
      const Guarded<float> a(Numbers(9).floats(2 * n)), b(Numbers(10).floats(2 * n)), y(2 * n);
      k.add(a.data(), b.data(), y.data(), 2 * n);
      for (std::int64_t i = 0; i < 2 * n; ++i) EXPECT_EQ(y[i], a[i] + b[i]);

      for (const bool interleaved : {false, true}) {
        const Guarded<float> cos(Numbers(11).floats(n)), sin(Numbers(12).floats(n));
        const Guarded<float> in_place(a.values());
        k.rope(a.data(), cos.data(), sin.data(), y.data(), n, interleaved);
        k.rope(in_place.data(), cos.data(), sin.data(), in_place.data(), n, interleaved);
        EXPECT_EQ(in_place.values(), y.values());
        for (std::int64_t i = 0; i < n; ++i) {
          const std::int64_t one = interleaved ? 2 * i : i, two = interleaved ? 2 * i + 1 : n + i;
          EXPECT_NEAR(y[one], a[one] * cos[i] - a[two] * sin[i], 1e-6);
          EXPECT_NEAR(y[two], a[two] * cos[i] + a[one] * sin[i], 1e-6);
        }
      }

      std::vector<std::uint16_t> halves, brains;
      for (std::int64_t i = 0; i < 2 * n; ++i) {
        halves.push_back(to_half(i == 0 ? 1e-7f : a[i]).bits);  // the first is denormal
        brains.push_back(to_bfloat16(a[i]).bits);
      }
      const Guarded<std::uint16_t> half(halves), brain(brains);
      k.to_f32(half.data(), cpu::Element::f16, 2 * n, y.data());
      for (std::int64_t i = 0; i < 2 * n; ++i) EXPECT_EQ(y[i], to_float(Half{half[i]}));
      k.to_f32(brain.data(), cpu::Element::bf16, 2 * n, y.data());
      for (std::int64_t i = 0; i < 2 * n; ++i) EXPECT_EQ(y[i], to_float(BFloat16{brain[i]}));

      const Guarded<float> v(Numbers(13).floats(5 * n)), sums(n);
      k.weighted_sum(b.data() + n, v.data(), n, std::min<std::int64_t>(n, 5), n, sums.data());
      for (std::int64_t c = 0; c < n; ++c) {
        double want = 0;
        for (std::int64_t r = 0; r < std::min<std::int64_t>(n, 5); ++r)
          want += double{b[n + r]} * v[r * n + c];
        EXPECT_NEAR(sums[c], want, 1e-5);
      }
    }
}

TEST(Rows, EveryEntryIsThere) {
  for (const Level* level : usable_levels()) {
    const Kernels& k = level->table;
    EXPECT_TRUE(k.tile_rows > 0 && k.tile_cols > 0 && k.pack && k.tile && k.dot);
    EXPECT_TRUE(k.gptq_tables && k.gptq_panel && k.gptq_dot && k.layer_norm && k.rms_norm);
    EXPECT_TRUE(k.softmax && k.weighted_sum && k.sum_exp && k.activation && k.add && k.to_f32);
    EXPECT_TRUE(k.rope && k.fma_burst && k.read_burst);
    float sink = 1;
    EXPECT_GT(k.fma_burst(10, &sink), 0);
    EXPECT_TRUE(std::isfinite(sink));
    const std::vector<float> ones(4096, 1.0f);
    EXPECT_EQ(k.read_burst(ones.data(), 4096), 4096);
  }
}

TEST(Rows, Extremes) {
  for (const Level* level : usable_levels())
    for (const std::int64_t n : row_sizes) {
      const Guarded<float> x(Numbers(3).floats(n));
      float least = 0, most = 0;
      level->table.extremes(x.data(), n, &least, &most);
      EXPECT_EQ(least, *std::min_element(x.data(), x.data() + n)) << level->name << n;
      EXPECT_EQ(most, *std::max_element(x.data(), x.data() + n)) << level->name << n;
    }
}

// The same codes by every instruction set, and nearest ones; the sums near double's.
TEST(Rows, RoundCodes) {
  struct Case {
    float scale, zero, top;
  };
  for (const Case c : {Case{0.13f, 8, 15},
                       {-0.13f, 8, 15},
                       {0.01f, 128, 255},
                       {0.4f, 0, 3},
                       {0.4f, 3, 3},
                       {0.02f, 200, 255},
                       {1e-7f, 4, 7},
                       {1e30f, 4, 7}})
    for (const Level* level : usable_levels())
      for (const std::int64_t n : row_sizes) {
        const Guarded<float> x(Numbers(4).floats(n));
        const Guarded<std::uint8_t> codes(n);
        double squares[2] = {1, 2}, lost = 1, whole = 2;
        level->table.round_codes(x.data(), n, c.scale, c.zero, c.top, codes.data(), squares);
        for (std::int64_t i = 0; i < n; ++i) {
          const float quotient = x[i] * (1 / c.scale);
          const float level_of = std::nearbyint(std::clamp(quotient, -c.zero, c.top - c.zero));
          EXPECT_EQ(codes[i], static_cast<int>(level_of + c.zero)) << level->name << n << ' ' << i;
          const double difference = double{x[i]} - double{level_of} * double{c.scale};
          lost += difference * difference;
          whole += double{x[i]} * double{x[i]};
        }
        EXPECT_NEAR(squares[0], lost, 1e-5 * lost) << level->name << n;
        EXPECT_NEAR(squares[1], whole, 1e-5 * whole) << level->name << n;
      }
}

}  // namespace
}  // namespace quaver
