#include "core/mapped_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

class MappedFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "quaver-mapped-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory = name;
  }
  void TearDown() override { fs::remove_all(directory); }
  fs::path directory;
};

std::string content(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST_F(MappedFileTest, ShowsTheBytes) {
  const std::string bytes = std::string(5000, 'a') + "end";
  write_file_atomically(directory / "a", bytes);
  fs::create_symlink("a", directory / "link");
  for (const char* const name : {"a", "link"}) {
    const auto mapped = MappedFile::open(directory / name);
    EXPECT_EQ(mapped->size(), bytes.size());
    EXPECT_EQ(content(*mapped), bytes);
    EXPECT_NO_THROW(mapped->check_size());
  }
}

TEST_F(MappedFileTest, EmptyFile) {
  write_file_atomically(directory / "a", "");
  EXPECT_EQ(MappedFile::open(directory / "a")->bytes().size(), 0u);
}

TEST_F(MappedFileTest, SurvivesRemovalAndNoticesShrinking) {
  write_file_atomically(directory / "a", "12345678");
  const auto mapped = MappedFile::open(directory / "a");
  ASSERT_EQ(::truncate((directory / "a").c_str(), 4), 0);
  try {
    mapped->check_size();
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault, Fault::bad_file);
    EXPECT_EQ(std::string(e.what()),
              (directory / "a").string() + ": shrank from 8 to 4 bytes while it was in use");
  }
  fs::remove(directory / "a");
  EXPECT_EQ(content(*mapped).substr(0, 4), "1234");
}

TEST_F(MappedFileTest, RefusesDirectoriesAndAbsentFiles) {
  EXPECT_THROW(MappedFile::open(directory), Error);
  EXPECT_THROW(MappedFile::open(directory / "none"), Error);
}

}  // namespace
}  // namespace quaver
