// The CPU's DeviceOps: cutting, attention, and the table of backends.
#include "core/threads.h"
#include "kernels/cpu/limits.h"
#include "kernels/kernel_testing.h"

namespace quaver {
namespace {

struct Attention {
  std::int64_t rows, keys, heads, kv_heads, d;
  bool mask = false, slopes = false;
  std::int64_t window = 0;
  float soft_cap = 0;
  bool sinks = false;
  std::int64_t value_dim = 0;
};

struct AttentionData {
  explicit AttentionData(const Attention& c)
      : dv(c.value_dim > 0 ? c.value_dim : c.d),
        q(Numbers(1).floats(c.rows * c.heads * c.d, 3)),
        k(Numbers(2).floats(c.keys * c.kv_heads * c.d)),
        v(Numbers(3).floats(c.keys * c.kv_heads * dv)),
        slopes(Numbers(4).floats(c.heads)),
        sinks(Numbers(5).floats(c.heads)),
        y(c.rows * c.heads * dv) {
    for (std::int64_t j = 0; j < c.keys; ++j) visible.push_back(!c.mask || (j > 2 && j % 5 != 0));
  }
  std::int64_t dv;
  Guarded<float> q, k, v, slopes, sinks, y;
  std::vector<std::uint8_t> visible;
};

constexpr float test_scale = 0.4f;

// The output of one query of one head, in double.
std::vector<double> attended(const Attention& c, const AttentionData& in, std::int64_t i,
                             std::int64_t h) {
  const std::int64_t kv = h / (c.heads / c.kv_heads), at = c.keys - c.rows + i;
  std::vector<double> y(static_cast<std::size_t>(in.dv));
  double sum = c.sinks ? std::exp(double{in.sinks[h]}) : 0, position = 0;
  for (std::int64_t j = 0; j <= at; ++j) {
    if (!in.visible[static_cast<std::size_t>(j)]) continue;
    const double slope = c.slopes ? in.slopes[h] * position++ : 0;
    if (c.window > 0 && at - j >= c.window) continue;
    double s = 0;
    for (std::int64_t e = 0; e < c.d; ++e)
      s += double{in.q[(i * c.heads + h) * c.d + e]} * in.k[(j * c.kv_heads + kv) * c.d + e];
    s *= test_scale;
    if (c.soft_cap > 0) s = c.soft_cap * std::tanh(s / c.soft_cap);
    const double p = std::exp(s + slope);
    sum += p;
    for (std::int64_t e = 0; e < in.dv; ++e)
      y[static_cast<std::size_t>(e)] += p * in.v[(j * c.kv_heads + kv) * in.dv + e];
  }
  for (double& v : y) v = sum == 0 ? 0 : v / sum;
  return y;
}

void check(const Attention& c) {
  const AttentionData in(c);
  const Guarded<std::uint8_t> mask(in.visible);
  cpu_ops().attention({}, {.q = in.q.mem(),
                           .k = in.k.mem(),
                           .v = in.v.mem(),
                           .y = in.y.mem(),
                           .mask = c.mask ? mask.mem() : Mem{},
                           .slopes = c.slopes ? in.slopes.mem() : Mem{},
                           .sinks = c.sinks ? in.sinks.mem() : Mem{},
                           .rows = c.rows,
                           .keys = c.keys,
                           .heads = c.heads,
                           .kv_heads = c.kv_heads,
                           .head_dim = c.d,
                           .value_dim = c.value_dim,
                           .window = c.window,
                           .scale = test_scale,
                           .soft_cap = c.soft_cap});
  for (std::int64_t i = 0; i < c.rows; ++i)
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const std::vector<double> want = attended(c, in, i, h);
      for (std::int64_t e = 0; e < in.dv; ++e)
        ASSERT_NEAR(in.y[(i * c.heads + h) * in.dv + e], want[static_cast<std::size_t>(e)], 1e-5)
            << c.rows << " " << c.keys << " row " << i << " head " << h;
    }
}

TEST(Attention, AgainstDouble) {
  check({1, 1, 1, 1, 8});
  check({1, 77, 4, 2, 64});
  check({3, 50, 2, 1, 7});
  check({9, 50, 2, 1, 7});
  check({4, 4, 2, 2, 16});
  check({49, 49, 3, 3, 20});
  check({100, 131, 4, 2, 33});
  check({60, 60, 4, 4, 16, true, false});
  check({60, 70, 4, 1, 16, false, true});
  check({53, 60, 2, 2, 16, true, true});
  check({1, 60, 2, 2, 16, true, true});
  check({2, 2, 1, 1, 8, true, false});  // every key hidden
}

TEST(Attention, WindowCapSinksAndOtherValues) {
  for (const std::int64_t rows : {1, 3, 12, 60}) {
    check({rows, 130, 4, 2, 16, false, false, 1});
    check({rows, 130, 4, 2, 16, true, false, 17});
    check({rows, 130, 2, 2, 16, false, true, 200});
    check({rows, 70, 4, 2, 16, false, false, 0, 5.0f});
    check({rows, 70, 4, 2, 16, true, true, 20, 1.5f});
    check({rows, 70, 4, 2, 16, false, false, 0, 0, true});
    check({rows, 70, 4, 2, 16, true, true, 9, 3.0f, true});
    check({rows, 70, 4, 4, 24, true, false, 0, 0, false, 16});
    check({rows, 70, 4, 2, 16, false, false, 33, 0, true, 40});
  }
}

// Each of some queries, beside itself alone with the keys that it sees.
TEST(Attention, EightQueriesHaveTheBitsTheyHaveAlone) {
  const std::int64_t keys = 90, heads = 4, d = 16;
  const Guarded<float> q(Numbers(5).floats(8 * heads * d)), k(Numbers(6).floats(keys * 2 * d)),
      v(Numbers(7).floats(keys * 2 * d)), slopes(Numbers(8).floats(heads));
  for (const std::int64_t window : {0, 40})
    for (const bool alibi : {false, true})
      for (const std::int64_t rows : {2, 4, 5, 8}) {
        const auto attend = [&](std::int64_t first, std::int64_t count, std::int64_t seen) {
          const Guarded<float> y(count * heads * d);
          cpu_ops().attention({}, {.q = {q.data() + first * heads * d, 0},
                                   .k = k.mem(),
                                   .v = v.mem(),
                                   .y = y.mem(),
                                   .slopes = alibi ? slopes.mem() : Mem{},
                                   .rows = count,
                                   .keys = seen,
                                   .heads = heads,
                                   .kv_heads = 2,
                                   .head_dim = d,
                                   .window = window,
                                   .scale = test_scale,
                                   .soft_cap = window > 0 ? 5.0f : 0.0f});
          return y.values();
        };
        const std::vector<float> together = attend(0, rows, keys);
        for (std::int64_t i = 0; i < rows; ++i) {
          const auto begin = together.begin() + i * heads * d;
          ASSERT_EQ(std::vector<float>(begin, begin + heads * d), attend(i, 1, keys - rows + i + 1))
              << "row " << i << " of " << rows << ", window " << window << (alibi ? ", alibi" : "");
        }
      }
}

TEST(Attention, SameBitsForAnyNumberOfThreads) {
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    set_thread_count(threads);
    const Guarded<float> q(Numbers(5).floats(130 * 64)), k(Numbers(6).floats(130 * 64)),
        y(130 * 64);
    cpu_ops().attention({}, {.q = q.mem(),
                             .k = k.mem(),
                             .v = k.mem(),
                             .y = y.mem(),
                             .rows = 130,
                             .keys = 130,
                             .heads = 4,
                             .kv_heads = 4,
                             .head_dim = 16,
                             .scale = 0.25f});
    if (first.empty()) first = y.values();
    EXPECT_EQ(y.values(), first) << threads;
  }
  set_thread_count(2);
}

