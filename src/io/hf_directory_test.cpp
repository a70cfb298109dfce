#include "io/hf_directory.h"

#include "core/file.h"
#include "io/temporary_directory_test.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

class HfDirectoryTest : public TemporaryDirectory {
 protected:
  void put(const fs::path& name, const std::string& content = "x") {
    fs::create_directories((directory / name).parent_path());
    write_file_atomically(directory / name, content);
  }
};

TEST_F(HfDirectoryTest, ReadsConfig) {
  expect_error(Fault::io, "config.json: cannot open", [&] { read_config(directory); });
  put("config.json", R"({"model_type":"llama"})");
  EXPECT_EQ(read_config(directory), (Json{{"model_type", "llama"}}));
  put("config.json", "[1]");
  expect_error(Fault::bad_file, "expected an object, found array", [&] { read_config(directory); });
  put("config.json", "{");
  EXPECT_THROW(read_config(directory), Error);
}

TEST_F(HfDirectoryTest, FindsTheQuantization) {
  EXPECT_TRUE(read_quantization(directory, Json::object()).is_null());
  put("quant_config.json", R"({"w_bit":4})");
  EXPECT_EQ(read_quantization(directory, Json::object()), (Json{{"w_bit", 4}}));
  put("quantize_config.json", R"({"bits":4})");
  EXPECT_EQ(read_quantization(directory, {{"quantization_config", nullptr}}),
            (Json{{"bits", 4}, {"quant_method", "gptq"}}));
  EXPECT_EQ(read_quantization(directory, {{"quantization_config", {{"bits", 3}}}}),
            (Json{{"bits", 3}}));
  expect_error(Fault::bad_file, "'quantization_config' is not an object", [&] {
    read_quantization(directory, {{"quantization_config", 3}});
  });
}

TEST_F(HfDirectoryTest, KeepsTheOrderOfDynamicPatterns) {
  put("quantize_config.json", R"({"bits":4,"dynamic":{"z":{"bits":8},"-:a":{},"m":{}}})");
  EXPECT_EQ(read_quantization(directory, Json::object()).at("dynamic_order"),
            (Json{"z", "-:a", "m"}));
  put("config.json", R"({"quantization_config":{"bits":4,"dynamic":{"y":{},"b":{}}}})");
  EXPECT_EQ(read_quantization(directory, read_config(directory)).at("dynamic_order"),
            (Json{"y", "b"}));
  put("config.json", R"({"quantization_config":{"bits":4,"dynamic":{"y":{}}}})");
  EXPECT_FALSE(read_quantization(directory, read_config(directory)).contains("dynamic_order"));
}

TEST_F(HfDirectoryTest, CopiesSideFilesOnly) {
  const std::vector<std::string> wanted = {"LICENSE",
                                           "additional_chat_templates/tool.jinja",
                                           "chat_template.jinja",
                                           "generation_config.json",
                                           "merges.txt",
                                           "tokenizer.json",
                                           "tokenizer.model",
                                           "vocab.json",
                                           "vocab.txt"};
  for (const auto& name : wanted) put(fs::path("in") / name, name);
  for (const char* const name :
       {"config.json", "quantize_config.json", "model.safetensors", "pytorch_model.bin",
        "model.safetensors.index.json", "modeling_x.py", "README.md", "notes.txt", ".hidden.json",
        "folder.json/x.json", "additional_chat_templates/x.py"})
    put(fs::path("in") / name);
  fs::create_directory(directory / "out");
  EXPECT_EQ(copy_side_files(directory / "in", directory / "out"), wanted);
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory / "out"))
    files += entry.is_regular_file();
  EXPECT_EQ(files, wanted.size());
  for (const auto& name : wanted) EXPECT_EQ(read_file(directory / "out" / name, 100), name);
}

TEST_F(HfDirectoryTest, LinksMayNotLeaveTheCheckpoint) {
  put("secret.json");
  put("in/real.json");
  fs::create_symlink("../secret.json", directory / "in/a.json");
  fs::create_symlink("b.json", directory / "in/b.json");
  fs::create_symlink("real.json", directory / "in/c.json");
  fs::create_symlink("none.json", directory / "in/d.json");
  fs::create_directory(directory / "out");
  EXPECT_EQ(copy_side_files(directory / "in", directory / "out"),
            (std::vector<std::string>{"c.json", "real.json"}));
  EXPECT_FALSE(fs::is_symlink(directory / "out/c.json"));
}

TEST_F(HfDirectoryTest, TheCacheLinksToItsBlobs) {
  put("models--x/blobs/1234", "blob");
  fs::create_directories(directory / "models--x/snapshots/abc");
  fs::create_symlink("../../blobs/1234", directory / "models--x/snapshots/abc/tokenizer.json");
  fs::create_directory(directory / "out");
  EXPECT_EQ(copy_side_files(directory / "models--x/snapshots/abc", directory / "out"),
            std::vector<std::string>{"tokenizer.json"});
  EXPECT_EQ(read_file(directory / "out/tokenizer.json", 10), "blob");
}

}  // namespace
}  // namespace quaver
