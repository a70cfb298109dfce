#include "io/checkpoint.h"

#include <unistd.h>

#include <cstring>

#include "core/file.h"
#include "core/json.h"
#include "io/memory_source.h"
#include "io/placed_shards.h"
#include "io/safetensors_header.h"
#include "io/shard_writer.h"
#include "io/temporary_directory_test.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr DType all_dtypes[] = {DType::f32,     DType::f16,       DType::bf16,   DType::f64,
                                DType::i8,      DType::u8,        DType::i16,    DType::u16,
                                DType::i32,     DType::u32,       DType::i64,    DType::u64,
                                DType::boolean, DType::f8_e4m3fn, DType::f8_e5m2};

Tensor counted(Shape shape, DType dtype) {
  Tensor t = Tensor::raw(shape, dtype);
  for (std::size_t i = 0; i < t.bytes(); ++i) t.host()[i] = static_cast<std::byte>(i * 37 + 11);
  return t;
}

std::string bytes_of(const Tensor& t) {
  return {reinterpret_cast<const char*>(t.host()), t.bytes()};
}

void expect_same(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.dtype(), b.dtype());
  EXPECT_EQ(a.shape(), b.shape());
  EXPECT_EQ(bytes_of(a), bytes_of(b));
}

std::map<std::string, Tensor> sample() {
  std::map<std::string, Tensor> tensors;
  for (const DType dtype : all_dtypes) {
    tensors[text("t.", dtype)] = counted({3, 5}, dtype);
    tensors[text("scalar.", dtype)] = counted({}, dtype);
    tensors[text("zero.", dtype)] = counted({0, 3}, dtype);
  }
  tensors["../odd/\"\xc3\xa9\n"] = counted({7}, DType::u8);
  return tensors;
}

class CheckpointTest : public TemporaryDirectory {
 protected:
  std::vector<std::string> write(const std::map<std::string, Tensor>& tensors,
                                 std::uint64_t shard_bytes = default_shard_bytes) {
    ShardWriter writer(directory, shard_bytes);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.finish();
    return writer.files();
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
  }
  void expect_holds(const TensorSource& source, const std::map<std::string, Tensor>& tensors) {
    ASSERT_EQ(source.tensors().size(), tensors.size());
    for (const TensorInfo& info : source.tensors()) {
      SCOPED_TRACE(info.name);
      EXPECT_EQ(source.find(info.name), &info);
      expect_same(source.read(info.name), tensors.at(info.name));
    }
  }
};

TEST_F(CheckpointTest, RoundTripOfEveryType) {
  const auto tensors = sample();
  EXPECT_EQ(write(tensors), std::vector<std::string>{"model.safetensors"});
  EXPECT_EQ(entries(), 1u);
  const auto source = open_checkpoint(directory);
  expect_holds(*source, tensors);
  for (const TensorInfo& info : source->tensors()) {
    EXPECT_EQ(info.file, "model.safetensors");
    EXPECT_EQ(source->read(info.name).id(), source->read(info.name).id()) << "mapped, not copied";
  }
}

TEST_F(CheckpointTest, RoundTripInShards) {
  const auto tensors = sample();
  const auto files = write(tensors, 150);
  ASSERT_GT(files.size(), 3u);
  ASSERT_LT(files.size(), 11u);  // one digit in the names
  EXPECT_EQ(files[0], text("model-00001-of-0000", files.size() - 1, ".safetensors"));
  EXPECT_EQ(files.back(), "model.safetensors.index.json");
  EXPECT_EQ(entries(), files.size());
  expect_holds(*open_checkpoint(directory), tensors);
  std::uint64_t total = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.bytes();
  const Json index = read_json_file((directory / files.back()).string());
  EXPECT_EQ(index["metadata"]["total_size"], total);
  EXPECT_EQ(index["weight_map"].size(), tensors.size());
}

TEST_F(CheckpointTest, BytesDependOnTensorsOnly) {
  const auto tensors = sample();
  write(tensors);
  const std::string first = read_file(directory / "model.safetensors", 1 << 20);
  ShardWriter writer(directory);
  for (auto it = tensors.rbegin(); it != tensors.rend(); ++it) writer.write(it->first, it->second);
  writer.finish();
  EXPECT_EQ(read_file(directory / "model.safetensors", 1 << 20), first);
}

