#include "core/tensor.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace quaver {
namespace {

TEST(Tensor, IsZeroedAndSharesItsBytes) {
  Tensor a({3, 4});
  for (const float v : a.data<float>()) EXPECT_EQ(v, 0);
  Tensor b = a;
  b.data<float>()[5] = 2;
  EXPECT_EQ(a.data<float>()[5], 2);
  EXPECT_EQ(a.id(), b.id());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.host()) % 64, 0u);
}

TEST(Tensor, RowsAndReshapesAreViews) {
  Tensor a({4, 3});
  for (int i = 0; i < 12; ++i) a.data<float>()[i] = static_cast<float>(i);
  const Tensor middle = a.rows(1, 3);
  EXPECT_EQ(middle.shape(), Shape({2, 3}));
  EXPECT_EQ(middle.data<float>()[0], 3);
  EXPECT_EQ(middle.reshaped({6}).data<float>()[5], 8);
  EXPECT_FALSE(middle.id() == a.id());
  EXPECT_TRUE(a.rows(0, 4).id() == a.id());
  EXPECT_THROW(a.rows(2, 5), Error);
  EXPECT_THROW(a.reshaped({5}), Error);
}

TEST(Tensor, ChecksTypeDeviceAndOverflow) {
  Tensor a({2}, DType::i32);
  EXPECT_THROW(a.data<float>(), Error);
  const Tensor far = Tensor::wrap(std::make_shared<int>(0), {1}, DType::f32, {1, 0});
  EXPECT_THROW(far.host(), Error);
  EXPECT_THROW(Tensor(Shape({std::int64_t{1} << 40, std::int64_t{1} << 40})), Error);
  EXPECT_THROW(Shape({-1, 2}).size(), Error);
  EXPECT_THROW(Shape({1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_EQ(Shape().size(), 1);
}

TEST(Half, RoundTripsAllValues) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const Half h{static_cast<std::uint16_t>(bits)};
    const float f = to_float(h);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(to_float(to_half(f))));
    } else {
      EXPECT_EQ(to_half(f).bits, bits);
    }
  }
}

// The value that the specification gives to sign, exponent and mantissa.
float float8_by_definition(int bits, int mantissa_bits, int bias) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int exponent = (bits & 0x7f) >> mantissa_bits;
  const int one = exponent > 0 ? 1 << mantissa_bits : 0;
  const double magnitude = std::ldexp(one + mantissa, std::max(exponent, 1) - bias - mantissa_bits);
  return static_cast<float>(bits & 0x80 ? -magnitude : magnitude);
}

TEST(Float8, AllValuesOfE4M3) {
  for (int bits = 0; bits < 256; ++bits) {
    const float f = to_float(Float8E4M3{static_cast<std::uint8_t>(bits)});
    if ((bits & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(f)) << bits;
    } else {
      EXPECT_EQ(f, float8_by_definition(bits, 3, 7)) << bits;
    }
    EXPECT_EQ(std::signbit(f), bits >= 128) << bits;
  }
  EXPECT_EQ(to_float(Float8E4M3{0x7e}), 448.0f);
  EXPECT_EQ(to_float(Float8E4M3{0x01}), 0x1p-9f);
}

TEST(Float8, AllValuesOfE5M2) {
  for (int bits = 0; bits < 256; ++bits) {
    const float f = to_float(Float8E5M2{static_cast<std::uint8_t>(bits)});
    if ((bits & 0x7f) > 0x7c) {
      EXPECT_TRUE(std::isnan(f)) << bits;
    } else if ((bits & 0x7f) == 0x7c) {
      EXPECT_TRUE(std::isinf(f)) << bits;
    } else {
      EXPECT_EQ(f, float8_by_definition(bits, 2, 15)) << bits;
    }
    EXPECT_EQ(std::signbit(f), bits >= 128) << bits;
  }
  EXPECT_EQ(to_float(Float8E5M2{0x7b}), 57344.0f);
  EXPECT_EQ(to_float(Float8E5M2{0x01}), 0x1p-16f);
}

TEST(Float8, TensorsConvert) {
  const std::uint8_t bits[] = {0x38, 0xb8, 0x3c};
  for (const DType dtype : {DType::f8_e4m3fn, DType::f8_e5m2}) {
    Tensor t = Tensor::raw({3}, dtype);
    EXPECT_EQ(t.bytes(), 3u);
    std::copy(std::begin(bits), std::end(bits), reinterpret_cast<std::uint8_t*>(t.host()));
    const Tensor f = to_f32(t);
    EXPECT_EQ(f.data<float>()[0], dtype == DType::f8_e4m3fn ? 1.0f : 0.5f);
    EXPECT_EQ(f.data<float>()[1], -f.data<float>()[0]);
    EXPECT_EQ(f.data<float>()[2], dtype == DType::f8_e4m3fn ? 1.5f : 1.0f);
  }
  EXPECT_EQ(name_of(DType::f8_e4m3fn), "f8_e4m3fn");
  EXPECT_EQ(name_of(DType::f8_e5m2), "f8_e5m2");
}

// The oracle: the nearest of the two neighbouring halves, the even one in a tie.
TEST(Half, RoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const double low = to_float(Half{static_cast<std::uint16_t>(bits)});
    const double high = to_float(Half{static_cast<std::uint16_t>(bits + 1)});
    const auto middle = static_cast<float>((low + high) / 2);  // exact: one more mantissa bit
    EXPECT_EQ(to_half(middle).bits, bits % 2 ? bits + 1 : bits);
    EXPECT_EQ(to_half(std::nextafter(middle, 0.0f)).bits, bits);
    EXPECT_EQ(to_half(std::nextafter(middle, 1e9f)).bits, bits + 1);
    EXPECT_EQ(to_half(-middle).bits, (bits % 2 ? bits + 1 : bits) | 0x8000u);
  }
  EXPECT_EQ(to_half(65519.0f).bits, 0x7bff);
  EXPECT_EQ(to_half(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_half(std::numeric_limits<float>::infinity()).bits, 0x7c00);
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(to_bfloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(to_bfloat16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);
  EXPECT_EQ(to_bfloat16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);
  EXPECT_EQ(to_bfloat16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::nanf("")))));
}

TEST(ToF32, ConvertsAndKeepsF32) {
  Tensor h({2}, DType::f16);
  h.data<Half>()[1] = to_half(1.5f);
  EXPECT_EQ(to_f32(h).data<float>()[1], 1.5f);
  Tensor f({2});
  EXPECT_TRUE(to_f32(f).id() == f.id());
  EXPECT_THROW(to_f32(Tensor({1}, DType::i32)), Error);
}

}  // namespace
}  // namespace quaver
