#include <gtest/gtest.h>

#include <chrono>

#include "io/dialect.h"
#include "io/temporary_directory_test.h"

namespace quaver {
namespace {

Json basic() { return {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 128}, {"sym", true}}; }

std::optional<Scheme> scheme(const Json& config,
                             std::string_view module = "model.layers.3.mlp.up") {
  return find_dialect(config)->scheme(config, module);
}

const Format& format(const Json& config) { return find_dialect(config)->format(config); }

TEST(GptqDialect, ReadsSchemes) {
  EXPECT_EQ(find_dialect(Json()), nullptr);
  Json j = basic();
  EXPECT_EQ(scheme(j), (Scheme{4, 128, true}));
  EXPECT_EQ(format(j).name, "gptq");
  j = {{"quant_method", "gptq"}, {"w_bit", 3}, {"q_group_size", -1}, {"sym", false}};
  EXPECT_EQ(scheme(j), (Scheme{3, -1, false}));
}

TEST(GptqDialect, ReadsFormats) {
  Json j = basic();
  j["checkpoint_format"] = "gptq_v2";
  EXPECT_EQ(format(j).name, "gptq_v2");
  j["format"] = "gptq";
  expect_error(Fault::bad_file, "'checkpoint_format' is 'gptq_v2', but 'format' is 'gptq'",
               [&] { format(j); });
  j.erase("checkpoint_format");
  j["format"] = "gptq_v2";
  EXPECT_EQ(format(j).name, "gptq_v2");
  j["format"] = "marlin";
  expect_error(Fault::unsupported, "checkpoint_format 'marlin' is not read yet",
               [&] { format(j); });
  j["format"] = "gptq";
  j["is_marlin_format"] = true;
  expect_error(Fault::unsupported, "'marlin'", [&] { format(j); });
  j = basic();
  j["pack_dtype"] = "int8";
  expect_error(Fault::unsupported, "pack_dtype 'int8'", [&] { format(j); });
}

TEST(GptqDialect, RefusesByName) {
  expect_error(Fault::unsupported, "unknown quant_method 'awq'; known: gptq", [] {
    find_dialect({{"quant_method", "awq"}});
  });
  expect_error(Fault::bad_file, "'quant_method' is missing", [] { find_dialect(Json::object()); });
  Json j = basic();
  j["bits"] = 9;
  expect_error(Fault::unsupported, "'bits' is 9; known: 2, 3, 4, 8", [&] { scheme(j); });
  j["bits"] = "4";
  expect_error(Fault::bad_file, "'bits' is \"4\", expected an integer", [&] { scheme(j); });
  j = basic();
  for (const std::int64_t group : {std::int64_t{0}, std::int64_t{-2}, std::int64_t{1} << 40}) {
    j["group_size"] = group;
    expect_error(Fault::bad_file, text("'group_size' is ", group), [&] { scheme(j); });
  }
  j.erase("group_size");
  EXPECT_THROW(scheme(j), Error);
}

TEST(GptqDialect, DynamicSkipsAndOverrides) {
  Json j = basic();
  j["dynamic"] = {{"-:.*\\.mlp\\.gate$", Json::object()},
                  {"+:model\\.layers\\.1[0-9]\\.", {{"bits", 8}}},
                  {"lm_head", {{"group_size", 32}, {"sym", false}}},
                  {"^model\\.layers\\.0\\.q$", {{"bits", 2}}}};
  EXPECT_EQ(scheme(j, "model.layers.3.mlp.gate"), std::nullopt);
  EXPECT_EQ(scheme(j, "model.layers.3.mlp.gate_proj"), (Scheme{4, 128, true}));
  EXPECT_EQ(scheme(j, "model.layers.12.mlp.up"), (Scheme{8, 128, true}));
  EXPECT_EQ(scheme(j, "x.model.layers.12.mlp.up"), (Scheme{4, 128, true}));
  EXPECT_EQ(scheme(j, "lm_head"), (Scheme{4, 32, false}));
  EXPECT_EQ(scheme(j, "model.layers.0.q"), (Scheme{2, 128, true}));
  EXPECT_EQ(scheme(j, "modelxlayers.0.q"), (Scheme{4, 128, true}));
  expect_error(Fault::unsupported, "both match 'model.layers.12.mlp.gate' and differ",
               [&] { scheme(j, "model.layers.12.mlp.gate"); });
  j["dynamic_order"] = {"lm_head", "+:model\\.layers\\.1[0-9]\\.", "-:.*\\.mlp\\.gate$",
                        "^model\\.layers\\.0\\.q$"};
  EXPECT_EQ(scheme(j, "model.layers.12.mlp.gate"), (Scheme{8, 128, true}));
  std::swap(j["dynamic_order"][1], j["dynamic_order"][2]);
  EXPECT_EQ(scheme(j, "model.layers.12.mlp.gate"), std::nullopt);
  j["dynamic"] = {{"-:^(?!.*(up|down)).*$", Json::object()}};
  EXPECT_EQ(scheme(j, "model.layers.0.q"), std::nullopt);
  EXPECT_NE(scheme(j, "model.layers.0.up"), std::nullopt);
}

TEST(GptqDialect, DynamicRefusesWhatItDoesNotKnow) {
  Json j = basic();
  const auto refuses = [&](const Json& dynamic, Fault fault, const std::string& message) {
    j["dynamic"] = dynamic;
    expect_error(fault, message, [&] { scheme(j, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"); });
  };
  refuses(Json::array(), Fault::bad_file, "'dynamic' is not an object");
  refuses({{"a", 3}}, Fault::bad_file, "expected an object, found number");
  refuses({{"a", {{"adapter", "x"}}}}, Fault::unsupported, "unknown key 'adapter'");
  refuses({{"a", {{"bits", 1}}}}, Fault::unsupported, "'bits' is 1");
  refuses({{"(a", Json::object()}}, Fault::unsupported, "has the pattern '(a'");
  refuses({{"(a{900}){900}", Json::object()}}, Fault::unsupported, "without counts");
  refuses({{"(a)\\1", Json::object()}}, Fault::unsupported, "without counts");
  refuses({{std::string(300, 'a'), Json::object()}}, Fault::unsupported, "at most 256 characters");
}

TEST(GptqDialect, HostilePatternsTakeNoExponentialTime) {
  Json j = basic();
  j["dynamic"] = {{"-:(a*)*(a*)*(a|aa)+(a*a*)*b", Json::object()}};
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_NE(scheme(j, std::string(200, 'a')), std::nullopt);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(GptqDialect, DescriptionIsReadBack) {
  DescribeArgs args{.format = &find_format("gptq_v2"),
                    .scheme = {4, 64, false},
                    .desc_act = true,
                    .damp_percent = 0.01,
                    .modules_in_block = {{"attn.q", "attn.k"}, {"mlp"}},
                    .block_name = "transformer.h",
                    .exceptions = {{"lm_head", Scheme{8, -1, true}}, {"h.1.mlp", std::nullopt}},
                    .quantizer = "quaver:1.2.3"};
  const Json j = find_dialect(basic())->describe(args);
  EXPECT_EQ(scheme(j, "h.0.mlp"), args.scheme);
  EXPECT_EQ(scheme(j, "h.1.mlp"), std::nullopt);
  EXPECT_EQ(scheme(j, "lm_head"), (Scheme{8, -1, true}));
  EXPECT_EQ(format(j).name, "gptq_v2");
  EXPECT_EQ(j.at("modules_in_block_to_quantize"), Json(args.modules_in_block));
  EXPECT_EQ(j.at("block_name_to_quantize"), "transformer.h");
  EXPECT_EQ(j.at("desc_act"), true);
  EXPECT_EQ(j.at("pack_dtype"), "int32");
  EXPECT_EQ(j.at("meta"), (Json{{"quantizer", {"quaver:1.2.3"}}}));
  args.exceptions.clear();
  args.block_name.clear();
  args.format = &find_format("gptq");
  const Json plain = find_dialect(basic())->describe(args);
  EXPECT_FALSE(plain.contains("meta"));
  EXPECT_FALSE(plain.contains("dynamic"));
  EXPECT_FALSE(plain.contains("block_name_to_quantize"));
}

// v1 stores 2^(bits-1) - 1 in every field, v2 stores 2^(bits-1).
TEST(StoredZeroConvention, TellsTheTwoApart) {
  const auto told = [](std::vector<std::uint32_t> words, int bits) {
    Tensor t = Tensor::raw({1, static_cast<std::int64_t>(words.size())}, DType::i32);
    for (std::size_t i = 0; i < words.size(); ++i)
      t.data<std::int32_t>()[i] = static_cast<std::int32_t>(words[i]);
    return stored_zero_convention(t, bits);
  };
  EXPECT_EQ(told({0x77777777, 0x77777777}, 4), "gptq");
  EXPECT_EQ(told({0x88888888}, 4), "gptq_v2");
  EXPECT_EQ(told({0x88888888, 0x77777777}, 4), std::nullopt);
  EXPECT_EQ(told({0x55555555}, 2), "gptq");
  EXPECT_EQ(told({0xaaaaaaaa}, 2), "gptq_v2");
  EXPECT_EQ(told({0x7f7f7f7f}, 8), "gptq");
  EXPECT_EQ(told({0x80808080}, 8), "gptq_v2");
  EXPECT_EQ(told({0xdb6db6db, 0xb6db6db6, 0x6db6db6d}, 3), "gptq");
  EXPECT_EQ(told({0x24924924, 0x49249249, 0x92492492}, 3), "gptq_v2");
  EXPECT_EQ(stored_zero_convention(Tensor({0, 4}, DType::i32), 4), std::nullopt);
}

// Zero points 0 among others, less one as GPTQModel takes it: from whole words, or modulo 8.
TEST(ZerosBehindBorrows, AreReadAsTheyWereMeant) {
  for (const int bits : {2, 3, 4, 8}) {
    const std::uint32_t top = (1u << bits) - 1;
    std::vector<std::uint32_t> fields(96), v1(3 * static_cast<std::size_t>(bits)), v2 = v1;
    for (std::size_t i = 0; i < fields.size(); ++i)
      fields[i] = static_cast<std::uint32_t>(i * i / 3) & top;
    fields[5] = fields[6] = fields[40] = 0;
    const auto put = [bits](std::vector<std::uint32_t>& words, std::size_t i, std::uint32_t v) {
      for (std::size_t b = 0; b < static_cast<std::size_t>(bits); ++b) {
        const std::size_t at = i * static_cast<std::size_t>(bits) + b;
        words[at / 32] |= (v >> b & 1) << at % 32;
      }
    };
    for (std::size_t i = 0; i < fields.size(); ++i) put(v2, i, fields[i]);
    if (bits == 3) {
      for (std::size_t i = 0; i < fields.size(); ++i) put(v1, i, (fields[i] + 7) % 8);
    } else {
      std::uint32_t ones = 0;
      for (int b = 0; b < 32; b += bits) ones |= 1u << b;
      for (std::size_t i = 0; i < v1.size(); ++i) v1[i] = v2[i] - ones;
    }
    const auto words = [](const std::vector<std::uint32_t>& v) {
      return Tensor::of(std::span(reinterpret_cast<const std::int32_t*>(v.data()), v.size()),
                        {1, static_cast<std::int64_t>(v.size())});
    };
    const auto found = zeros_behind_borrows(words(v1), bits);
    ASSERT_TRUE(found.has_value()) << bits;
    EXPECT_TRUE(std::ranges::equal(found->data<std::int32_t>(), words(v2).data<std::int32_t>()))
        << bits;
    const std::vector<std::uint32_t> plain(3, 0);  // zero points of 1
    EXPECT_FALSE(zeros_behind_borrows(words(plain), bits).has_value());
  }
  EXPECT_FALSE(zeros_behind_borrows(Tensor({0, 4}, DType::i32), 4).has_value());
}

}  // namespace
}  // namespace quaver