// Every tensor at its place from the start gives the files of one tensor behind the other.
TEST_F(CheckpointTest, PlacedShardsAreTheWritersFiles) {
  const auto tensors = sample();
  for (const std::uint64_t most : {default_shard_bytes, std::uint64_t{200}}) {
    const auto in_order = directory / "writer", placed = directory / "placed";
    for (const auto& place : {in_order, placed}) {
      std::filesystem::remove_all(place);
      std::filesystem::create_directory(place);
    }
    ShardWriter writer(in_order, most);
    std::vector<TensorPlan> plans;
    for (const auto& [name, tensor] : tensors) {
      writer.write(name, tensor);
      plans.push_back({name, tensor.dtype(), tensor.shape()});
    }
    writer.finish();
    auto half = tensors.begin();
    std::advance(half, tensors.size() / 2);
    {
      PlacedShards begun(placed, plans, most);
      for (auto it = half; it != tensors.end(); ++it) begun.write(it->first, it->second);
      for (const auto& name : begun.files())
        if (name.ends_with(".safetensors")) {
          EXPECT_NO_THROW(open_safetensors(placed / name));
        }
    }
    PlacedShards shards(placed, plans, most);  // as after a kill
    for (auto it = half; it != tensors.end(); ++it) {
      const Tensor back = shards.read(it->first);
      EXPECT_EQ(std::memcmp(back.host(), it->second.host(), back.bytes()), 0) << it->first;
    }
    for (auto it = half; it != tensors.begin();) {
      --it;
      shards.write(it->first, it->second);
    }
    shards.finish();
    EXPECT_EQ(shards.files(), writer.files());
    for (const std::string& name : writer.files())
      EXPECT_EQ(read_file(placed / name, 1 << 20), read_file(in_order / name, 1 << 20)) << name;
  }
}

TEST_F(CheckpointTest, PlacedShardsRefuseWhatIsNotPlanned) {
  const std::vector<TensorPlan> plans{{"a", DType::f32, {2}}, {"b", DType::u8, {3}}};
  PlacedShards shards(directory, plans);
  EXPECT_TRUE(shards.has("a") && !shards.has("c"));
  expect_error(Fault::internal, "'c' is not planned",
               [&] { shards.write("c", counted({2}, DType::f32)); });
  expect_error(Fault::internal, "is planned as f32",
               [&] { shards.write("a", counted({3}, DType::f32)); });
  expect_error(Fault::internal, "is planned as u8",
               [&] { shards.write("b", counted({3}, DType::i8)); });
  const std::vector<TensorPlan> twice{plans[0], plans[0]};
  expect_error(Fault::bad_argument, "'a' is planned twice",
               [&] { PlacedShards wrong(directory, twice); });
  const std::vector<TensorPlan> hostile{{"__metadata__", DType::u8, {1}}};
  expect_error(Fault::bad_argument, "cannot be the name",
               [&] { PlacedShards wrong(directory, hostile); });
  // A file of another plan gives way.
  const std::vector<TensorPlan> other{{"b", DType::u8, {3}}};
  PlacedShards(directory, other).write("b", counted({3}, DType::u8));
  EXPECT_EQ(open_checkpoint(directory)->tensors().size(), 1u);
}

TEST_F(CheckpointTest, EmptyCheckpointIsWritten) {
  write({});
  EXPECT_TRUE(open_checkpoint(directory)->tensors().empty());
}

TEST_F(CheckpointTest, WriterRefusesAndLeavesNothing) {
  {
    ShardWriter writer(directory, 10);
    const Tensor t = counted({2}, DType::f32);
    writer.write("a", t);
    writer.write("b", t);
    EXPECT_GT(entries(), 0u);
    expect_error(Fault::bad_argument, "'a' is written twice", [&] { writer.write("a", t); });
    expect_error(Fault::bad_argument, "cannot be the name", [&] { writer.write("\xff", t); });
    expect_error(Fault::bad_argument, "cannot be the name",
                 [&] { writer.write("__metadata__", t); });
    expect_error(Fault::bad_argument, "is empty", [&] { writer.write("c", Tensor()); });
  }
  EXPECT_EQ(entries(), 0u);
  ShardWriter writer(directory);
  writer.finish();
  expect_error(Fault::bad_argument, "called before", [&] { writer.finish(); });
  expect_error(Fault::bad_argument, "after finish()",
               [&] { writer.write("a", counted({1}, DType::u8)); });
}

