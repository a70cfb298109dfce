#pragma once
// A regular file mapped into memory for reading.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "core/file.h"

namespace quaver {

// Shared by the tensors that show parts of it. The memory is read-only: writing there is a fault of
// the program.
class MappedFile {
 public:
  // Follows symbolic links to a regular file. Throws Error(io) or Error(bad_file).
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  // Touching pages beyond the end of a file that shrank kills the process: call this before.
  // Throws Error(bad_file) if the file is no longer as long as when it was opened.
  void check_size() const;

 private:
  MappedFile() = default;

  std::filesystem::path path_;
  FileHandle file_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Takes the pages of all mapped files out of this process's memory: they count there until then.
// Reading them again costs a fault each; the system keeps their bytes as long as it has room.
void drop_mapped_pages();

}  // namespace quaver
