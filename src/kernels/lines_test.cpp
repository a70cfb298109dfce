// Weights in lines: the layout by round trips, the kernels of each instruction set against the
// plain loops, to the bit, and the whole product against double precision.
#include "formats/lines.h"

#include "kernels/cpu/drivers.h"
#include "kernels/kernel_testing.h"

namespace quaver {
namespace {

using cpu::Kernels;
using cpu::LinesArgs;
using cpu::LinesInput;
using cpu::LinesWeight;

struct LinesCase {
  int bits = 4;
  std::int64_t rows = 48, cols = 256, group = 64;
  bool symmetric = true, shuffled = false;
};

std::vector<LinesCase> cases() {
  std::vector<LinesCase> all;
  for (int bits = 2; bits <= 8; ++bits)
    for (const std::int64_t group : {-1, 32, 64, 128, 192})
      for (const bool symmetric : {true, false}) {
        all.push_back({bits, 32, 384, group, symmetric, false});
        all.push_back({bits, 96, 384, group, symmetric, group > 0});
      }
  all.push_back({4, 40, 72, 16, false, false});  // groups of half a chunk, and a last one of a half
  all.push_back({4, 40, 72, 24, true, true});
  all.push_back({4, 8, 1312, -1, true, false});
  all.push_back({4, 24, 480, 160, false, false});  // five chunks share no divisor with four
  all.push_back({8, 16, 1056, 96, false, true});
  return all;
}

Quantized weight_of(const LinesCase& c) {
  Numbers random(static_cast<std::uint32_t>(c.bits * 1000 + c.cols));
  const Scheme scheme{c.bits, c.group, c.symmetric};
  const std::int64_t groups = group_count(scheme, c.cols);
  Quantized q{scheme,
              c.rows,
              c.cols,
              Tensor({c.rows, c.cols}, DType::u8),
              Tensor({c.rows, groups}),
              Tensor({c.rows, groups}),
              {}};
  const std::uint32_t top = (1u << c.bits) - 1;
  for (auto& code : q.codes.data<std::uint8_t>())
    code = static_cast<std::uint8_t>(random.bits() >> 7 & top);
  for (float& s : q.scales.data<float>()) s = to_float(to_half(0.02f * random.number()));
  for (float& z : q.zeros.data<float>())
    z = c.symmetric ? static_cast<float>((top + 1) / 2)
                    : static_cast<float>(random.bits() % (top + 1));
  if (c.shuffled) {
    q.group_index = Tensor({c.cols}, DType::i32);
    for (std::int64_t k = 0; k < c.cols; ++k)
      q.group_index.data<std::int32_t>()[static_cast<std::size_t>(k)] =
          static_cast<std::int32_t>((k * 7 % c.cols) / c.group);
  }
  return q;
}

std::string name_of(const LinesCase& c) {
  return text(c.bits, " bits, ", c.rows, " x ", c.cols, ", group ", c.group,
              c.symmetric ? "" : ", asym", c.shuffled ? ", shuffled" : "");
}

TEST(Lines, HoldTheSameWeight) {
  for (const LinesCase& c : cases()) {
    SCOPED_TRACE(name_of(c));
    const Quantized a = weight_of(c);
    const Packed packed = lines.pack(a);
    for (const std::int64_t row : {std::int64_t{0}, c.rows / 2 + 1}) {
      const Quantized b = lines.unpack(packed, row, c.rows - row);
      const auto same = [&](const Tensor& x, const Tensor& y, auto type) {
        using T = decltype(type);
        const auto whole = x.data<T>();
        const auto part = y.data<T>();
        EXPECT_TRUE(std::ranges::equal(whole.last(part.size()), part));
      };
      same(a.codes, b.codes, std::uint8_t{});
      same(a.scales, b.scales, 0.0f);
      same(a.zeros, b.zeros, 0.0f);
      ASSERT_EQ(static_cast<bool>(a.group_index), static_cast<bool>(b.group_index));
      if (a.group_index) same(a.group_index, b.group_index, std::int32_t{});
    }
    for (const PartInfo& part : lines.parts(packed.scheme, c.rows, c.cols)) {
      if (const auto found = packed.parts.find(std::string(part.name)); found != packed.parts.end())
        EXPECT_EQ(found->second.shape(), part.shape) << part.name;
      else
        EXPECT_EQ(part.freedom, PartInfo::optional) << part.name;
    }
    EXPECT_EQ(packed.parts.contains("zeros"), !c.symmetric);
  }
}

TEST(Lines, LeaveAloneWhatTheyCannotHold) {
  const Format& gptq = find_format("gptq");
  Packed p = gptq.pack(weight_of({}));
  const auto found = in_lines(p);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->format, &lines);
  Tensor& scales = p.parts.at("scales");
  Tensor wide = to_f32(scales);
  wide.data<float>()[3] = 0.1f;
  scales = wide;
  EXPECT_FALSE(in_lines(p).has_value());
  p = gptq.pack(weight_of({4, 48, 256, 64, true, true}));
  EXPECT_TRUE(in_lines(p).has_value());
  p.parts.at("g_idx").data<std::int32_t>()[0] = 1;
  EXPECT_FALSE(in_lines(p).has_value());
}

// A weight in guarded memory, as the kernels see it.
struct LinesSample {
  Guarded<std::uint8_t> lines;
  Guarded<std::uint16_t> scales, zeros;
  LinesWeight w;