TEST(Ops, RowsAndElements) {
  const std::int64_t rows = 300, cols = 70;
  const Guarded<float> x(Numbers(7).floats(rows * cols)), y(rows * cols), gain(cols);
  cpu_ops().columns({}, {.x = x.mem(),
                         .y = y.mem(),
                         .rows = rows,
                         .cols = cols,
                         .begin = 11,
                         .count = 30,
                         .y_cols = 30});
  for (std::int64_t i = 0; i < rows * 30; ++i) ASSERT_EQ(y[i], x[i / 30 * cols + 11 + i % 30]);

  cpu_ops().add({}, {.a = x.mem(), .b = x.mem(), .y = y.mem(), .size = rows * cols});
  for (std::int64_t i = 0; i < rows * cols; ++i) ASSERT_EQ(y[i], 2 * x[i]);

  for (const auto& [function, want] : std::initializer_list<std::pair<Map, float (*)(float)>>{
           {Map::scale, [](float v) { return v * 0.3f; }},
           {Map::soft_cap, [](float v) { return 0.3f * std::tanh(v / 0.3f); }},
           {Map::clip, [](float v) { return std::clamp(v, -0.3f, 0.3f); }}}) {
    cpu_ops().map({}, {.x = x.mem(), .y = y.mem(), .size = 100, .function = function, .a = 0.3f});
    for (std::int64_t i = 0; i < 100; ++i) ASSERT_FLOAT_EQ(y[i], want(x[i]));
  }

  std::vector<std::int32_t> order;
  for (std::int32_t i = 0; i < 41; ++i) order.push_back(i * 7 % 300);
  const Guarded<std::int32_t> index(order);
  cpu_ops().gather({}, {.table = x.mem(),
                        .index = index.mem(),
                        .y = y.mem(),
                        .rows = 41,
                        .cols = cols,
                        .table_rows = rows});
  for (std::int64_t i = 0; i < 41 * cols; ++i)
    ASSERT_EQ(y[i], x[index[i / cols] * cols + i % cols]);

  const Guarded<float> angles(Numbers(8).floats(rows * 10));
  cpu_ops().rope({}, {.x = x.mem(),
                      .cos = angles.mem(),
                      .sin = angles.mem(),
                      .y = y.mem(),
                      .rows = rows,
                      .heads = 2,
                      .head_dim = 35,
                      .half = 10});
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 20; c < 35; ++c) ASSERT_EQ(y[r * cols + 35 + c], x[r * cols + 35 + c]);
  ASSERT_NEAR(y[35 + 3], angles[3] * (x[35 + 3] - x[35 + 13]), 1e-6);

  cpu_ops().activation({}, {.x = x.mem(), .y = y.mem(), .size = rows * cols});
  for (std::int64_t i = 0; i < rows * cols; ++i) ASSERT_EQ(y[i], std::max(x[i], 0.0f));

  const Guarded<float> row(cols);
  cpu_ops().rms_norm({}, {.x = x.mem(), .y = y.mem(), .rows = rows, .cols = cols, .eps = 1e-6f});
  cpu::kernels().rms_norm(x.data() + 299 * cols, nullptr, row.data(), cols, 1e-6f);
  for (std::int64_t c = 0; c < cols; ++c) ASSERT_EQ(y[299 * cols + c], row[c]);
  cpu_ops().layer_norm({}, {.x = x.mem(), .y = y.mem(), .rows = rows, .cols = cols, .eps = 1e-6f});
  cpu::kernels().layer_norm(x.data() + 299 * cols, nullptr, nullptr, row.data(), cols, 1e-6f);
  for (std::int64_t c = 0; c < cols; ++c) ASSERT_EQ(y[299 * cols + c], row[c]);
}

