// Files of torch.save, written by PyTorch (tests/golden/make_bin.py) and by hand to be wrong.
#include "io/torch_file.h"

#include <unistd.h>

#include <cstring>

#include "core/file.h"
#include "io/checkpoint.h"
#include "io/pickle.h"
#include "io/temporary_directory_test.h"
#include "io/zip_archive_test.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

const fs::path data = fs::path(QUAVER_TEST_DATA) / "bin";

std::string content_of(const Tensor& t) {
  return {reinterpret_cast<const char*>(t.host()), t.bytes()};
}

void expect_same(const TensorSource& found, const TensorSource& expected) {
  ASSERT_EQ(found.tensors().size(), expected.tensors().size());
  for (const TensorInfo& info : expected.tensors()) {
    SCOPED_TRACE(info.name);
    ASSERT_NE(found.find(info.name), nullptr);
    const Tensor a = found.read(info.name), b = expected.read(info.name);
    EXPECT_EQ(found.find(info.name)->dtype, info.dtype);
    EXPECT_EQ(a.dtype(), b.dtype());
    EXPECT_EQ(a.shape(), b.shape());
    EXPECT_EQ(content_of(a), content_of(b));
  }
}

class WrittenByTorch : public testing::TestWithParam<std::string> {};

TEST_P(WrittenByTorch, HoldsTheSameBits) {
  expect_same(*open_torch_file(data / (GetParam() + ".bin")),
              *open_safetensors(data / (GetParam() + ".safetensors")));
}
INSTANTIATE_TEST_SUITE_P(Files, WrittenByTorch,
                         testing::Values("types", "views", "legacy", "training"));

TEST(TorchFile, ShardsHoldTheSameBits) {
  const auto source = open_checkpoint(data / "sharded");
  expect_same(*source, *open_safetensors(data / "sharded" / "expected.safetensors"));
  EXPECT_EQ(source->find("bfloat16.turned")->file, "pytorch_model-00002-of-00002.bin");
}

TEST(TorchFile, IsMappedWhereTheLayoutAllows) {
  const auto source = open_torch_file(data / "views.bin");
  const auto id = [&](const char* name) { return source->read(name).id(); };
  EXPECT_EQ(id("base"), id("base"));
  EXPECT_EQ(id("base"), id("tied")) << "tied weights share their storage";
  EXPECT_EQ(id("slice").base, id("base").base);
  EXPECT_EQ(id("slice").offset, id("base").offset + 60 * 4);
  const Tensor copy = source->read("permuted");
  EXPECT_FALSE(copy.id() == id("permuted")) << "a copy each time";
  const Tensor kept = source->read("base");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(kept.host()) % 64, 0u);
}

// torch's own conversions of all 256 values.
TEST(TorchFile, Float8ConvertsAsInTorch) {
  const auto golden = open_safetensors(data / "float8.safetensors");
  for (const auto& [name, dtype] :
       {std::pair("float8_e4m3fn", DType::f8_e4m3fn), std::pair("float8_e5m2", DType::f8_e5m2)}) {
    Tensor every = Tensor::raw({256}, dtype);
    for (int i = 0; i < 256; ++i) every.host()[i] = static_cast<std::byte>(i);
    const Tensor ours = to_f32(every), theirs = golden->read(name);
    for (int i = 0; i < 256; ++i) {
      const float a = ours.data<float>()[i], b = std::as_const(theirs).data<float>()[i];
      EXPECT_TRUE(std::memcmp(&a, &b, 4) == 0 || (a != a && b != b)) << name << ' ' << i;
    }
  }
}

// Files by hand.

std::string word(const std::string& s) { return "X" + little(s.size(), 4) + s; }
std::string number(std::int64_t n) { return "\x8a\x08" + little(static_cast<std::uint64_t>(n), 8); }
std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
std::string numbers(const std::vector<std::int64_t>& values) {
  std::vector<std::string> items;
  for (const std::int64_t value : values) items.push_back(number(value));
  return tuple(items);
}
std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string all = "}(";
  for (const auto& [key, value] : items) all += word(key) + value;
  return all + "u";
}