TEST_F(CheckpointTest, ReadsWhatTheLibraryWrote) {
  const fs::path data = fs::path(QUAVER_TEST_DATA) / "io";
  const auto source = open_safetensors(data / "types.safetensors");
  EXPECT_EQ(source->tensors().size(), 15u);
  const Tensor f32 = source->read("t.float32");
  EXPECT_EQ(f32.shape(), (Shape{2, 3}));
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(f32.data<float>()[i], i + 1.0f);
    EXPECT_EQ(to_float(source->read("t.float16").data<Half>()[i]), i + 1.0f);
    EXPECT_EQ(source->read("t.float64").data<double>()[i], i + 1.0);
    EXPECT_EQ(source->read("t.int8").data<std::int8_t>()[i], i + 1);
    EXPECT_EQ(source->read("t.uint32").data<std::uint32_t>()[i], i + 1u);
    EXPECT_EQ(source->read("t.int64").data<std::int64_t>()[i], i + 1);
  }
  EXPECT_EQ(source->read("t.bool").dtype(), DType::boolean);
  EXPECT_EQ(source->read("t.uint16").dtype(), DType::u16);
  EXPECT_EQ(source->read("scalar").data<std::int32_t>()[0], 7);
  EXPECT_EQ(source->read("nothing").shape(), (Shape{0, 4}));
  EXPECT_NE(source->find("odd \"name\"/../\xc3\xa9\n"), nullptr);
  EXPECT_EQ(source->find("t."), nullptr);
  expect_error(Fault::bad_file, "no tensor 'none'", [&] { source->read("none"); });
  EXPECT_TRUE(open_safetensors(data / "empty.safetensors")->tensors().empty());
}

TEST_F(CheckpointTest, UnalignedTensorsAreCopied) {
  std::string json = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                     R"("b":{"dtype":"I32","shape":[1],"data_offsets":[1,5]}})";
  json.resize(120, ' ');
  std::string file("\x78\0\0\0\0\0\0\0", 8);
  file += json + std::string("\x01\x02\0\0\0", 5);
  write_file_atomically(directory / "model.safetensors", file);
  const auto source = open_checkpoint(directory);
  EXPECT_EQ(source->read("b").data<std::int32_t>()[0], 2);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(source->read("b").host()) % 4, 0u);
}

TEST_F(CheckpointTest, ForeignTypesAreListedButNotRead) {
  const std::vector<HeaderEntry> entries = {{"w", find_stored_dtype("F8_E8M0"), Shape{2, 2}, 0, 4}};
  write_file_atomically(directory / "model.safetensors", safetensors_header(entries) + "abcd");
  const auto source = open_checkpoint(directory);
  EXPECT_EQ(source->find("w")->foreign_dtype, "F8_E8M0");
  expect_error(Fault::unsupported, "tensor 'w' holds F8_E8M0", [&] { source->read("w"); });
}

TEST_F(CheckpointTest, TensorsOutliveTheSourceAndNoticeShrinking) {
  write({{"a", counted({4}, DType::f32)}});
  auto source = open_checkpoint(directory);
  const Tensor t = source->read("a");
  ASSERT_EQ(::truncate((directory / "model.safetensors").c_str(), 64), 0);
  expect_error(Fault::bad_file, "shrank from", [&] { source->read("a"); });
  write({{"a", counted({4}, DType::f32)}});
  source = open_checkpoint(directory);
  const Tensor kept = source->read("a");
  source.reset();
  fs::remove(directory / "model.safetensors");
  expect_same(kept, counted({4}, DType::f32));
}

TEST_F(CheckpointTest, SaysWhatWasLookedFor) {
  expect_error(Fault::io, "no such directory", [&] { open_checkpoint(directory / "none"); });
  expect_error(Fault::bad_file, "looked for model.safetensors, model.safetensors.index.json",
               [&] { open_checkpoint(directory); });
  write_file_atomically(directory / "consolidated.pth", "x");
  expect_error(Fault::bad_file, "pytorch_model.bin.index.json; found 'consolidated.pth'",
               [&] { open_checkpoint(directory); });
  expect_error(Fault::bad_file, "is a file",
               [&] { open_checkpoint(directory / "consolidated.pth"); });
  fs::create_symlink("model.safetensors", directory / "model.safetensors");
  expect_error(Fault::io, "symbolic links", [&] { open_checkpoint(directory); });
  fs::remove(directory / "model.safetensors");
  fs::create_directory(directory / "model.safetensors");
  expect_error(Fault::bad_file, "is a directory", [&] { open_checkpoint(directory); });
}

TEST_F(CheckpointTest, FollowsLinksToFiles) {
  write({{"a", counted({4}, DType::f32)}});
  fs::rename(directory / "model.safetensors", directory / "blob");
  fs::create_symlink("blob", directory / "model.safetensors");
  EXPECT_EQ(open_checkpoint(directory)->tensors().size(), 1u);
}

