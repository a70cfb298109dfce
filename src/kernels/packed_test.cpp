// Products with gptq weights, from a packer of the test's own.
#include "kernels/kernel_testing.h"

namespace quaver {
namespace {

using cpu::Level;

struct Case {
  int bits = 4;
  std::int64_t n = 64, k = 128, group = 32;
  bool symmetric = false, shuffled = false, v2 = false, planar = false;
};

struct Sample {
  Packed packed;
  std::vector<float> values;  // [n, k], dequantized
};

void put(std::vector<std::uint32_t>& words, std::int64_t first, std::int64_t stride, int bits,
         std::int64_t i, std::uint32_t value) {
  for (int b = 0; b < bits; ++b) {
    const std::int64_t at = i * bits + b;
    const auto word = static_cast<std::size_t>(first + at / 32 * stride);
    words[word] |= (value >> b & 1) << (at % 32);
  }
}

// Bit by bit: field i of 32, lowest bits first in planes of these widths.
void put_in_planes(std::vector<std::uint32_t>& words, std::int64_t first, std::int64_t stride,
                   int bits, std::int64_t i, std::uint32_t value) {
  const std::vector<int> widths = bits == 3   ? std::vector{2, 1}
                                  : bits == 5 ? std::vector{4, 1}
                                  : bits == 6 ? std::vector{4, 2}
                                  : bits == 7 ? std::vector{4, 2, 1}
                                              : std::vector{bits};
  std::int64_t word = i / 32 * bits;
  int shift = 0;
  for (const int width : widths) {
    for (int b = 0; b < width; ++b) {
      const std::int64_t at = i % 32 * width + b;
      words[static_cast<std::size_t>(first + (word + at / 32) * stride)] |=
          (value >> (shift + b) & 1) << (at % 32);
    }
    word += width;
    shift += width;
  }
}

Sample make(const Case& c) {
  Numbers random(static_cast<std::uint32_t>(c.bits * 100 + c.k));
  const std::int64_t size = c.group < 0 ? c.k : c.group, groups = (c.k + size - 1) / size;
  std::vector<std::uint32_t> codes(static_cast<std::size_t>(c.k * c.bits / 32 * c.n));
  std::vector<std::uint32_t> zeros(static_cast<std::size_t>(groups * (c.n * c.bits / 32)));
  std::vector<Half> scales;
  std::vector<std::int32_t> index;
  const auto place = c.planar ? put_in_planes : put;
  const std::uint32_t top = (1u << c.bits) - 1;
  std::vector<float> zero;
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t j = 0; j < c.n; ++j) {
      const std::uint32_t z = c.symmetric ? (top + 1) / 2 : 1 + random.bits() % top;
      place(zeros, g * (c.n * c.bits / 32), 1, c.bits, j, z - (c.v2 || c.planar ? 0 : 1));
      zero.push_back(static_cast<float>(z));
      scales.push_back(to_half(0.01f + 0.01f * std::abs(random.number())));
    }
  for (std::int64_t k = 0; k < c.k; ++k)
    index.push_back(static_cast<std::int32_t>((c.shuffled ? k * 7 % c.k : k) / size));
  Sample s;
  s.values.resize(static_cast<std::size_t>(c.n * c.k));
  for (std::int64_t j = 0; j < c.n; ++j)
    for (std::int64_t k = 0; k < c.k; ++k) {
      const std::uint32_t q = random.bits() >> 9 & top;
      place(codes, j, c.n, c.bits, k, q);
      const auto at = static_cast<std::size_t>(index[static_cast<std::size_t>(k)] * c.n + j);
      s.values[static_cast<std::size_t>(j * c.k + k)] =
          (static_cast<float>(q) - zero[at]) * to_float(scales[at]);
    }
  const auto words = [](const std::vector<std::uint32_t>& v, Shape shape) {
    const auto* ints = reinterpret_cast<const std::int32_t*>(v.data());
    return Tensor::of(std::span<const std::int32_t>(ints, v.size()), shape);
  };
  s.packed.format = &find_format(c.planar ? "gptq_p" : c.v2 ? "gptq_v2" : "gptq");
  s.packed.scheme = {.bits = c.bits, .group_size = c.group, .symmetric = c.symmetric};
  s.packed.rows = c.n;
  s.packed.cols = c.k;
  s.packed.parts["qweight"] = words(codes, {c.k * c.bits / 32, c.n});
  s.packed.parts["qzeros"] = words(zeros, {groups, c.n * c.bits / 32});
  s.packed.parts["scales"] = Tensor::of(std::span<const Half>(scales), {groups, c.n});
  s.packed.parts["g_idx"] = Tensor::of(std::span<const std::int32_t>(index), {c.k});
  return s;
}

void check(const Case& c) {
  const Sample s = make(c);
  for (const std::int64_t m : {1, 2, 3, 5, 8, 9, 20}) {
    const Guarded<float> x(Numbers(20).floats(m * c.k)), bias(Numbers(21).floats(c.n));
    const Guarded<float> dense(m * c.n), weight(s.values);
    // 9 rows at least: dot products sum in another order than panels.
    const std::int64_t rows = std::max<std::int64_t>(m, 9);
    auto padded = x.values();
    padded.resize(static_cast<std::size_t>(rows * c.k));
    const Guarded<float> px(padded), py(rows * c.n);
    cpu_ops().gemm({}, {.x = px.mem(),
                        .w = weight.mem(),
                        .y = py.mem(),
                        .bias = bias.mem(),
                        .m = rows,
                        .n = c.n,
                        .k = c.k,
                        .x_row = c.k,
                        .w_row = c.k,
                        .ldy = c.n});
    int ran = 0;
    for (const PackedGemm& kernel : cpu_ops().packed) {
      if (kernel.format != s.packed.format->name || !kernel.fits(s.packed, m)) continue;
      ++ran;
      const Guarded<float> y(m * c.n);
      kernel.run({}, {.x = x.mem(), .y = y.mem(), .bias = bias.mem(), .w = &s.packed, .m = m});
      if (m <= 8) {  // the last row, alone
        const Guarded<float> alone(c.n);
        kernel.run({}, {.x = {x.data() + (m - 1) * c.k, 0},
                        .y = alone.mem(),
                        .bias = bias.mem(),
                        .w = &s.packed,
                        .m = 1});
        for (std::int64_t j = 0; j < c.n; ++j)
          ASSERT_EQ(y[(m - 1) * c.n + j], alone[j]) << kernel.name << " " << c.bits << " " << m;
      }
      for (std::int64_t i = 0; i < m * c.n; ++i) {
        const std::string what = text(kernel.name, " bits ", c.bits, " group ", c.group, " m ", m,
                                      " n ", c.n, " k ", c.k, " at ", i);
        if (kernel.name == "gptq panels") {
          ASSERT_EQ(y[i], py[i]) << what;
        } else {
          ASSERT_NEAR(y[i], py[i], 2e-5 * std::sqrt(static_cast<double>(c.k)) * (1 << c.bits) / 16)
              << what;
        }
      }
    }
    EXPECT_EQ(ran, m <= 8 && !c.shuffled ? 2 : 1) << c.bits << " " << m << " " << c.shuffled;
  }
}

TEST(Packed, AllShapesOfGptq) {
  for (const int bits : {2, 3, 4, 8})
    for (const std::int64_t group : {std::int64_t{-1}, std::int64_t{32}, std::int64_t{64}})
      for (const bool symmetric : {true, false})
        for (const bool shuffled : {false, true})
          for (const bool v2 : {false, true}) {
            if (group < 0 && shuffled) continue;
            check({.bits = bits,
                   .n = 96,
                   .k = 160,
                   .group = group,
                   .symmetric = symmetric,
                   .shuffled = shuffled,
                   .v2 = v2});
          }
}

TEST(Packed, AllWidthsInPlanes) {
  for (int bits = 2; bits <= 8; ++bits)
    for (const std::int64_t group : {-1, 32, 64})
      for (const bool shuffled : {false, true})
        if (group > 0 || !shuffled)
          check({.bits = bits,
                 .n = 224,
                 .k = 160,
                 .group = group,
                 .shuffled = shuffled,
                 .planar = true});
}

TEST(Packed, OddWidths) {
  check({.bits = 8, .n = 4, .k = 4, .group = 4});
  check({.bits = 8, .n = 212, .k = 36, .group = 8});
  check({.bits = 4, .n = 200, .k = 72, .group = 24});
  check({.bits = 4, .n = 8, .k = 8, .group = -1});
  check({.bits = 2, .n = 176, .k = 48, .group = 16});
  check({.bits = 3, .n = 32, .k = 32, .group = 32});
  check({.bits = 3, .n = 160, .k = 96, .group = 64});
}

TEST(Packed, ParallelCutsAndBlocks) { check({.bits = 4, .n = 600, .k = 1024, .group = 128}); }

TEST(Packed, WrongPartsAreRefused) {
  const PackedGemm* panels = nullptr;
  for (const PackedGemm& kernel : cpu_ops().packed)
    if (kernel.name == "gptq panels") panels = &kernel;
  ASSERT_NE(panels, nullptr);
  const auto refused = [&](const char* name, const Tensor& part) {
    Sample s = make({});
    if (part)
      s.packed.parts[name] = part;
    else
      s.packed.parts.erase(name);
    const Guarded<float> x(128), y(64);
    EXPECT_THROW(panels->run({}, {.x = x.mem(), .y = y.mem(), .w = &s.packed, .m = 1}), Error)
        << name;
  };
  refused("qweight", {});
  refused("qweight", Tensor({16, 32}, DType::i32));
  refused("qzeros", Tensor({3, 8}, DType::i32));
  refused("scales", Tensor({4, 64}, DType::f32));
  Tensor index({128}, DType::i32);
  index.data<std::int32_t>()[5] = 4;
  refused("g_idx", index);
  index.data<std::int32_t>()[5] = -1;
  refused("g_idx", index);
}

// The kernels of every instruction set against the plain ones.
TEST(PackedLevels, DotsAndPanels) {
  for (const int bits : {2, 3, 4, 8})
    for (const Level* level : usable_levels()) {
      const Case c{.bits = bits, .n = 96, .k = 96, .group = 32};
      const Sample s = make(c);
      cpu::GptqWeight w;
      const Guarded<std::int32_t> codes(
          std::vector<std::int32_t>(s.packed.parts.at("qweight").data<std::int32_t>().begin(),
                                    s.packed.parts.at("qweight").data<std::int32_t>().end()));
      const Guarded<std::int32_t> zeros(
          std::vector<std::int32_t>(s.packed.parts.at("qzeros").data<std::int32_t>().begin(),
                                    s.packed.parts.at("qzeros").data<std::int32_t>().end()));
      w.codes = reinterpret_cast<const std::uint32_t*>(codes.data());
      w.zeros = reinterpret_cast<const std::uint32_t*>(zeros.data());
      w.scales = reinterpret_cast<const std::uint16_t*>(s.packed.parts.at("scales").host());
      w.group_of = s.packed.parts.at("g_idx").data<std::int32_t>().data();
      w.rows = c.n, w.cols = c.k, w.groups = 3, w.group_size = 32, w.zero_shift = 1,
      w.bits = w.block = bits;
      const cpu::Kernels& kernel = level->table;
      const std::int64_t width = kernel.tile_cols;
      const Guarded<float> scale(3 * width), zero(3 * width), panel(c.k * width);
      for (std::int64_t first = 0; first < c.n; first += width)
        for (const std::int64_t count :
             {std::int64_t{1}, width / 2, width / 2 + 1, std::min(width, c.n - first)}) {
          kernel.gptq_tables(w, first, count, width, scale.data(), zero.data());
          kernel.gptq_panel(w, first, count, scale.data(), zero.data(), panel.data());
          for (std::int64_t k = 0; k < c.k; ++k)
            for (std::int64_t j = 0; j < width; ++j)
              ASSERT_EQ(panel[k * width + j],
                        j < count ? s.values[static_cast<std::size_t>((first + j) * c.k + k)] : 0)
                  << level->name << " " << bits << " " << k << " " << j;
        }
      const std::int64_t m = 3;
      auto x = Numbers(30).floats(m * c.k);
      std::vector<float> sums(static_cast<std::size_t>(m * 3)), want;
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < c.n; ++j) {
          double total = 0;
          for (std::int64_t k = 0; k < c.k; ++k)
            total += double{x[static_cast<std::size_t>(i * c.k + k)]} *
                     s.values[static_cast<std::size_t>(j * c.k + k)];
          want.push_back(static_cast<float>(total));
        }
      for (std::int64_t i = 0; i < m * c.k; ++i) {
        float& v = x[static_cast<std::size_t>(i)];
        sums[static_cast<std::size_t>(i / c.k * 3 + i % c.k / 32)] += v;
        v = std::ldexp(v, -cpu::gptq_shift(bits, i % c.k));
      }
      const Guarded<float> xs(x), y(m * c.n), tables(2 * 3 * 64);
      kernel.gptq_dot(w, {.x = xs.data(),
                          .sums = sums.data(),
                          .bias = nullptr,
                          .y = y.data(),
                          .m = m,
                          .begin = 0,
                          .end = c.n,
                          .scales = tables.data(),
                          .zeros = tables.data() + 3 * 64});
      for (std::int64_t i = 0; i < m * c.n; ++i)
        ASSERT_NEAR(y[i], want[static_cast<std::size_t>(i)], 1e-4 * (1 << bits) / 16)
            << level->name << " " << bits << " " << i;
    }
}

}  // namespace
}  // namespace quaver