struct View {
  std::string type = "torch\nFloatStorage", key = "0";
  std::int64_t count = 6, offset = 0;
  std::vector<std::int64_t> shape = {2, 3}, strides = {3, 1};
  bool legacy = false;
};
std::string storage(const View& v) {
  std::vector<std::string> id = {word("storage"), "c" + v.type + "\n", word(v.key), word("cpu"),
                                 number(v.count)};
  if (v.legacy) id.push_back("N");
  return tuple(id) + "Q";
}
std::string tensor(const View& v = {}) {
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         tuple({storage(v), number(v.offset), numbers(v.shape), numbers(v.strides), "\x89",
                "ccollections\nOrderedDict\n)R"}) +
         "R";
}
std::string tensor_v3(const View& v, const std::string& dtype) {
  return "ctorch._utils\n_rebuild_tensor_v3\n" +
         tuple({storage(v), number(v.offset), numbers(v.shape), numbers(v.strides), "\x89", "}",
                "ctorch\n" + dtype + "\n"}) +
         "R";
}

const std::string six_floats(24, 'f');

std::string archive(const std::string& object, const std::string& storage_bytes = six_floats) {
  return zip_of({{"top/data.pkl", "\x80\x02" + object + "."},
                 {"top/byteorder", "little"},
                 {"top/data/0", storage_bytes},
                 {"top/version", "3\n"}});
}

std::vector<TorchTensor> parse_torch(const std::string& file) {
  return parse_torch_file(std::as_bytes(std::span(file)), "w.bin");
}
void expect_torch_refusal(const std::string& file, const std::string& part,
                          Fault fault = Fault::bad_file) {
  const Error e = error_of([&] { parse_torch(file); });
  EXPECT_TRUE(std::string(e.what()).starts_with("w.bin: ")) << e.what();
  expect_error(fault, part, [&] { parse_torch(file); });
}
// A state dict whose tensor w is as given.
void expect_view_refusal(const View& view, const std::string& part) {
  expect_torch_refusal(archive(dict({{"w", tensor(view)}})), part);
}

TEST(TorchFile, ByHand) {
  const auto tensors = parse_torch(archive(dict({{"w", tensor()}, {"n", "N"}})));
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].name, "w");
  EXPECT_EQ(tensors[0].shape, (Shape{2, 3}));
  EXPECT_TRUE(tensors[0].is_dense());
  EXPECT_EQ(tensors[0].storage_end - tensors[0].begin, 24u);
  EXPECT_TRUE(parse_torch(archive("}")).empty());
  const std::string before_0_4 = "ctorch._utils\n_rebuild_tensor\n" +
                                 tuple({storage({}), number(1), numbers({5}), numbers({1})}) + "R";
  const auto old_tensors = parse_torch(archive(dict({{"w", before_0_4}})));
  ASSERT_EQ(old_tensors.size(), 1u);
  EXPECT_EQ(old_tensors[0].begin - old_tensors[0].storage_begin, 4u);
}

TEST(TorchFile, NestedStateDicts) {
  const std::string state = dict({{"w", tensor()}});
  for (const char* const key : {"state_dict", "model_state_dict", "model", "module"})
    EXPECT_EQ(parse_torch(archive(dict({{"epoch", number(3)}, {key, state}}))).size(), 1u) << key;
  EXPECT_EQ(parse_torch(archive(dict({{"model", dict({{"state_dict", state}})}}))).size(), 1u);
  EXPECT_EQ(parse_torch(archive(dict({{"step", tensor()}, {"model", state}})))[0].name, "w");
  EXPECT_EQ(parse_torch(archive(dict({{"v", tensor()}, {"model", "}"}})))[0].name, "v");
  expect_torch_refusal(
      archive(dict({{"epoch", number(3)}, {"weights", state}})),
      "a dict without tensors, with the keys 'epoch', 'weights'; expected tensors");
  expect_torch_refusal(archive(dict({{"model", state}, {"module", state}})),
                       "under 'model' or 'module'; quaver cannot tell");
  expect_torch_refusal(archive(dict({{"model", dict({{"model", dict({{"model", state}})}})}})),
                       "a dict without tensors");
  expect_torch_refusal(archive("}q\x01" + word("model") + "h\x01s"), "a dict without tensors");
  expect_torch_refusal(archive("]"), "the object in the file is a list, expected a dict");
  expect_torch_refusal(archive("}NNs"), "with the keys a None; expected");
}

