#include "io/safetensors_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "io/temporary_directory_test.h"

namespace quaver {
namespace {

std::string file_of(const std::string& json, std::size_t data_bytes) {
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(json.size() >> 8 * i & 255);
  return file + json + std::string(data_bytes, 'd');
}

SafetensorsHeader parse_header(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), file.size(), "f");
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST(SafetensorsHeader, ReadsWhatItShould) {
  const std::string json = R"({ "__metadata__" : {"format":"pt","k\u00e9y":"\ud83d\ude00"},
    "b":)" + entry("F16", "[2, 3]", "[4, 16]") +
                           R"(,"a/../\n":{"data_offsets":[0,4],"shape":[],"dtype":"I32"},)" +
                           R"("zero":)" + entry("F32", "[0,7]", "[4,4]") +
                           ",\"f4\":" + entry("F4", "[3,2]", "[16,19]") + "}  \n ";
  const SafetensorsHeader header = parse_header(file_of(json, 19));
  EXPECT_EQ(header.data_begin, 8 + json.size());
  EXPECT_EQ(header.metadata.at("k\xc3\xa9y"), "\xf0\x9f\x98\x80");
  ASSERT_EQ(header.tensors.size(), 4u);
  EXPECT_EQ(header.tensors[0].name, "a/../\n");
  EXPECT_EQ(header.tensors[0].shape, Shape{});
  EXPECT_EQ(header.tensors[0].dtype->dtype, DType::i32);
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.tensors[1].shape, (Shape{2, 3}));
  EXPECT_EQ(header.tensors[1].begin, 4u);
  EXPECT_EQ(header.tensors[2].dtype->name, "F4");
  EXPECT_EQ(header.tensors[2].dtype->dtype, std::nullopt);
  EXPECT_EQ(header.tensors[3].shape, (Shape{0, 7}));
}

TEST(SafetensorsHeader, NoTensors) { EXPECT_TRUE(parse_header(file_of("{}", 0)).tensors.empty()); }

struct Hostile {
  const char* what;
  std::string file;
  const char* message;
};

std::vector<Hostile> hostile_files() {
  const std::string a = R"("a":)" + entry("U8", "[4]", "[0,4]");
  const auto with = [&](const std::string& more) { return "{" + a + "," + more + "}"; };
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return file_of(R"({"a":)" + entry(dtype, shape, offsets) + "}", 4);
  };
  const std::string huge(8, '\xff');
  return {
      {"empty", "", "0 bytes, a safetensors file has at least 8"},
      {"seven bytes", "1234567", "7 bytes"},
      {"giant n", huge + "{}", "a header of 18446744073709551615 bytes, the limit is 100000000"},
      {"n beyond the file", file_of("{}", 0).substr(0, 9), "is it truncated?"},
      {"truncated header", file_of("{" + a + "}", 4).substr(0, 30), "is it truncated?"},
      {"truncated data", file_of("{" + a + "}", 3), "ends at byte 4 of the data"},
      {"trailing data", file_of("{" + a + "}", 9), "5 bytes follow the last tensor"},
      {"data without tensors", file_of("{}", 1), "1 bytes follow the last tensor"},
      {"space first", file_of(" {}", 0), "does not begin with '{'"},
      {"no header", file_of("", 0), "does not begin with '{'"},
      {"text after", file_of("{}{}", 0), "text after the closing '}'"},
      {"overlap", file_of(with(R"("b":)" + entry("U8", "[4]", "[2,6]")), 6), "overlaps another"},
      {"same bytes", file_of(with(R"("b":)" + entry("U8", "[4]", "[0,4]")), 4), "overlaps another"},
      {"hole", file_of(with(R"("b":)" + entry("U8", "[1]", "[5,6]")), 6), "a hole before it"},
      {"hole at the start", one("U8", "[3]", "[1,4]"), "a hole before it"},
      {"duplicate name", file_of(with(R"("a":)" + entry("U8", "[1]", "[4,5]")), 5),
       "two tensors have the name 'a'"},
      {"duplicate escaped", file_of(with(R"("\u0061":)" + entry("U8", "[1]", "[4,5]")), 5),
       "two tensors have the name 'a'"},
      {"duplicate key",
       file_of(R"({"a":{"dtype":"U8","dtype":"U8","shape":[],)"
               R"("data_offsets":[0,1]}})",
               1),
       "has two 'dtype'"},
      {"duplicate metadata", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0),
       "duplicate key '__metadata__'"},
      {"duplicate metadata key", file_of(R"({"__metadata__":{"a":"","a":""}})", 0),
       "duplicate metadata key 'a'"},
      {"metadata number", file_of(R"({"__metadata__":{"a":1}})", 0), "expected '\"', found '1'"},
      {"unknown key", file_of(R"({"a":{"stride":[1]}})", 0), "unknown key 'stride'"},
      {"missing key", file_of(R"({"a":{"dtype":"U8","shape":[]}})", 1), "lacks 'data_offsets'"},
      {"unknown dtype", one("Q4", "[4]", "[0,4]"), "unknown dtype 'Q4'"},
      {"wrong byte count", one("U8", "[5]", "[0,4]"), "needs 5 bytes, its offsets are 0 to 4"},
      {"backward offsets", one("U8", "[4]", "[4,0]"), "its offsets are 4 to 0"},
      {"negative offset", one("U8", "[4]", "[-4,0]"), "expected a whole number, found '-'"},
      {"negative dimension", one("U8", "[-4]", "[0,4]"), "expected a whole number, found '-'"},
      {"fraction", one("U8", "[4.0]", "[0,4]"), "found a fraction"},
      {"exponent", one("U8", "[4e0]", "[0,4]"), "found a fraction"},
      {"leading zero", one("U8", "[04]", "[0,4]"), "leading zeros"},
      {"offset 2^53 + 1", one("U8", "[9007199254740993]", "[0,9007199254740993]"),
       "ends at byte 9007199254740993"},
      {"offset 2^64", one("U8", "[4]", "[0,18446744073709551620]"), "a number above 2^63"},
      {"product overflow", one("U8", "[4294967296,4294967296]", "[0,4]"), "overflows"},
      {"bits overflow", one("F32", "[2305843009213693952]", "[0,4]"), "overflows"},
      {"zero hides overflow", one("U8", "[4294967296,4294967296,0]", "[0,0]"), "overflows"},
      {"half a byte", one("F4", "[3]", "[0,1]"), "not a whole number of bytes"},
      {"rank 7", one("U8", "[1,1,1,1,1,1,4]", "[0,4]"), "more than 6 dimensions"},
      {"deep", file_of(R"({"a":)" + std::string(50000, '['), 0), "expected '{', found '['"},
      {"deep shape", one("U8", std::string(50000, '['), "[0,4]"), "expected a whole number"},
      {"trailing comma", file_of("{" + a + ",}", 4), "expected '\"', found '}'"},
      {"leading comma", file_of("{," + a + "}", 4), "expected '\"', found ','"},
      {"no colon", file_of(R"({"a" 1})", 0), "expected ':', found '1'"},
      {"open string", file_of(R"({"a)", 0), "ends inside a string"},
      {"open object", file_of("{" + a, 4), "expected ',', found the end"},
      {"control character", file_of("{\"a\n\":1}", 0), "control character"},
      {"bad escape", file_of(R"({"\x":1})", 0), "unknown escape"},
      {"short escape", file_of(R"({"\u00)", 0), "ends inside an escape"},
      {"bad hex", file_of(R"({"\u00g0":1})", 0), "bad \\u escape"},
      {"lone high surrogate", file_of(R"({"\ud800":1})", 0), "without a low one"},
      {"lone low surrogate", file_of(R"({"\udc00":1})", 0), "without a high one"},
      {"two high surrogates", file_of(R"({"\ud800\ud800":1})", 0), "without a low one"},
      {"UTF-8: stray byte", file_of("{\"\x80\":1}", 0), "invalid UTF-8"},
      {"UTF-8: overlong", file_of("{\"\xc0\xaf\":1}", 0), "invalid UTF-8"},
      {"UTF-8: overlong 3", file_of("{\"\xe0\x80\xaf\":1}", 0), "invalid UTF-8"},
      {"UTF-8: surrogate", file_of("{\"\xed\xa0\x80\":1}", 0), "invalid UTF-8"},
      {"UTF-8: above", file_of("{\"\xf4\x90\x80\x80\":1}", 0), "invalid UTF-8"},
      {"UTF-8: cut", file_of("{\"\xf0\x9f\x98", 0), "invalid UTF-8"},
      {"array", file_of("{\"a\":[]}", 0), "expected '{', found '['"},
      {"html", "<!DOCTYPE html><html></html>", "the limit is 100000000"},
  };
}