TEST(Ops, DenormalsCountAsZeroOnlyInside) {
  const Guarded<float> a(std::vector<float>(8, 1e-40f)), y(std::vector<float>(8, 1.0f));
  cpu_ops().add({}, {.a = a.mem(), .b = a.mem(), .y = y.mem(), .size = 8});
  EXPECT_EQ(y.values(), std::vector<float>(8, 0.0f));
  volatile float tiny = 1e-40f;
  EXPECT_GT(tiny * 1.0f, 0.0f);
}

TEST(Backends, CpuIsFirstAndRowsAreAppended) {
  ASSERT_GE(backends().size(), 1u);
  EXPECT_EQ(backends()[0], &cpu_backend);
  static const Backend other = {.name = "other"};
  const std::uint8_t number = add_backend(other);
  EXPECT_EQ(backends()[number]->name, "other");
  EXPECT_EQ(backends().size(), number + 1u);
}

TEST(Backends, MemoryGoesThereAndBack) {
  const std::vector<float> values = Numbers(9).floats(50);
  const auto one = cpu_backend.allocate(0, 400), two = cpu_backend.allocate(0, 400);
  cpu_backend.to_device({}, {one.get(), 8}, values.data(), 200);
  cpu_backend.copy({}, {two.get(), 4}, {one.get(), 8}, 200);
  std::vector<float> back(50);
  cpu_backend.to_host({}, back.data(), {two.get(), 4}, 200);
  cpu_backend.wait({});
  EXPECT_EQ(back, values);
}

TEST(Select, TheLevelsOfThisMachine) {
  EXPECT_EQ(cpu::levels().front().name, "generic");
  EXPECT_TRUE(cpu::levels().front().available);
  const auto names = cpu::available_isas();
  EXPECT_NE(std::find(names.begin(), names.end(), cpu::selected_isa()), names.end());
}

TEST(Limits, AreMeasured) {
  EXPECT_GT(cpu::fma_gflops(1), 0);
  EXPECT_GT(cpu::read_gbytes(2), 0);
}

}  // namespace
}  // namespace quaver