TEST(TorchFile, ExecutesNothing) {
  const std::string attack = "cos\nsystem\n" + tuple({word("touch hacked")}) + "R";
  expect_torch_refusal(archive(dict({{"w", attack}})), "top/data.pkl': pickle, byte ",
                       Fault::unsupported);
  expect_torch_refusal(archive(dict({{"w", attack}})), "the Python name 'os.system'",
                       Fault::unsupported);
  expect_torch_refusal(archive(dict({{"w", "ctorch._utils\n_rebuild_qtensor\n)R"}})),
                       "'torch._utils._rebuild_qtensor'", Fault::unsupported);
  expect_torch_refusal(archive(dict({{"w", "ctorch\nFloatStorage\n)R"}})),
                       "a call of 'torch FloatStorage', which is not a function",
                       Fault::unsupported);
  expect_torch_refusal(archive("i"), "the operation 'i'", Fault::unsupported);
}

TEST(TorchFile, ViewsStayInsideTheirStorage) {
  expect_view_refusal({.offset = 1},
                      "tensor 'w' of shape [2, 3]: reaches element 6 of a storage "
                      "of 6");
  expect_view_refusal({.offset = -1}, "begins at element -1");
  expect_view_refusal({.shape = {3, 3}}, "reaches element 8");
  expect_view_refusal({.strides = {4, 1}}, "reaches element 6");
  expect_view_refusal({.strides = {-3, 1}}, "the stride -3 of dimension 0");
  expect_view_refusal({.shape = {-2, 3}}, "expected none below 0");
  expect_view_refusal({.shape = {2, INT64_MAX}}, "overflow");
  expect_view_refusal({.shape = {INT64_MAX, INT64_MAX}, .strides = {0, 0}}, "overflow");
  expect_view_refusal({.strides = {INT64_MAX, INT64_MAX}}, "overflow");
  expect_view_refusal({.offset = INT64_MAX}, "reaches element 9223372036854775812");
  expect_view_refusal({.shape = {1 << 30, 1}, .strides = {0, 0}},
                      "takes 4294967296 bytes, its storage has 24");
  expect_view_refusal({.shape = {INT64_MAX, 2}, .strides = {0, 0}}, "overflow");
  expect_view_refusal({.shape = {6}, .strides = {1, 1}}, "has 1 dimensions and 2 strides");
  expect_view_refusal({.shape = {1, 1, 1, 1, 1, 1, 6}, .strides = {1, 1, 1, 1, 1, 1, 1}},
                      "has 7 dimensions");
  EXPECT_NO_THROW(
      parse_torch(archive(dict({{"w", tensor({.offset = 99, .shape = {0}, .strides = {1}})}}))));
}