TEST(SafetensorsHeader, RefusesHostileFiles) {
  for (const Hostile& hostile : hostile_files()) {
    SCOPED_TRACE(hostile.what);
    expect_error(Fault::bad_file, hostile.message, [&] { parse_header(hostile.file); });
  }
}

TEST(SafetensorsHeader, EveryTruncationAndEveryChangedByteIsHandled) {
  const std::string file = file_of(
      R"({"a":)" + entry("U8", "[4]", "[0,4]") + R"(,"b":)" + entry("F16", "[2]", "[4,8]") + "}",
      8);
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_THROW(parse_header(file.substr(0, size)), Error) << size;
  for (std::size_t i = 0; i < file.size() - 8; ++i) {
    std::string changed = file;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    try {
      for (const HeaderEntry& e : parse_header(changed).tensors) EXPECT_LE(e.end, 8u);
    } catch (const Error& e) {
      EXPECT_EQ(e.fault, Fault::bad_file);
    }
  }
}

TEST(SafetensorsHeader, WrittenHeaderIsReadBack) {
  const std::vector<HeaderEntry> entries = {
      {"x\"\\\xc3\xa9\x01", &stored_dtype(DType::f64), Shape{2, 1}, 0, 16},
      {"scalar", &stored_dtype(DType::bf16), Shape{}, 16, 18},
      {"zero", &stored_dtype(DType::boolean), Shape{3, 0}, 18, 18}};
  const std::string header = safetensors_header(entries);
  EXPECT_EQ(header.size() % 64, 0u);
  const SafetensorsHeader back = parse_header(header + std::string(18, 'd'));
  EXPECT_EQ(back.data_begin, header.size());
  EXPECT_EQ(back.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_EQ(back.tensors.size(), 3u);
  EXPECT_EQ(back.tensors[0].name, "scalar");
  EXPECT_EQ(back.tensors[0].dtype, entries[1].dtype);
  EXPECT_EQ(back.tensors[1].name, entries[0].name);
  EXPECT_EQ(back.tensors[1].shape, (Shape{2, 1}));
  EXPECT_EQ(back.tensors[2].begin, 18u);
}

TEST(Printable, ShowsNamesSafely) {
  EXPECT_EQ(printable("model.norm \xc3\xa9"), "'model.norm \xc3\xa9'");
  EXPECT_EQ(printable(std::string_view("\x1b[2J\0\x7f\xff\xc2\x9b", 9)),
            "'\\x1b[2J\\x00\\x7f\\xff\\xc2\\x9b'");
  EXPECT_LT(printable(std::string(1000, 'a')).size(), 130u);
}

}  // namespace
}  // namespace quaver
