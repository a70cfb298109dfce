// Golden words of the GPTQ layout, and one table of round trips over every format.
#include <gtest/gtest.h>

#include <random>

#include "formats/format.h"

namespace quaver {
namespace {

// Codes and zeros over the whole range, scales of both signs; zeros the format can hold.
Quantized sample(const Format& format, Scheme scheme, std::int64_t rows, std::int64_t cols,
                 bool irregular) {
  std::mt19937 random(static_cast<unsigned>(scheme.bits * 1000 + cols));
  const std::int64_t groups = group_count(scheme, cols);
  const int top = (1 << scheme.bits) - 1;
  Quantized q{scheme,
              rows,
              cols,
              Tensor({rows, cols}, DType::u8),
              Tensor({rows, groups}),
              Tensor({rows, groups})};
  for (auto& c : q.codes.data<std::uint8_t>()) c = static_cast<std::uint8_t>(random() % (top + 1));
  for (auto& s : q.scales.data<float>())
    s = (static_cast<float>(random() % 2001) - 1000.3f) * 1e-4f;
  for (auto& z : q.zeros.data<float>())
    z = scheme.symmetric ? static_cast<float>(1 << (scheme.bits - 1))
                         : static_cast<float>(random() % (top + 1));
  if (irregular) {
    q.group_index = Tensor({cols}, DType::i32);
    for (std::int64_t c = 0; c < cols; ++c)
      q.group_index.data<std::int32_t>()[c] = static_cast<std::int32_t>((cols - 1 - c) % groups);
  }
  format.snap(q);
  return q;
}

template <class T>
std::vector<T> values(const Tensor& t) {
  const auto data = t.data<T>();
  return {data.begin(), data.end()};
}

TEST(Formats, RoundTrips) {
  for (const Format* format : formats())
    for (int bits = 2; bits <= 8; ++bits)
      for (const std::int64_t group_size : {-1, 32, 64, 128})
        for (const bool symmetric : {true, false})
          for (const bool irregular : {false, true}) {
            const Scheme scheme{bits, group_size, symmetric};
            SCOPED_TRACE(text(format->name, " b", bits, " g", group_size, symmetric, irregular));
            const bool odd = bits == 5 || bits == 6 || bits == 7;
            ASSERT_EQ(format->refuses(scheme, 96, 384).empty(), !odd || format->name == "gptq_p");
            if (!format->refuses(scheme, 96, 384).empty()) continue;
            const Quantized q = sample(*format, scheme, 96, 384, irregular && group_size > 0);
            const Packed p = format->pack(q);
            for (const PartInfo& part : format->parts(scheme, 96, 384)) {
              EXPECT_EQ(p.parts.at(std::string(part.name)).shape(), part.shape);
              EXPECT_EQ(p.parts.at(std::string(part.name)).dtype(), part.dtype);
            }
            const Quantized back = format->unpack(p, 0, 96);
            EXPECT_EQ(values<std::uint8_t>(back.codes), values<std::uint8_t>(q.codes));
            EXPECT_EQ(values<float>(back.scales), values<float>(q.scales));
            EXPECT_EQ(values<float>(back.zeros), values<float>(q.zeros));
            EXPECT_EQ(bool(back.group_index), bool(q.group_index));
            EXPECT_EQ(values<float>(dequantized(back)), values<float>(dequantized(q)));
            // Any range of rows, whether or not it starts at a word of zero points.
            const Quantized part = format->unpack(p, 37, 21);
            EXPECT_EQ(values<float>(dequantized(part)), values<float>(dequantized(q).rows(37, 58)));
          }
}

TEST(Formats, GoldenCodeWords) {
  const std::map<int, std::vector<std::uint32_t>> golden = {
      {2, {0x93939393, 0x93939393}},
      {3, {0x43c67543, 0x7543c675, 0xc67543c6}},
      {4, {0x61c72d83, 0xe94fa50b, 0x61c72d83, 0xe94fa50b}},
      {8,
       {0x120d0803, 0x26211c17, 0x3a35302b, 0x4e49443f, 0x625d5853, 0x76716c67, 0x8a85807b,
        0x9e99948f}}};
  for (const auto& [bits, words] : golden) {
    Quantized q = sample(find_format("gptq"), {bits, -1, true}, 32, 32, false);
    for (std::int64_t r = 0; r < 32; ++r)
      for (int k = 0; k < 32; ++k)
        q.codes.data<std::uint8_t>()[r * 32 + k] =
            static_cast<std::uint8_t>((5 * k + 3) % (1 << bits));
    const Packed p = find_format("gptq").pack(q);
    const auto qweight = p.parts.at("qweight").data<std::int32_t>();
    for (std::size_t w = 0; w < words.size(); ++w)
      for (std::size_t r = 0; r < 32; ++r)
        EXPECT_EQ(static_cast<std::uint32_t>(qweight[w * 32 + r]), words[w]) << bits;
  }
}

// The low bits of 32 codes first, then the high ones.
TEST(Formats, GoldenWordsInPlanes) {
  const std::map<int, std::vector<std::uint32_t>> golden = {
      {3, {0x93939393, 0x93939393, 0xb4b4b4b4}},
      {4, {0x61c72d83, 0xe94fa50b, 0x61c72d83, 0xe94fa50b}},
      {5, {0x61c72d83, 0xe94fa50b, 0x61c72d83, 0xe94fa50b, 0xe1c71e38}},
      {6, {0x61c72d83, 0xe94fa50b, 0x61c72d83, 0xe94fa50b, 0x03fea540, 0x5403fa95}},
      {7, {0x61c72d83, 0xe94fa50b, 0x61c72d83, 0xe94fa50b, 0x03fea540, 0x5403fa95, 0x01ffe000}}};
  const Format& format = find_format("gptq_p");
  for (const auto& [bits, words] : golden) {
    Quantized q = sample(format, {bits, -1, false}, 32, 64, false);
    for (std::int64_t r = 0; r < 32; ++r) {
      for (int k = 0; k < 64; ++k)
        q.codes.data<std::uint8_t>()[r * 64 + k] =
            static_cast<std::uint8_t>((5 * (k % 32) + 3) % (1 << bits));
      q.zeros.data<float>()[r] = static_cast<float>((5 * r + 3) % (1 << bits));
    }
    const Packed p = format.pack(q);
    const auto qweight = p.parts.at("qweight").data<std::int32_t>();
    const auto qzeros = p.parts.at("qzeros").data<std::int32_t>();
    ASSERT_EQ(p.parts.at("qweight").dim(0), 2 * bits);
    ASSERT_EQ(qzeros.size(), words.size());
    for (std::size_t w = 0; w < words.size(); ++w) {
      for (std::size_t r = 0; r < 32; ++r) {
        EXPECT_EQ(static_cast<std::uint32_t>(qweight[w * 32 + r]), words[w]) << bits;
        EXPECT_EQ(static_cast<std::uint32_t>(qweight[(w + words.size()) * 32 + r]), words[w]);
      }
      EXPECT_EQ(static_cast<std::uint32_t>(qzeros[w]), words[w]) << bits;
    }
  }
}

// What others write and pack does not: scales as bf16 or f32, no g_idx, a short last group.
TEST(Formats, ReadsWhatOthersWrite) {
  const Quantized q = sample(find_format("gptq"), {4, 32, true}, 32, 64, false);
  Packed p = find_format("gptq").pack(q);
  p.parts.erase("g_idx");
  EXPECT_EQ(values<float>(dequantized(p.format->unpack(p, 0, 32))), values<float>(dequantized(q)));
  Quantized wide = q;
  wide.scales = Tensor({32, 2});
  Tensor stored({2, 32}), brain({2, 32}, DType::bf16);
  for (int g = 0; g < 2; ++g)
    for (int r = 0; r < 32; ++r) {
      const float s = 1e-30f * static_cast<float>(1 + g * 32 + r);  // beyond f16
      stored.data<float>()[g * 32 + r] = wide.scales.data<float>()[r * 2 + g] = s;
    }
  p.parts["scales"] = stored;
  EXPECT_EQ(values<float>(dequantized(p.format->unpack(p, 0, 32))),
            values<float>(dequantized(wide)));
  for (int g = 0; g < 2; ++g)
    for (int r = 0; r < 32; ++r) {
      brain.data<BFloat16>()[g * 32 + r] = to_bfloat16(stored.data<float>()[g * 32 + r]);
      wide.scales.data<float>()[r * 2 + g] = to_float(brain.data<BFloat16>()[g * 32 + r]);
    }
  p.parts["scales"] = brain;
  EXPECT_EQ(values<float>(dequantized(p.format->unpack(p, 0, 32))),
            values<float>(dequantized(wide)));
  for (const Format* format : formats()) {
    EXPECT_EQ(format->unreadable({4, 64, true}, 32, 96), "");
    EXPECT_NE(format->refuses({4, 64, true}, 32, 96), "");
    EXPECT_EQ(format->parts({4, 64, true}, 32, 96)[2].shape, (Shape{2, 32}));
    EXPECT_NE(format->unreadable({4, 64, true}, 32, 12), "");
  }
}

TEST(Formats, GoldenZeroWords) {
  using Words = std::map<int, std::vector<std::uint32_t>>;
  const std::map<std::string, Words> golden = {
      {"gptq", Words{{2, {0x55555555}},
                     {3, {0xdb6db6db, 0xb6db6db6, 0x6db6db6d}},
                     {4, {0x77777777}},
                     {8, {0x7f7f7f7f}}}},
      {"gptq_v2", Words{{2, {0xaaaaaaaa}},
                        {3, {0x24924924, 0x49249249, 0x92492492}},
                        {4, {0x88888888}},
                        {8, {0x80808080}}}}};
  for (const auto& [name, widths] : golden)
    for (const auto& [bits, words] : widths) {
      const Packed p =
          find_format(name).pack(sample(find_format(name), {bits, 32, true}, 32, 64, false));
      const auto qzeros = p.parts.at("qzeros").data<std::int32_t>();
      for (std::size_t i = 0; i < qzeros.size(); ++i)
        EXPECT_EQ(static_cast<std::uint32_t>(qzeros[i]), words[i % words.size()]) << name << bits;
    }
}

TEST(Formats, SnapKeepsScalesUsable) {
  for (const Format* format : formats()) {
    Quantized q = sample(*format, {4, -1, false}, 8, 8, false);
    const std::vector<float> scales = {0, -0.0f, 1e-9f, -1e-9f, 1e9f, -1e9f, 0.1f, -0.1f};
    const std::vector<float> zeros = {-3, 0, 0.4f, 1, 7.5f, 15, 16, 1e9f};
    q.scales = Tensor::of<float>(scales, {8, 1});
    q.zeros = Tensor::of<float>(zeros, {8, 1});
    format->snap(q);
    const auto low = static_cast<float>(format->lowest_zero);
    EXPECT_EQ(values<float>(q.zeros), (std::vector<float>{low, low, low, 1, 8, 15, 15, 15}));
    const float tiny = 0x1p-24f, tenth = to_float(to_half(0.1f));
    EXPECT_EQ(values<float>(q.scales),
              (std::vector<float>{tiny, -tiny, tiny, -tiny, 65504, -65504, tenth, -tenth}));
  }
}

TEST(Formats, RefusesWithReasons) {
  for (const Format* format : formats()) {
    const auto reason = [&](Scheme s, std::int64_t rows, std::int64_t cols) {
      return format->refuses(s, rows, cols);
    };
    EXPECT_EQ(reason({9, 128, true}, 64, 128), format->name == "gptq_p"
                                                   ? "9 bits; this layout holds 2 to 8"
                                                   : "9 bits; this layout holds 2, 3, 4 or 8");
    EXPECT_EQ(reason({4, 128, true}, 64, 192), "group_size 128 does not divide 192 inputs");
    EXPECT_EQ(reason({4, -1, true}, 64, 12), "12 inputs are no multiple of 8, as 4 bits need");
    EXPECT_EQ(reason({4, -1, true}, 12, 64), "12 outputs are no multiple of 8, as 4 bits need");
    EXPECT_EQ(reason({3, -1, true}, 48, 64), "48 outputs are no multiple of 32, as 3 bits need");
    EXPECT_EQ(reason({3, -1, true}, 32, 40), "40 inputs are no multiple of 32, as 3 bits need");
    EXPECT_EQ(reason({8, -1, true}, 4, 4), "");
    EXPECT_NE(reason({4, 0, true}, 64, 64), "");
    EXPECT_NE(reason({4, -1, true}, 0, 64), "");
  }
}

TEST(Formats, ZeroPointWithoutFieldIsRefused) {
  Quantized q = sample(find_format("gptq_v2"), {4, -1, false}, 8, 8, false);
  q.zeros.data<float>()[3] = 0;
  EXPECT_THROW(find_format("gptq").pack(q), Error);
  q.zeros.data<float>()[3] = 16;
  EXPECT_THROW(find_format("gptq_v2").pack(q), Error);
}

TEST(Formats, GroupIndexOutsideIsBadFile) {
  Packed p = find_format("gptq").pack(sample(find_format("gptq"), {4, 32, true}, 32, 64, false));
  p.parts.at("g_idx").data<std::int32_t>()[5] = 2;
  try {
    p.format->unpack(p, 0, 32);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault, Fault::bad_file);
  }
}

TEST(Formats, UnknownNameListsTheKnown) {
  try {
    find_format("awq5");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("gptq, gptq_v2"), std::string::npos);
  }
}

}  // namespace
}  // namespace quaver