  template <class T>
  static std::vector<T> bytes_of(const Packed& p, const char* part) {
    const auto found = p.parts.find(part);
    if (found == p.parts.end()) return {};
    const auto* from = reinterpret_cast<const T*>(found->second.host());
    return {from, from + found->second.bytes() / sizeof(T)};
  }
  explicit LinesSample(const Packed& p)
      : lines(bytes_of<std::uint8_t>(p, "lines")),
        scales(bytes_of<std::uint16_t>(p, "scales")),
        zeros(bytes_of<std::uint16_t>(p, "zeros")) {
    const LinesShape s = lines_shape(p.scheme, p.rows, p.cols);
    w = {.lines = lines.data(),
         .scales = scales.data(),
         .zeros = p.parts.contains("zeros") ? zeros.data() : nullptr,
         .rows = p.rows,
         .chunks = s.chunks,
         .groups = s.groups,
         .group_chunks = s.group_chunks,
         .last_chunks = s.last_chunks,
         .bits = p.scheme.bits};
  }
};

TEST(Lines, KernelsAgreeToTheBit) {
  const Kernels plain = cpu::generic();
  for (const LinesCase& c : cases()) {
    const LinesSample s(lines.pack(weight_of(c)));
    const std::int64_t width = s.w.chunks * 32, blocks = (c.rows + 15) / 16;
    for (const std::int64_t m : {1, 2, 3, 4, 7, 13}) {
      const Guarded<float> x(Numbers(7).floats(m * width, 3)), bias(Numbers(8).floats(c.rows));
      const auto computed = [&](const Kernels& k, bool many) {
        const std::int64_t row_bytes = width * cpu::lines_input_planes(c.bits);
        const Guarded<std::int8_t> bytes(m * row_bytes);
        const Guarded<float> scales(m * s.w.groups), y(m * c.rows);
        const Guarded<std::int32_t> sums(m * s.w.groups);
        const Guarded<std::uint8_t> panel(cpu::lines_room);
        for (std::int64_t r = 0; r < m; ++r)
          k.lines_input(s.w, x.data() + r * width, bytes.data() + r * row_bytes,
                        scales.data() + r * s.w.groups, sums.data() + r * s.w.groups);
        for (std::int64_t b = 0; b < blocks; b += 2) {
          const LinesArgs args{.in = {bytes.data(), scales.data(), sums.data(), m},
                               .bias = m % 2 ? bias.data() : nullptr,
                               .y = y.data(),
                               .begin = b,
                               .end = std::min(b + 2, blocks)};
          many ? k.lines_multiply(s.w, args, panel.data()) : k.lines_dot(s.w, args);
        }
        return y.values();
      };
      const std::vector<float> expected = computed(plain, false);
      for (const cpu::Level* level : usable_levels())
        for (const bool many : {false, true})
          ASSERT_EQ(computed(level->table, many), expected)
              << level->name << (many ? " many " : " few ") << m << " rows, " << name_of(c);
    }
  }
}

// The largest codes meet the largest inputs: nothing wraps around.
TEST(Lines, SumsDoNotOverflow) {
  for (int bits = 2; bits <= 8; ++bits) {
    Quantized q = weight_of({bits, 16, 512, 128, false, false});
    for (auto& code : q.codes.data<std::uint8_t>())
      code = static_cast<std::uint8_t>((1 << bits) - 1);
    const Packed packed = lines.pack(q);
    for (const float sign : {1.0f, -1.0f})
      for (const std::int64_t m : {1, 2, 20}) {
        const Guarded<float> x(std::vector<float>(static_cast<std::size_t>(m * 512), 2 * sign));
        const Guarded<float> y(m * 16);
        cpu::run_lines({}, {.x = x.mem(), .y = y.mem(), .bias = {}, .w = &packed, .m = m});
        const Tensor w = dequantized(q);
        for (std::int64_t r = 0; r < m; ++r)
          for (std::int64_t n = 0; n < 16; ++n) {
            double sum = 0, size = 0;
            for (std::int64_t k = 0; k < 512; ++k) {
              const double v = w.data<float>()[static_cast<std::size_t>(n * 512 + k)];
              sum += v * 2 * sign;
              size += std::abs(v * 2);
            }
            EXPECT_NEAR(y[r * 16 + n], sum, 1e-5 * size) << bits << " bits, " << m << " rows";
          }
      }
  }
}

TEST(Lines, ProductIsNearTheExactOne) {
  for (const LinesCase& c : cases()) {
    const Quantized q = weight_of(c);
    const Packed packed = lines.pack(q);
    const Tensor w = dequantized(q);
    for (const std::int64_t m : {1, 5, 9, 33}) {
      const Guarded<float> x(Numbers(5).floats(m * c.cols)), bias(Numbers(6).floats(c.rows));
      const Guarded<float> y(m * c.rows);
      cpu::run_lines({}, {.x = x.mem(), .y = y.mem(), .bias = bias.mem(), .w = &packed, .m = m});
      double off = 0, whole = 0;
      for (std::int64_t r = 0; r < m; ++r)
        for (std::int64_t n = 0; n < c.rows; ++n) {
          double sum = bias[n];
          for (std::int64_t k = 0; k < c.cols; ++k)
            sum += double{x[r * c.cols + k]} *
                   w.data<float>()[static_cast<std::size_t>(n * c.cols + k)];
          off += (y[r * c.rows + n] - sum) * (y[r * c.rows + n] - sum);
          whole += (sum - bias[n]) * (sum - bias[n]);
        }
      EXPECT_LT(std::sqrt(off / whole), c.bits <= 4 ? 0.02 : 2e-4) << m << " rows, " << name_of(c);
    }
  }
}

}  // namespace
}  // namespace quaver
