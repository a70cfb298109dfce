// Matrix products: against double precision, and to the bit between instruction sets and threads.
#include "core/threads.h"
#include "kernels/kernel_testing.h"

namespace quaver {
namespace {

using cpu::Level;

// The same chain of multiply-adds for every output, in order.
std::vector<float> chain(const std::vector<float>& x, const std::vector<float>& w, std::int64_t m,
                         std::int64_t n, std::int64_t k, const std::vector<float>& start,
                         bool negate) {
  std::vector<float> y(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(i * n + j);
      float sum = start.empty() ? 0.0f : start[at];
      for (std::int64_t p = 0; p < k; ++p) {
        const float a = x[static_cast<std::size_t>(i * k + p)];
        sum = std::fma(negate ? -a : a, w[static_cast<std::size_t>(j * k + p)], sum);
      }
      y[at] = sum;
    }
  return y;
}

std::vector<float> transposed(const std::vector<float>& x, std::int64_t rows, std::int64_t cols) {
  std::vector<float> t(x.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      t[static_cast<std::size_t>(c * rows + r)] = x[static_cast<std::size_t>(r * cols + c)];
  return t;
}

struct Size {
  std::int64_t m, n, k;
};
const Size sizes[] = {{5, 1, 1},   {9, 16, 8},    {10, 17, 9},  {12, 32, 256},  {13, 33, 257},
                      {1, 47, 31}, {101, 5, 513}, {97, 259, 3}, {49, 130, 300}, {193, 70, 64}};

class Threads : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_thread_count(GetParam()); }
  void TearDown() override { set_thread_count(2); }
};

TEST_P(Threads, EveryLayoutIsTheChainToTheBit) {
  for (const auto& [m, n, k] : sizes) {
    const auto x = Numbers(1).floats(m * k), w = Numbers(2).floats(n * k);
    const auto start = Numbers(3).floats(m * n);
    const Guarded<float> xs(x), ws(w), xt(transposed(x, m, k)), wt(transposed(w, n, k));
    for (const auto into : {GemmArgs::Into::store, GemmArgs::Into::add, GemmArgs::Into::subtract}) {
      const bool store = into == GemmArgs::Into::store;
      const auto want = chain(x, w, m, n, k, store ? std::vector<float>{} : start,
                              into == GemmArgs::Into::subtract);
      for (const bool x_turned : {false, true})
        for (const bool w_turned : {false, true}) {
          if (m <= 8 && store && !w_turned) continue;  // dot products: another order
          const Guarded<float> y(start);
          cpu_ops().gemm({}, {.x = x_turned ? xt.mem() : xs.mem(),
                              .w = w_turned ? wt.mem() : ws.mem(),
                              .y = y.mem(),
                              .m = m,
                              .n = n,
                              .k = k,
                              .x_row = x_turned ? 1 : k,
                              .x_col = x_turned ? m : 1,
                              .w_row = w_turned ? 1 : k,
                              .w_col = w_turned ? n : 1,
                              .ldy = n,
                              .into = into});
          EXPECT_EQ(y.values(), want)
              << m << " x " << n << " x " << k << " " << x_turned << w_turned << int(into);
        }
    }
  }
}

TEST_P(Threads, LowerHalf) {
  const std::int64_t n = 150, k = 37;
  const auto x = Numbers(4).floats(n * k);
  const auto want = chain(x, x, n, n, k, std::vector<float>(n * n, 1.0f), false);
  const Guarded<float> xs(x), y(std::vector<float>(n * n, 1.0f));
  cpu_ops().gemm({}, {.x = xs.mem(),
                      .w = xs.mem(),
                      .y = y.mem(),
                      .m = n,
                      .n = n,
                      .k = k,
                      .x_row = k,
                      .w_row = k,
                      .ldy = n,
                      .into = GemmArgs::Into::add,
                      .lower_only = true});
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j <= i; ++j)
      ASSERT_EQ(y[i * n + j], want[static_cast<std::size_t>(i * n + j)]) << i << " " << j;
}

TEST_P(Threads, HalfWeightsBiasAndRowStride) {
  for (const std::int64_t m : {2, 3, 8, 11}) {
    const std::int64_t n = 45, k = 75, ldy = n + 3;
    const auto x = Numbers(5).floats(m * k), raw = Numbers(6).floats(n * k);
    const Guarded<float> xs(x), bias(Numbers(7).floats(n));
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
      std::vector<float> w;
      std::vector<std::uint16_t> bits;
      for (const float v : raw) {
        const Half half = to_half(v);
        const BFloat16 brain = to_bfloat16(v);
        w.push_back(type == DType::f16    ? to_float(half)
                    : type == DType::bf16 ? to_float(brain)
                                          : v);
        bits.push_back(type == DType::f16 ? half.bits : brain.bits);
      }
      const Guarded<float> plain(w);
      const Guarded<std::uint16_t> halves(bits);
      const Guarded<float> y(std::vector<float>(static_cast<std::size_t>(m * ldy), 77.0f));
      cpu_ops().gemm({}, {.x = xs.mem(),
                          .w = type == DType::f32 ? plain.mem() : halves.mem(),
                          .y = y.mem(),
                          .bias = bias.mem(),
                          .m = m,
                          .n = n,
                          .k = k,
                          .x_row = k,
                          .w_row = k,
                          .ldy = ldy,
                          .w_type = type});
      const auto want = chain(x, w, m, n, k, {}, false);
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < ldy; ++j) {
          if (j >= n)
            EXPECT_EQ(y[i * ldy + j], 77.0f);
          else
            EXPECT_NEAR(y[i * ldy + j], want[static_cast<std::size_t>(i * n + j)] + bias[j], 1e-5);
        }
    }
  }
}