TEST(TorchFile, StoragesAreWhatTheArchiveHolds) {
  expect_view_refusal({.count = 7}, "zip entry 'top/data/0' has 24 bytes, expected 28");
  expect_view_refusal({.count = -1}, "storage '0' has -1 elements");
  expect_view_refusal({.count = INT64_MAX}, "storage '0' has 9223372036854775807 elements of 4");
  expect_view_refusal({.key = "1"}, "zip entry 'top/data/1' is missing, a storage of 24 bytes");
  expect_view_refusal({.key = "../../../etc/passwd"}, "is missing");
  expect_view_refusal({.type = "torch\nfloat32"},
                      "has the type 'torch float32', expected a storage");
  expect_view_refusal({.type = "torch.storage\nUntypedStorage", .count = 24},
                      "has a dtype that is none");
  expect_view_refusal({.legacy = true}, "is named by 6 values, expected 5");
  expect_torch_refusal(
      archive(dict({{"a", tensor()}, {"b", tensor({.type = "torch\nIntStorage"})}})),
      "storage '0' is both 24 bytes of torch float32 and 24 bytes of torch int32");
  expect_torch_refusal(archive(dict({{"w", tuple({word("module"), "N", "N", "N", "N"}) + "Q"}})),
                       "found a reference to 'module', expected a storage");
  expect_torch_refusal(archive(dict({{"w", "NQ"}})), "what names a storage is a None");
  expect_torch_refusal(archive(dict({{"w", tensor_v3({}, "FloatStorage")}})),
                       "a dtype that is none");
}

TEST(TorchFile, WrongArguments) {
  const std::string rebuild = "ctorch._utils\n_rebuild_tensor_v2\n";
  expect_torch_refusal(archive(dict({{"w", rebuild + ")R"}})), "has 0 arguments, expected 6");
  expect_torch_refusal(
      archive(dict({{"w", rebuild + tuple({"N", "N", "N", "N", "N", "N"}) + "R"}})),
      "tensor 'w' is a None, expected a storage");
  const auto with = [&](const std::string& offset, const std::string& shape) {
    return archive(
        dict({{"w", rebuild + tuple({storage({}), offset, shape, shape, "N", "N"}) + "R"}}));
  };
  expect_torch_refusal(with("N", ")"),
                       "the offset of tensor 'w' is a None, expected a whole number");
  expect_torch_refusal(with(number(0), "]"), "the shape of tensor 'w' is a list, expected a tuple");
  expect_torch_refusal(with(number(0), tuple({"N"})), "the shape of tensor 'w' is a None");
  const std::string parameter = "ctorch._utils\n_rebuild_parameter\n";
  const auto wrapped = [&](const std::string& of) {
    return parameter + tuple({of, "\x88", "}"}) + "R";
  };
  EXPECT_EQ(parse_torch(archive(dict({{"w", wrapped(tensor())}}))).size(), 1u);
  expect_torch_refusal(archive(dict({{"w", wrapped("N")}})), "is a parameter without a tensor");
  expect_torch_refusal(archive(dict({{"w", parameter + ")R"}})), "is a parameter without a tensor");
  expect_torch_refusal(archive(dict({{"w", wrapped(wrapped(tensor()))}})),
                       "a parameter of a parameter");
}

TEST(TorchFile, Names) {
  expect_torch_refusal(archive(dict({{"w", tensor()}, {"w", tensor()}})),
                       "two tensors are called 'w'");
  expect_torch_refusal(archive("}N" + tensor() + "s"),
                       "the name of a tensor is a None, expected a text");
  const std::string longest(5000, 'n');
  expect_torch_refusal(archive(dict({{longest, tensor()}})), "the name of a tensor of 5000 bytes");
  expect_view_refusal({.key = longest}, "the key of a storage of 5000 bytes");
  // A name is never a path.
  EXPECT_EQ(parse_torch(archive(dict({{"../../w", tensor()}})))[0].name, "../../w");
}

TEST(TorchFile, ArchivesOfSomethingElse) {
  const std::string pickle = "\x80\x02}.";
  expect_torch_refusal("", "neither a zip archive nor PyTorch's older format");
  expect_torch_refusal("\x80\x02}.", "neither a zip archive");
  expect_torch_refusal(zip_of({{"word/document.xml", "x"}}), "a zip archive without data.pkl");
  expect_torch_refusal(zip_of({{"data.pkl", pickle}}), "without data.pkl in a folder");
  expect_torch_refusal(zip_of({{"a/data.pkl", pickle}, {"b/data.pkl", pickle}}), "two pickles");
  expect_torch_refusal(zip_of({{"a/data.pkl", pickle}, {"a/constants.pkl", pickle}}), "TorchScript",
                       Fault::unsupported);
  expect_torch_refusal(zip_of({{"a/data.pkl", pickle}, {"a/byteorder", "big"}}),
                       "'a/byteorder' says 'big', quaver reads little", Fault::unsupported);
  expect_torch_refusal(zip_of({{"a/data.pkl", pickle + "x"}}), "1 bytes follow the pickle");
  expect_torch_refusal(zip_of({{"a/data.pkl", pickle, 8}}), "is compressed (method 8, deflate)",
                       Fault::unsupported);
}

