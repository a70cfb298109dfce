#include "io/manifest.h"

#include <gtest/gtest.h>

#include "core/file.h"
#include "io/temporary_directory_test.h"

namespace quaver {
namespace {

std::string hashed(std::string_view bytes) {
  Sha256 sha;
  for (const char c : bytes) sha.update(std::as_bytes(std::span(&c, 1)));
  return sha.hex();
}

// The examples of FIPS 180-4.
TEST(Sha256Test, ExamplesOfTheStandard) {
  EXPECT_EQ(hashed(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hashed("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hashed("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

class ManifestTest : public TemporaryDirectory {
 protected:
  void put(const char* name, const std::string& bytes) {
    write_file_atomically(directory / name, bytes);
  }
};

TEST_F(ManifestTest, HashesFilesLargerThanAPiece) {
  const std::string bytes(3'000'001, 'x');
  put("large", bytes);
  Sha256 sha;
  sha.update(std::as_bytes(std::span(bytes)));
  EXPECT_EQ(hash_file(directory / "large"), (FileHash{bytes.size(), sha.hex()}));
  expect_error(Fault::io, "none", [&] { hash_file(directory / "none"); });
}

TEST_F(ManifestTest, WritesAndChecks) {
  put("a.json", "{}");
  put("b.bin", "12345");
  Manifest m{.quaver = "0.1.0"};
  m.inputs["model.safetensors"] = {7, hashed("7 bytes")};
  for (const char* name : {"a.json", "b.bin"}) m.outputs[name] = hash_file(directory / name);
  write_manifest(directory, m);
  EXPECT_EQ(read_manifest(directory), m);
  EXPECT_TRUE(check_hashes(m.outputs, directory).empty());
  put("a.json", "[]");
  put("b.bin", "123456");
  m.outputs["c"] = {};
  m.outputs["sub"] = {};
  std::filesystem::create_directory(directory / "sub");
  const auto problems = check_hashes(m.outputs, directory);
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_EQ(problems[0].file, "a.json");
  EXPECT_EQ(problems[0].found, hashed("[]"));
  EXPECT_EQ(problems[0].expected, hashed("{}"));
  EXPECT_EQ(problems[1].found, "6 bytes");
  EXPECT_EQ(problems[1].expected, "5 bytes");
  EXPECT_EQ(problems[2].found, "no such file");
  EXPECT_EQ(problems[3].file, "sub");
}

TEST_F(ManifestTest, RefusesWhatIsNotTheFormat) {
  const std::string good = hashed("");
  const auto refuses = [&](const std::string& json, const char* part,
                           Fault fault = Fault::bad_file) {
    expect_error(fault, part, [&] { parse_manifest(json, "m"); });
  };
  const auto with_name = [&](const std::string& name) {
    return R"({"version":1,"quaver":"0","inputs":{},"outputs":{")" + name +
           R"(":{"bytes":0,"sha256":")" + good + R"("}}})";
  };
  EXPECT_EQ(parse_manifest(with_name("a/b..c"), "m").outputs.size(), 1u);
  refuses(with_name("../a"), "relative");
  refuses(with_name("a/../../b"), "relative");
  refuses(with_name("/etc/passwd"), "relative");
  refuses(with_name(""), "relative");
  refuses(with_name("a\\u0000b"), "relative");
  refuses("[]", "expected an object");
  refuses("{}", "'version'");
  refuses(R"({"version":2})", "'version' is 2; known: 1", Fault::unsupported);
  refuses(R"({"version":1,"quaver":"0","inputs":{}})", "'outputs' is missing");
  refuses(R"({"version":1,"quaver":"0","inputs":{"a":3},"outputs":{}})", "expected an object");
  refuses(R"({"version":1,"quaver":"0","inputs":{"a":{"bytes":-1,"sha256":""}},"outputs":{}})",
          "'bytes' is -1");
  refuses(R"({"version":1,"quaver":"0","inputs":{"a":{"bytes":1,"sha256":"XY"}},"outputs":{}})",
          "hexadecimal");
  Manifest outside{.quaver = "0"};
  outside.outputs["../x"] = {0, good};
  EXPECT_THROW(write_manifest(directory, outside), Error);
  EXPECT_FALSE(std::filesystem::exists(directory / manifest_file));
}

}  // namespace
}  // namespace quaver