TEST_F(CheckpointTest, AutoGptqNames) {
  write({{"a", counted({4}, DType::f32)}});
  fs::rename(directory / "model.safetensors", directory / "gptq_model-4bit-128g.safetensors");
  EXPECT_EQ(open_checkpoint(directory)->find("a")->file, "gptq_model-4bit-128g.safetensors");
  fs::copy_file(directory / "gptq_model-4bit-128g.safetensors",
                directory / "gptq_model-8bit-128g.safetensors");
  expect_error(Fault::bad_file, "cannot tell which", [&] { open_checkpoint(directory); });
}

class IndexTest : public CheckpointTest {
 protected:
  void SetUp() override {
    CheckpointTest::SetUp();
    const Tensor t = counted({2}, DType::f32);
    write({{"a", t}, {"b", t}, {"c", t}}, 16);
    index = read_json_file((directory / name).string());
  }
  void expect_refusal(const std::string& message) {
    write_file_atomically(directory / name, index.dump());
    expect_error(Fault::bad_file, message, [&] { open_checkpoint(directory); });
  }
  const std::string name = "model.safetensors.index.json";
  const std::string first = "model-00001-of-00002.safetensors";
  const std::string second = "model-00002-of-00002.safetensors";
  Json index;
};

TEST_F(IndexTest, Opens) { EXPECT_EQ(open_checkpoint(directory)->tensors().size(), 3u); }

TEST_F(IndexTest, PathsThatEscape) {
  for (const char* const file : {"../x.safetensors", "/etc/x.safetensors", "sub/x.safetensors",
                                 "..", "", ".safetensors", "model.bin", "a\\b.safetensors",
                                 "a b.safetensors", "x.safetensors\n", "\xc3\xa9.safetensors"}) {
    SCOPED_TRACE(file);
    index["weight_map"]["a"] = file;
    expect_refusal("expected the plain name of a .safetensors file");
  }
  index["weight_map"]["a"] = std::string("x\0.safetensors", 14);
  expect_refusal("'x\\x00.safetensors'");
  index["weight_map"]["a"] = 3;
  expect_refusal("is not a string");
}

TEST_F(IndexTest, WrongStructure) {
  index["weight_map"] = Json::array();
  expect_refusal("'weight_map' is not an object");
  index["weight_map"] = Json::object();
  expect_refusal("'weight_map' is empty");
  index.erase("weight_map");
  expect_refusal("'weight_map' is missing");
  index = 3;
  expect_refusal("expected an object, found number");
  write_file_atomically(directory / name, "");
  EXPECT_THROW(open_checkpoint(directory), Error);
  write_file_atomically(directory / name,
                        R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})");
  expect_error(Fault::bad_file, "duplicate key 'a'", [&] { open_checkpoint(directory); });
}

TEST_F(IndexTest, NamesThatDoNotAgree) {
  index["weight_map"]["d"] = second;
  expect_refusal("places tensor 'd' in " + second + ", which does not hold it");
  index["weight_map"].erase("d");
  index["weight_map"].erase("b");
  expect_refusal(first + " holds tensor 'b', which the index does not place there");
  index["weight_map"]["b"] = second;
  expect_refusal(first + " holds tensor 'b'");
  index["weight_map"]["b"] = first;
  index["weight_map"]["d"] = "model-00003-of-00003.safetensors";
  expect_refusal("the file model-00003-of-00003.safetensors with 1 tensors ('d', ...) is missing");
}

TEST_F(IndexTest, TensorInTwoShards) {
  fs::copy_file(directory / first, directory / second, fs::copy_options::overwrite_existing);
  expect_refusal(second + " holds tensor 'a', which the index does not place there");
}

TEST_F(IndexTest, MissingShard) {
  fs::remove(directory / second);
  expect_refusal("the file " + second + " with 1 tensors ('c', ...) is missing");
}

TEST(MemorySource, ShowsItsTensors) {
  const MemorySource source({{"b", counted({2}, DType::f16)}, {"a", counted({}, DType::u8)}});
  ASSERT_EQ(source.tensors().size(), 2u);
  EXPECT_EQ(source.tensors()[0].name, "a");
  EXPECT_EQ(source.find("b")->dtype, DType::f16);
  EXPECT_EQ(source.find("c"), nullptr);
  expect_same(source.read("b"), counted({2}, DType::f16));
  expect_error(Fault::bad_file, "no tensor 'c'", [&] { source.read("c"); });
}

}  // namespace
}  // namespace quaver
