#include "core/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "quaver-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory = name;
  }
  void TearDown() override { fs::remove_all(directory); }

  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
  }

  fs::path directory;
};

template <class Action>
Error error_of(Action&& action) {
  try {
    action();
  } catch (const Error& e) {
    return e;
  }
  return {Fault::internal, "no error was thrown"};
}

// Runs `action` in a child process whose files may not grow above `bytes`; its message comes back.
template <class Action>
std::string message_under_file_limit(rlim_t bytes, Action&& action) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Error e = error_of(action);
    const std::string said = text(static_cast<int>(e.fault), ' ', e.what());
    ::_exit(::write(ends[1], said.data(), said.size()) > 0 ? 0 : 1);
  }
  ::close(ends[1]);
  std::string said(4096, '\0');
  const ssize_t n = ::read(ends[0], said.data(), said.size());
  said.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return said;
}

TEST_F(FileTest, WrittenBytesComeBack) {
  const fs::path path = directory / "a";
  for (const std::size_t size : {0, 1, 4095, 4096, 3'000'001}) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 >> 3);
    write_file_atomically(path, bytes);
    EXPECT_EQ(read_file(path, size), bytes);
    EXPECT_EQ(entries(), 1u);
  }
}

TEST_F(FileTest, ReadRefusesWhatItMust) {
  write_file_atomically(directory / "a", "12345");
  EXPECT_EQ(error_of([&] { read_file(directory / "a", 4); }).what(),
            (directory / "a").string() + ": 5 bytes, the limit is 4");
  const Error absent = error_of([&] { read_file(directory / "none", 4); });
  EXPECT_EQ(absent.fault, Fault::io);
  EXPECT_NE(std::string(absent.what()).find("No such file"), std::string::npos);
  const Error folder = error_of([&] { read_file(directory, 4); });
  EXPECT_EQ(folder.fault, Fault::bad_file);
  EXPECT_NE(std::string(folder.what()).find("is a directory"), std::string::npos);
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  EXPECT_NE(std::string(error_of([&] { read_file(directory / "pipe", 4); }).what())
                .find("not a regular file"),
            std::string::npos);
  fs::create_symlink("loop", directory / "loop");
  EXPECT_EQ(error_of([&] { read_file(directory / "loop", 4); }).fault, Fault::io);
}

TEST_F(FileTest, ListsNamesInOrder) {
  EXPECT_TRUE(names_in(directory).empty());
  for (const char* const name : {"b", ".c", "a"}) write_file_atomically(directory / name, "");
  fs::create_directory(directory / "sub");
  EXPECT_EQ(names_in(directory), (std::vector<std::string>{".c", "a", "b", "sub"}));
  const Error e = error_of([&] { names_in(directory / "none"); });
  EXPECT_EQ(e.fault, Fault::io);
  EXPECT_NE(std::string(e.what()).find("cannot list"), std::string::npos);
}

TEST_F(FileTest, ReadsFilesThatClaimNoSize) {
  EXPECT_FALSE(read_file("/proc/self/status", 1 << 20).empty());
  EXPECT_EQ(error_of([] { read_file("/proc/self/status", 10); }).fault, Fault::bad_file);
}

TEST_F(FileTest, NothingIsLeftWithoutCommit) {
  write_file_atomically(directory / "a", "old");
  {
    AtomicFile file(directory / "a");
    file.write("new");
    EXPECT_EQ(entries(), 2u);
  }
  EXPECT_EQ(entries(), 1u);
  EXPECT_EQ(read_file(directory / "a", 10), "old");
}

TEST_F(FileTest, TheNameMayBeChosenAtTheEnd) {
  AtomicFile file(directory / "a");
  file.write("x");
  file.sync();
  file.commit_as(directory / "b");
  EXPECT_EQ(entries(), 1u);
  EXPECT_EQ(read_file(directory / "b", 10), "x");
  EXPECT_EQ(error_of([&] { file.commit(); }).fault, Fault::internal);
}

TEST_F(FileTest, FailedCommitLeavesNothing) {
  fs::create_directory(directory / "a");
  fs::create_directory(directory / "a" / "full");
  const Error e = error_of([&] { write_file_atomically(directory / "a", "x"); });
  EXPECT_EQ(e.fault, Fault::io);
  EXPECT_EQ(entries(), 1u);
  EXPECT_EQ(error_of([&] { AtomicFile(directory / "none" / "a"); }).fault, Fault::io);
}

TEST_F(FileTest, CopiesAndAppends) {
  std::string bytes(2'500'000, 'x');
  bytes += "end";
  write_file_atomically(directory / "a", bytes);
  copy_file_atomically(directory / "a", directory / "b");
  EXPECT_EQ(read_file(directory / "b", bytes.size()), bytes);
  AtomicFile joined(directory / "c");
  joined.write("head");
  std::uint64_t size = 0;
  const FileHandle source = open_regular_file(directory / "a", size);
  joined.append(source.get(), 1, size - 1);
  EXPECT_EQ(joined.size(), size + 3);
  const Error e = error_of([&] { joined.append(source.get(), 2, size - 1); });
  EXPECT_EQ(e.fault, Fault::bad_file);
  EXPECT_NE(std::string(e.what()).find("ended after"), std::string::npos);
  AtomicFile part(directory / "d");
  part.append(source.get(), size - 4, 3);
  part.commit();
  EXPECT_EQ(read_file(directory / "d", 9), "xen");
}

TEST_F(FileTest, FullDiskIsAnErrorWithNumbers) {
  const FileHandle full(::open("/dev/full", O_WRONLY));
  ASSERT_TRUE(full);
  const std::string bytes(10, 'x');
  const Error e = error_of(
      [&] { write_all(full.get(), std::as_bytes(std::span(bytes)), "out/model.safetensors"); });
  EXPECT_EQ(e.fault, Fault::resource);
  EXPECT_NE(std::string(e.what()).find("out/model.safetensors: cannot write 10 bytes: No space"),
            std::string::npos)
      << e.what();
  EXPECT_NE(std::string(e.what()).find("bytes are free"), std::string::npos);
}

TEST_F(FileTest, FileSizeLimitLeavesNothing) {
  const std::string bytes(200'000, 'x');
  const std::string said =
      message_under_file_limit(100'000, [&] { write_file_atomically(directory / "a", bytes); });
  EXPECT_NE(said.find("cannot write 100000 bytes: File too large"), std::string::npos) << said;
  EXPECT_EQ(said.front(), '0' + static_cast<int>(Fault::resource));
  EXPECT_EQ(entries(), 0u);
  write_file_atomically(directory / "a", bytes);
  const std::string copied = message_under_file_limit(
      100'000, [&] { copy_file_atomically(directory / "a", directory / "b"); });
  EXPECT_NE(copied.find("File too large"), std::string::npos) << copied;
  EXPECT_EQ(entries(), 1u);
}

}  // namespace
}  // namespace quaver