class TorchFileOnDisk : public TemporaryDirectory {
 protected:
  std::unique_ptr<TensorSource> open(const std::string& file) {
    write_file_atomically(directory / "pytorch_model.bin", file);
    return open_checkpoint(directory);
  }
};

TEST_F(TorchFileOnDisk, ForeignTypesAreListedButNotRead) {
  const auto source = open(archive(dict(
      {{"c",
        tensor(
            {.type = "torch\nComplexFloatStorage", .count = 3, .shape = {3}, .strides = {1}})}})));
  EXPECT_EQ(source->find("c")->foreign_dtype, "complex64");
  expect_error(Fault::unsupported, "tensor 'c' holds complex64", [&] { source->read("c"); });
  expect_error(Fault::bad_file, "no tensor 'd'", [&] { source->read("d"); });
  const View bytes{.type = "torch.storage\nUntypedStorage", .count = 24};
  EXPECT_EQ(
      open(archive(dict({{"e", tensor_v3(bytes, "float8_e8m0fnu")}})))->find("e")->foreign_dtype,
      "float8_e8m0fnu");
}

TEST_F(TorchFileOnDisk, UnalignedStoragesAreCopied) {
  for (const std::string& pad : {""s, "x"s, "xx"s, "xxx"s}) {
    const auto source = open(zip_of({{"top/data.pkl", "\x80\x02" + dict({{"w", tensor()}}) + "."},
                                     {"top/pad", pad},
                                     {"top/data/0", six_floats}}));
    const Tensor t = source->read("w");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t.host()) % 4, 0u);
    EXPECT_EQ(content_of(t), six_floats);
  }
}

TEST_F(TorchFileOnDisk, NoticesShrinking) {
  const auto source = open(archive(dict({{"w", tensor()}})));
  ASSERT_EQ(::truncate((directory / "pytorch_model.bin").c_str(), 64), 0);
  expect_error(Fault::bad_file, "shrank from", [&] { source->read("w"); });
}

TEST_F(TorchFileOnDisk, SafetensorsComeFirst) {
  for (const fs::path& file :
       {data / "llama/safetensors/model.safetensors", data / "sharded/pytorch_model.bin.index.json",
        data / "llama/bin/pytorch_model.bin"})
    fs::copy_file(file, directory / file.filename());
  const auto opened = [&] { return open_checkpoint(directory)->tensors()[0].file; };
  EXPECT_EQ(opened(), "model.safetensors");
  fs::remove(directory / "model.safetensors");
  EXPECT_EQ(opened(), "pytorch_model.bin");
  fs::remove(directory / "pytorch_model.bin");
  expect_error(Fault::bad_file, "the file pytorch_model-00001-of-00002.bin with 3 tensors", opened);
  const fs::path index = directory / "pytorch_model.bin.index.json";
  write_file_atomically(index, R"({"weight_map":{"a":"model.safetensors"}})");
  expect_error(Fault::bad_file, "expected the plain name of a .bin file", opened);
  write_file_atomically(index, R"({"weight_map":{"a":"../pytorch_model.bin"}})");
  expect_error(Fault::bad_file, "expected the plain name of a .bin file", opened);
}