// What speculative decoding rests on: a guess is judged by the bits that its row has alone.
TEST(Gemm, EightRowsHaveTheBitsTheyHaveAlone) {
  for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{45, 75}, {130, 256}, {7, 33}}) {
    const Guarded<float> x(Numbers(8).floats(8 * k)), bias(Numbers(9).floats(n));
    const auto raw = Numbers(10).floats(n * k);
    std::vector<std::uint16_t> bits[2];
    for (const float v : raw) {
      bits[0].push_back(to_half(v).bits);
      bits[1].push_back(to_bfloat16(v).bits);
    }
    const Guarded<float> plain(raw);
    const Guarded<std::uint16_t> halves(bits[0]), brains(bits[1]);
    for (const auto& [type, w] : {std::pair{DType::f32, plain.mem()},
                                  {DType::f16, halves.mem()},
                                  {DType::bf16, brains.mem()}}) {
      const auto rows = [&](std::int64_t first, std::int64_t m, float* y) {
        cpu_ops().gemm({}, {.x = {x.data() + first * k, 0},
                            .w = w,
                            .y = {y, 0},
                            .bias = bias.mem(),
                            .m = m,
                            .n = n,
                            .k = k,
                            .x_row = k,
                            .w_row = k,
                            .ldy = n,
                            .w_type = type});
      };
      const Guarded<float> alone(8 * n);
      for (std::int64_t i = 0; i < 8; ++i) rows(i, 1, alone.data() + i * n);
      for (std::int64_t m = 2; m <= 8; ++m) {
        const Guarded<float> y(m * n);
        rows(0, m, y.data());
        for (std::int64_t i = 0; i < m * n; ++i)
          ASSERT_EQ(y[i], alone[i]) << type << " " << m << " rows, n " << n << " k " << k;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Gemm, Threads, ::testing::Values(1, 2, 3));

// Kernels alone, at every level of this machine.
TEST(GemmLevels, TilesAreTheChainToTheBit) {
  for (const Level* level : usable_levels()) {
    const cpu::Kernels& kernel = level->table;
    const std::int64_t mr = kernel.tile_rows, nr = kernel.tile_cols;
    for (const std::int64_t k : {0, 1, 7, 8, 67})
      for (const std::int64_t m : {std::int64_t{1}, mr - 1, mr})
        for (const std::int64_t n : {std::int64_t{1}, nr / 2 + 1, nr}) {
          const auto x = Numbers(8).floats(m * k), w = Numbers(9).floats(n * k);
          const Guarded<float> xs(x), ws(w), bias(Numbers(10).floats(n));
          const Guarded<float> xp(mr * k), wp(nr * k), y(Numbers(11).floats(m * n));
          auto want = chain(x, w, m, n, k, y.values(), true);
          for (std::int64_t i = 0; i < m * n; ++i) want[static_cast<std::size_t>(i)] += bias[i % n];
          kernel.pack({.data = xs.data(), .row = k}, 0, m, k, mr, true, xp.data());
          kernel.pack({.data = ws.data(), .row = k}, 0, n, k, nr, false, wp.data());
          kernel.tile({.x = xp.data(),
                       .w = wp.data(),
                       .y = y.data(),
                       .bias = bias.data(),
                       .ldy = n,
                       .m = m,
                       .n = n,
                       .k = k,
                       .resume = true});
          EXPECT_EQ(y.values(), want) << level->name << " " << m << " " << n << " " << k;
        }
  }
}

TEST(GemmLevels, DotsAreTheSameBitsEverywhere) {
  for (const std::int64_t k : {1, 31, 32, 33, 100, 259})
    for (const auto type : {cpu::Element::f32, cpu::Element::f16, cpu::Element::bf16}) {
      const std::int64_t m = 3, n = 5;
      const auto raw = Numbers(12).floats(n * k);
      std::vector<std::uint16_t> bits;
      for (const float v : raw)
        bits.push_back(type == cpu::Element::f16 ? to_half(v).bits : to_bfloat16(v).bits);
      const Guarded<float> x(Numbers(13).floats(m * k)), w(raw);
      const Guarded<std::uint16_t> halves(bits);
      std::vector<float> first;
      for (const Level* level : usable_levels()) {
        const Guarded<float> y(m * n);
        level->table.dot({.x = x.data(),
                          .w = type == cpu::Element::f32 ? static_cast<void*>(w.data())
                                                         : static_cast<void*>(halves.data()),
                          .bias = nullptr,
                          .y = y.data(),
                          .x_row = k,
                          .w_row = k,
                          .ldy = n,
                          .m = m,
                          .n = n,
                          .k = k,
                          .type = type});
        if (first.empty()) first = y.values();
        EXPECT_EQ(y.values(), first) << level->name << " " << k;
        double want = 0;
        for (std::int64_t p = 0; p < k; ++p) want += double{x[p]} * w[p];
        EXPECT_NEAR(y[0], want, 0.01 * std::sqrt(static_cast<double>(k)));
      }
    }
}

TEST(Gemm, NothingToAdd) {
  const Guarded<float> y(std::vector<float>(6, 3.0f)), bias(std::vector<float>{1, 2, 3});
  cpu_ops().gemm({}, {.y = y.mem(), .m = 2, .n = 3, .k = 0, .ldy = 3, .into = GemmArgs::Into::add});
  EXPECT_EQ(y.values(), std::vector<float>(6, 3.0f));
  cpu_ops().gemm({}, {.y = y.mem(), .bias = bias.mem(), .m = 2, .n = 3, .k = 0, .ldy = 3});
  EXPECT_EQ(y.values(), (std::vector<float>{1, 2, 3, 1, 2, 3}));
  cpu_ops().gemm({}, {.m = 0, .n = 3, .k = 4, .ldy = 3});
}

}  // namespace
}  // namespace quaver
