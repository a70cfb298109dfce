#pragma once
// Files read and written with every result checked. Nothing here uses streams: their destructors
// swallow a full disk.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

// A file descriptor that is closed at the end of its life.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int descriptor) : descriptor_(descriptor) {}
  FileHandle(FileHandle&& other) noexcept : descriptor_(other.release()) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle();

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  int release();

 private:
  int descriptor_ = -1;
};

// Opens a regular file for reading and tells its size in bytes. Symbolic links are followed to a
// regular file. Throws Error(io) if it cannot be opened, Error(bad_file) if it is something else.
FileHandle open_regular_file(const std::filesystem::path& path, std::uint64_t& size);

// A file for reading and writing that has no name in `directory`, on whose disk it lies, and goes
// with its handle. Throws Error(io).
FileHandle open_unnamed(const std::filesystem::path& directory);

// The whole content of a regular file. Throws Error(bad_file) above `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit);

// Reads up to `bytes` bytes from byte `offset` of an open file on; returns how many there were
// before its end. `where` stands in the message of the Error.
std::size_t read_at(int descriptor, std::byte* to, std::size_t bytes, std::uint64_t offset,
                    const std::filesystem::path& where);

// Writes all of `bytes`. `where` stands in the message of the Error: resource where the disk is
// full (with needed and free bytes), a quota or a file size limit is reached, io otherwise.
void write_all(int descriptor, std::span<const std::byte> bytes,
               const std::filesystem::path& where);
// The same from byte `offset` of the file on, wherever its position is; for several threads at a
// time.
void write_all_at(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset,
                  const std::filesystem::path& where);

// Makes what was written to an open file durable. `where` stands in the message of the Error.
void sync_descriptor(int descriptor, const std::filesystem::path& where);

// Names of the entries of a directory, sorted.
std::vector<std::string> names_in(const std::filesystem::path& directory);

// Makes the names in a directory durable.
void sync_directory(const std::filesystem::path& directory);

// A file that appears whole or not at all: it is written under a temporary name in the same
// directory, synced and renamed. Without commit() the temporary is removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view bytes) { write(std::as_bytes(std::span(bytes))); }
  // Appends a copy of `bytes` bytes that another open file holds from byte `begin`.
  void append(int descriptor, std::uint64_t begin, std::uint64_t bytes);
  std::uint64_t size() const { return size_; }
  int descriptor() const { return file_.get(); }  // open for reading and writing until sync()

  void sync();    // makes the content durable and closes the file, still under its temporary name
  void commit();  // sync() if need be, then the target's name
  // The same under another name in the same directory, for names that are known only at the end.
  void commit_as(const std::filesystem::path& target);

 private:
  std::filesystem::path target_, temporary_;  // temporary_ is empty once committed
  FileHandle file_;
  std::uint64_t size_ = 0;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);
// Copies a regular file's content.
void copy_file_atomically(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace quaver
