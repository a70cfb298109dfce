#include "io/encoding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/error.h"
#include "io/memory_source.h"

namespace quaver {
namespace {

std::string refusal_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

Tensor random_bytes(const Shape& shape, DType dtype, unsigned seed, int most) {
  std::mt19937 random(seed);
  Tensor t = Tensor::raw(shape, dtype);
  for (std::int64_t i = 0; i < t.size(); ++i)
    reinterpret_cast<std::uint8_t*>(t.host())[i] =
        static_cast<std::uint8_t>(random() % static_cast<unsigned>(most + 1));
  return t;
}

// By the definition: sign, exponent of 4 bits with bias 7, mantissa of 3.
double e4m3(std::uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 7 - 3);
  return code & 128 ? -magnitude : magnitude;
}

TEST(Encoding, Fp8InBlocks) {
  const Json config{{"quant_method", "fp8"}, {"weight_block_size", {4, 3}}};
  std::map<std::string, Tensor, std::less<>> tensors;
  const Tensor codes = random_bytes({10, 7}, DType::f8_e4m3fn, 1, 126);
  Tensor scales({3, 3});
  for (int i = 0; i < 9; ++i) scales.data<float>()[i] = 0.25f + 0.3f * static_cast<float>(i);
  tensors["a.weight"] = codes;
  tensors["a.weight_scale_inv"] = scales;
  tensors["norm.weight"] = Tensor({7});
  const auto plain =
      decoded(std::make_unique<MemorySource>(tensors), *find_encoding(config), config);
  ASSERT_EQ(plain->tensors().size(), 2u);
  EXPECT_EQ(plain->find("a.weight_scale_inv"), nullptr);
  EXPECT_EQ(plain->find("a.weight")->dtype, DType::f32);
  const Tensor a = plain->read("a.weight");
  for (int r = 0; r < 10; ++r)
    for (int c = 0; c < 7; ++c)
      EXPECT_FLOAT_EQ(
          a.data<float>()[r * 7 + c],
          static_cast<float>(e4m3(reinterpret_cast<const std::uint8_t*>(codes.host())[r * 7 + c]) *
                             double{scales.data<float>()[r / 4 * 3 + c / 3]}))
          << r << ' ' << c;
  EXPECT_EQ(plain->read("norm.weight").size(), 7);
}

TEST(Encoding, Fp8WithOneScale) {
  const Json config{{"quant_method", "fp8"}};
  std::map<std::string, Tensor, std::less<>> tensors;
  const Tensor codes = random_bytes({2, 3}, DType::f8_e4m3fn, 2, 126);
  Tensor scale({1});
  scale.data<float>()[0] = 3;
  tensors["a.weight"] = codes;
  tensors["a.weight_scale_inv"] = scale;
  const auto plain =
      decoded(std::make_unique<MemorySource>(tensors), *find_encoding(config), config);
  const Tensor a = plain->read("a.weight");
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(a.data<float>()[i], 3 * e4m3(reinterpret_cast<const std::uint8_t*>(codes.host())[i]));
}

TEST(Encoding, Mxfp4) {
  const Json config{{"quant_method", "mxfp4"}};
  std::map<std::string, Tensor, std::less<>> tensors;
  const Tensor blocks = random_bytes({2, 5, 3, 16}, DType::u8, 3, 255);
  Tensor scales = random_bytes({2, 5, 3}, DType::u8, 4, 20);
  for (std::uint8_t& scale : scales.data<std::uint8_t>()) scale += 117;
  tensors["down_blocks"] = blocks;
  tensors["down_scales"] = scales;
  tensors["down_bias"] = Tensor({2, 5});
  const auto plain =
      decoded(std::make_unique<MemorySource>(tensors), *find_encoding(config), config);
  ASSERT_EQ(plain->tensors().size(), 2u);
  EXPECT_EQ(plain->find("down")->shape, Shape({2, 96, 5}));
  const Tensor down = plain->read("down");
  ASSERT_EQ(down.dtype(), DType::bf16);
  const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (int e = 0; e < 2; ++e)
    for (int o = 0; o < 5; ++o)
      for (int i = 0; i < 96; ++i) {
        const int at = (e * 5 + o) * 3 + i / 32;
        const int byte = blocks.data<std::uint8_t>()[at * 16 + i % 32 / 2];
        const int code = i % 2 == 0 ? byte % 16 : byte / 16;
        const double expected =
            std::ldexp(magnitudes[code % 8], scales.data<std::uint8_t>()[at] - 127);
        EXPECT_EQ(to_float(down.data<BFloat16>()[(e * 96 + i) * 5 + o]),
                  code >= 8 ? -expected : expected);
      }
  EXPECT_EQ(plain->read("down").host(), down.host()) << "kept, not decoded again";
}

TEST(Encoding, RefusesWhatDoesNotFit) {
  const auto refusal = [](const Json& config, const Shape& codes, DType type, const Shape& scales,
                          DType scale_type, const std::string& stem, const std::string& one,
                          const std::string& two) {
    std::map<std::string, Tensor, std::less<>> tensors;
    tensors[stem + one] = Tensor::raw(codes, type);
    tensors[stem + two] = Tensor::raw(scales, scale_type);
    return refusal_of(
        [&] { decoded(std::make_unique<MemorySource>(tensors), *find_encoding(config), config); });
  };
  const auto fp8 = [&](Json config, const Shape& codes, DType type, const Shape& scales) {
    config["quant_method"] = "fp8";
    return refusal(config, codes, type, scales, DType::f32, "a", ".weight", ".weight_scale_inv");
  };
  const Json blocks{{"weight_block_size", {128, 128}}};
  EXPECT_EQ(fp8(blocks, {256, 200}, DType::f8_e4m3fn, {2, 2}), "accepted");
  EXPECT_NE(fp8(blocks, {256, 200}, DType::f8_e4m3fn, {2, 1}).find("expected 2 x 2 of f32"),
            std::string::npos);
  EXPECT_NE(fp8(blocks, {256, 200}, DType::f16, {2, 2}).find("expected a matrix of f8_e4m3fn"),
            std::string::npos);
  EXPECT_NE(fp8({{"weight_block_size", {128}}}, {1, 1}, DType::f8_e4m3fn, {1}).find("[128]"),
            std::string::npos);
  EXPECT_NE(fp8({{"activation_scheme", "static"}}, {1, 1}, DType::f8_e4m3fn, {1}).find("'static'"),
            std::string::npos);
  EXPECT_NE(fp8({{"fmt", "e5m2"}}, {1, 1}, DType::f8_e4m3fn, {1}).find("'e5m2'"),
            std::string::npos);
  const auto mxfp4 = [&](const Shape& codes, const Shape& scales) {
    return refusal({{"quant_method", "mxfp4"}}, codes, DType::u8, scales, DType::u8, "w", "_blocks",
                   "_scales");
  };
  EXPECT_EQ(mxfp4({2, 5, 3, 16}, {2, 5, 3}), "accepted");
  EXPECT_NE(mxfp4({2, 5, 3, 8}, {2, 5, 3}).find("inputs / 32, 16"), std::string::npos);
  EXPECT_NE(mxfp4({2, 5, 3, 16}, {2, 5, 4}).find("does not fit"), std::string::npos);
  EXPECT_EQ(find_encoding({{"quant_method", "gptq"}}), nullptr);
  EXPECT_EQ(find_encoding(Json()), nullptr);
}

}  // namespace
}  // namespace quaver
