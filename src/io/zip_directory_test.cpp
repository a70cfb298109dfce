#include "io/zip_directory.h"

#include "io/temporary_directory_test.h"
#include "io/zip_archive_test.h"

namespace quaver {
namespace {

const std::string local = "PK\3\4", central = "PK\1\2", end_mark = "PK\5\6";

std::vector<ZipEntry> read(const std::string& file) {
  return read_zip_directory(std::as_bytes(std::span(file)), "test.bin");
}

void expect_zip_refusal(const std::string& file, const std::string& part,
                        Fault fault = Fault::bad_file) {
  const Error e = error_of([&] { read(file); });
  EXPECT_TRUE(std::string(e.what()).starts_with("test.bin: ")) << e.what();
  expect_error(fault, part, [&] { read(file); });
}

const std::vector<ZipPart> two = {{"a/x", "hello"}, {"a/b/y", "hi"}};

TEST(ZipDirectory, FindsStoredData) {
  const std::string file = zip_of(two);
  const auto entries = read(file);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "a/b/y");
  EXPECT_EQ(file.substr(entries[0].begin, entries[0].size), "hi");
  EXPECT_EQ(file.substr(entries[1].begin, entries[1].size), "hello");
  EXPECT_TRUE(is_zip(std::as_bytes(std::span(file))));
  EXPECT_TRUE(read(zip_of({})).empty());
  EXPECT_EQ(read(zip_of({{"e", ""}}))[0].size, 0u);
}

TEST(ZipDirectory, ReadsSizesOfZip64) {
  const std::string name = "big", data = "12345";
  const std::string extra = little(1, 2) + little(16, 2) + little(5, 8) + little(5, 8);
  const std::string far = little(1, 2) + little(24, 2) + little(5, 8) + little(5, 8) + little(0, 8);
  const std::string none = little(0xffffffff, 4);
  const std::string file_part = local + little(45, 2) + little(0, 12) + none + none + little(3, 2) +
                                little(20, 2) + name + extra + data;
  const std::string directory = central + little(45, 2) + little(45, 2) + little(0, 12) + none +
                                none + little(3, 2) + little(28, 2) + little(0, 10) + none + name +
                                far;
  const std::size_t begin = file_part.size(), end64 = begin + directory.size();
  const std::string file =
      file_part + directory + "PK\6\6" + little(44, 8) + little(45, 2) + little(45, 2) +
      little(0, 8) + little(1, 8) + little(1, 8) + little(directory.size(), 8) + little(begin, 8) +
      "PK\6\7" + little(0, 4) + little(end64, 8) + little(1, 4) + end_mark + little(0, 4) +
      little(0xffff, 2) + little(0xffff, 2) + none + none + little(0, 2);
  const auto entries = read(file);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(file.substr(entries[0].begin, entries[0].size), data);
  std::string wrong = file;
  poke(wrong, "PK\6\7", 0, 8, end64 - 1, 8);
  expect_zip_refusal(wrong, "no zip64 end record");
  wrong = file;
  poke(wrong, "PK\6\6", 0, 40, ~std::uint64_t{0}, 8);
  expect_zip_refusal(wrong, "does not end at byte");
  wrong = file;
  poke(wrong, "PK\6\6", 0, 24, ~std::uint64_t{0}, 8);
  poke(wrong, "PK\6\6", 0, 32, ~std::uint64_t{0}, 8);
  expect_zip_refusal(wrong, "zip entries in a directory of");
  wrong = file;
  poke(wrong, central, 0, 46 + 3 + 4, std::uint64_t{1} << 62, 8);
  poke(wrong, central, 0, 46 + 3 + 12, std::uint64_t{1} << 62, 8);
  expect_zip_refusal(wrong,
                     "'big': its header says 5 bytes, the directory says 4611686018427387904");
  wrong = file;
  poke(wrong, central, 0, 46 + 3 + 2, 16, 2);
  expect_zip_refusal(wrong, "lacks a size or an offset");
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_THROW(read(file.substr(0, size)), Error) << size;
}

TEST(ZipDirectory, RefusesWhatIsNotStored) {
  expect_zip_refusal(zip_of({{"x", "abc", 8}}), "zip entry 'x': is compressed (method 8, deflate)",
                     Fault::unsupported);
  expect_zip_refusal(zip_of({{"x", "abc", 93}}), "(method 93, zstandard)", Fault::unsupported);
  expect_zip_refusal(zip_of({{"x", "abc", 77}}), "(method 77, unknown)", Fault::unsupported);
  expect_zip_refusal(zip_of({{"x", "abc", 0, 1}}), "is encrypted", Fault::unsupported);
  std::string file = zip_of(two);
  poke(file, end_mark, 0, 4, 1, 2);
  expect_zip_refusal(file, "in several parts", Fault::unsupported);
  file = zip_of(two);
  poke(file, central, 1, 34, 1, 2);
  expect_zip_refusal(file, "another part", Fault::unsupported);
}

TEST(ZipDirectory, RefusesNamesThatLeaveTheArchive) {
  for (const char* const name : {"../x", "a/../x", "/etc/x", "a\\x", "..", "a/.."}) {
    SCOPED_TRACE(name);
    expect_zip_refusal(zip_of({{name, "abc"}}), "is not the name of something inside the archive");
  }
  expect_zip_refusal(zip_of({{"", "abc"}}), "is not the name");
  expect_zip_refusal(zip_of({{std::string("a\0b", 3), "abc"}}), "'a\\x00b'");
  expect_zip_refusal(zip_of({{"a", "x"}, {"a", "y"}}), "two zip entries are called 'a'");
}

TEST(ZipDirectory, RefusesContradictions) {
  const auto poked = [](const std::string& mark, std::size_t n, std::size_t skip,
                        std::uint64_t value, int width) {
    std::string file = zip_of(two);
    poke(file, mark, n, skip, value, width);
    return file;
  };
  expect_zip_refusal(poked(central, 1, 42, 0, 4), "its header has the name 'a/x'");
  expect_zip_refusal(poked(central, 1, 42, 1, 4), "no header at byte 1");
  expect_zip_refusal(poked(central, 1, 42, 0xfffffffe, 4), "does not lie before the directory");
  expect_zip_refusal(poked(central, 0, 24, 6, 4), "is stored, but 6 bytes take 5");
  expect_zip_refusal(poked(local, 0, 22, 6, 4), "its header says 6 bytes, the directory says 5");
  expect_zip_refusal(poked(local, 0, 8, 8, 2), "its header does not say that it is stored");
  expect_zip_refusal(poked(local, 0, 26, 2, 2), "its header has the name 'a/'");
  expect_zip_refusal(poked(local, 1, 28, 60000, 2), "ends beyond the");
  expect_zip_refusal(poked(central, 0, 0, 7, 1), "no zip directory entry at byte");
  expect_zip_refusal(poked(central, 1, 32, 2, 2), "ends beyond the zip directory");
  expect_zip_refusal(poked(central, 1, 28, 60000, 2), "ends beyond the");
  expect_zip_refusal(poked(end_mark, 0, 12, 5, 4), "does not end at byte");
  expect_zip_refusal(poked(end_mark, 0, 20, 1, 2), "without the record that ends it");
  expect_zip_refusal(zip_of(two) + "x", "without the record that ends it");
  std::string fewer = poked(end_mark, 0, 8, 1, 2);
  poke(fewer, end_mark, 0, 10, 1, 2);
  expect_zip_refusal(fewer, "holds more than its 1 entries");
}

TEST(ZipDirectory, RefusesOverlap) {
  // The second entry's header stands in the data of the first.
  const std::string inner = zip_of({{"a/b/y", "hi"}});
  std::string file = zip_of({{"a/x", inner.substr(0, 37)}, {"a/b/y", "hi"}});
  poke(file, central, 1, 42, 33, 4);
  expect_zip_refusal(file, "the zip entries 'a/x' and 'a/b/y' overlap");
}

TEST(ZipDirectory, TruncatedAtEveryByte) {
  const std::string file = zip_of(two);
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_THROW(read(file.substr(0, size)), Error) << size;
}

}  // namespace
}  // namespace quaver
