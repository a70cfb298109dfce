// The CPU's DeviceOps: cutting, attention, and the table of backends.
#include "core/threads.h"
#include "kernels/cpu/limits.h"
#include "kernels/kernel_testing.h"

namespace quaver {
namespace {

struct Attention {
  std::int64_t rows, keys, heads, kv_heads, d;
  bool mask = false, slopes = false;
};

void check(const Attention& c) {
  const std::int64_t width = c.heads * c.d, kv_width = c.kv_heads * c.d;
  const Guarded<float> q(Numbers(1).floats(c.rows * width, 3));
  const Guarded<float> k(Numbers(2).floats(c.keys * kv_width));
  const Guarded<float> v(Numbers(3).floats(c.keys * kv_width)), slopes(Numbers(4).floats(c.heads));
  std::vector<std::uint8_t> visible;
  for (std::int64_t j = 0; j < c.keys; ++j) visible.push_back(!c.mask || (j > 2 && j % 5 != 0));
  const Guarded<std::uint8_t> mask(visible);
  const Guarded<float> y(c.rows * width);
  const float scale = 0.4f;
  cpu_ops().attention({}, {.q = q.mem(),
                           .k = k.mem(),
                           .v = v.mem(),
                           .y = y.mem(),
                           .mask = c.mask ? mask.mem() : Mem{},
                           .slopes = c.slopes ? slopes.mem() : Mem{},
                           .rows = c.rows,
                           .keys = c.keys,
                           .heads = c.heads,
                           .kv_heads = c.kv_heads,
                           .head_dim = c.d,
                           .scale = scale});
  for (std::int64_t i = 0; i < c.rows; ++i)
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const std::int64_t kv = h / (c.heads / c.kv_heads);
      std::vector<double> p;
      double sum = 0, top = -1e300, position = 0;
      for (std::int64_t j = 0; j <= c.keys - c.rows + i; ++j) {
        double s = 0;
        for (std::int64_t e = 0; e < c.d; ++e)
          s += double{q[i * width + h * c.d + e]} * k[j * kv_width + kv * c.d + e];
        s = s * scale + (c.slopes ? slopes[h] * position : 0.0);
        const bool seen = visible[static_cast<std::size_t>(j)] != 0;
        position += seen;
        p.push_back(seen ? s : -1e301);
        top = std::max(top, p.back());
      }
      for (double& s : p) s = top <= -1e300 || s < -1e300 ? 0 : std::exp(s - top), sum += s;
      for (std::int64_t e = 0; e < c.d; ++e) {
        double want = 0;
        for (std::size_t j = 0; j < p.size(); ++j)
          want += p[j] * v[static_cast<std::int64_t>(j) * kv_width + kv * c.d + e];
        ASSERT_NEAR(y[i * width + h * c.d + e], sum == 0 ? 0 : want / sum, 1e-5)
            << c.rows << " " << c.keys << " row " << i << " head " << h;
      }
    }
}

TEST(Attention, AgainstDouble) {
  check({1, 1, 1, 1, 8});
  check({1, 77, 4, 2, 64});
  check({3, 50, 2, 1, 7});
  check({4, 4, 2, 2, 16});
  check({49, 49, 3, 3, 20});
  check({100, 131, 4, 2, 33});
  check({60, 60, 4, 4, 16, true, false});
  check({60, 70, 4, 1, 16, false, true});
  check({53, 60, 2, 2, 16, true, true});
  check({1, 60, 2, 2, 16, true, true});
  check({2, 2, 1, 1, 8, true, false});  // every key hidden
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
  cpu_ops().columns(
      {}, {.x = x.mem(), .y = y.mem(), .rows = rows, .cols = cols, .begin = 11, .count = 30});
  for (std::int64_t i = 0; i < rows * 30; ++i) ASSERT_EQ(y[i], x[i / 30 * cols + 11 + i % 30]);

  cpu_ops().add({}, {.a = x.mem(), .b = x.mem(), .y = y.mem(), .size = rows * cols});
  for (std::int64_t i = 0; i < rows * cols; ++i) ASSERT_EQ(y[i], 2 * x[i]);

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