TEST(TorchFile, TruncatedOrChangedAtEveryByte) {
  for (const std::string& file :
       {archive(dict({{"w", tensor()}})),
        read_file(data / "sharded/pytorch_model-00001-of-00002.bin", 1 << 20)}) {
    for (std::size_t size = 0; size < file.size(); ++size)
      EXPECT_THROW(parse_torch(file.substr(0, size)), Error) << size;
    for (std::size_t i = 0; i < file.size(); ++i) {
      std::string changed = file;
      changed[i] = static_cast<char>(changed[i] ^ 0xff);
      try {
        for (const TorchTensor& t : parse_torch(changed)) EXPECT_LE(t.storage_end, changed.size());
      } catch (const Error& e) {
        EXPECT_TRUE(e.fault == Fault::bad_file || e.fault == Fault::unsupported) << e.what();
      }
    }
  }
}

// The form before PyTorch 1.6.

std::string legacy(const std::string& object, const std::string& keys, const std::string& storages,
                   const std::string& version = "M\xe9\x03", const std::string& endian = "\x88") {
  const std::string p = "\x80\x02";
  return p + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + p + version + "." + p +
         dict({{"little_endian", endian}, {"protocol_version", number(1001)}}) + "." + p + object +
         "." + p + keys + "." + storages;
}
const View old{.legacy = true};
const std::string old_dict = dict({{"w", tensor(old)}});
const std::string old_keys = "]" + word("0") + "a";
const std::string old_bytes = little(6, 8) + six_floats;

TEST(TorchLegacy, ByHand) {
  const std::string file = legacy(old_dict, old_keys, old_bytes);
  const auto tensors = parse_torch(file);
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(file.substr(tensors[0].begin, 24), six_floats);
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_THROW(parse_torch(file.substr(0, size)), Error) << size;
}

TEST(TorchLegacy, Refusals) {
  expect_torch_refusal(legacy(old_dict, old_keys, old_bytes, "M\xe8\x03"), "version 1000",
                       Fault::unsupported);
  expect_torch_refusal(legacy(old_dict, old_keys, old_bytes, "M\xe9\x03", "\x89"),
                       "little_endian is not true", Fault::unsupported);
  expect_torch_refusal(legacy(dict({{"w", tensor()}}), old_keys, old_bytes),
                       "is named by 5 values, expected 6");
  const std::string id = tuple({word("storage"), "ctorch\nFloatStorage\n", word("0"), word("cpu"),
                                number(6), tuple({word("1"), number(0), number(6)})});
  expect_torch_refusal(legacy(dict({{"w", id + "Q"}}), old_keys, old_bytes),
                       "a view of another one", Fault::unsupported);
  expect_torch_refusal(legacy(old_dict, "}", old_bytes), "the fifth pickle is a dict");
  expect_torch_refusal(legacy(old_dict, "]", ""), "storage '0' is not in the list of storages");
  expect_torch_refusal(legacy(old_dict, "](" + word("0") + word("0") + "e", old_bytes + old_bytes),
                       "is listed twice");
  expect_torch_refusal(legacy(old_dict, "]" + word("1") + "a", old_bytes), "which no tensor uses");
  expect_torch_refusal(legacy(old_dict, "]Na", old_bytes), "which no tensor uses");
  expect_torch_refusal(legacy(old_dict, old_keys, little(7, 8) + six_floats),
                       "has 7 elements of 4 bytes");
  expect_torch_refusal(legacy(old_dict, old_keys, little(~std::uint64_t{0}, 8) + six_floats),
                       "elements of 4 bytes, expected 24 bytes");
  expect_torch_refusal(legacy(old_dict, old_keys, little(6, 8) + "short"), "ends beyond the file");
  expect_torch_refusal(legacy(old_dict, old_keys, old_bytes + "x"),
                       "1 bytes follow the last storage");
  expect_torch_refusal(legacy("cos\nsystem\n)R", old_keys, old_bytes),
                       "w.bin: the object: pickle, byte ", Fault::unsupported);
  const std::string with_magic = legacy("", "", "").substr(0, 15);
  expect_torch_refusal(with_magic + "\x80\x02M\xe9\x03.\x80\x02].", "the third pickle is a list");
}

}  // namespace
}  // namespace quaver
