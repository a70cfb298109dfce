#include "core/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.h"

namespace quaver {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

// Empty where the system does not tell.
std::string free_space(int descriptor) {
  struct statvfs disk {};
  if (::fstatvfs(descriptor, &disk) != 0) return {};
  return text(" (", static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize,
              " bytes are free on that disk)");
}

[[noreturn]] void write_failed(int error, int descriptor, std::size_t missing,
                               const std::filesystem::path& where) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  fail(full ? Fault::resource : Fault::io, where.string(), ": cannot write ", missing,
       " bytes: ", std::strerror(error), full ? free_space(descriptor) : std::string());
}

std::filesystem::path directory_of(const std::filesystem::path& path) {
  const auto parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

std::filesystem::path temporary_name(const std::filesystem::path& target) {
  static std::atomic<unsigned> count{0};
  return target.string() + text(".tmp-", ::getpid(), '-', count++);
}

}  // namespace

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = other.release();
  }
  return *this;
}

FileHandle::~FileHandle() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int FileHandle::release() { return std::exchange(descriptor_, -1); }

FileHandle open_regular_file(const std::filesystem::path& path, std::uint64_t& size) {
  // O_NONBLOCK: opening a named pipe would wait for its writer.
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) fail(Fault::io, path.string(), ": cannot open: ", std::strerror(errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0)
    fail(Fault::io, path.string(), ": cannot stat: ", std::strerror(errno));
  ensure_file(!S_ISDIR(status.st_mode), path.string(), ": is a directory, expected a file");
  ensure_file(S_ISREG(status.st_mode), path.string(), ": is not a regular file");
  size = static_cast<std::uint64_t>(status.st_size);
  return file;
}

std::size_t read_at(int descriptor, std::byte* to, std::size_t bytes, std::uint64_t offset,
                    const std::filesystem::path& where) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n =
        ::pread(descriptor, to + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(Fault::io, where.string(), ": cannot read: ", std::strerror(errno));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::string read_file(const std::filesystem::path& path, std::uint64_t limit) {
  std::uint64_t size = 0;
  const FileHandle file = open_regular_file(path, size);
  ensure_file(size <= limit, path.string(), ": ", size, " bytes, the limit is ", limit);
  // One byte more than stat promised shows a file that grew, or one of /proc that says 0.
  std::string content;
  std::size_t wanted = static_cast<std::size_t>(size) + 1;
  for (std::size_t have = 0;;) {
    content.resize(wanted);
    have += read_at(file.get(), reinterpret_cast<std::byte*>(content.data()) + have, wanted - have,
                    have, path);
    ensure_file(have <= limit, path.string(), ": above the limit of ", limit, " bytes");
    if (have < wanted) {
      content.resize(have);
      return content;
    }
    wanted += chunk_bytes;
  }
}

void write_all(int descriptor, std::span<const std::byte> bytes,
               const std::filesystem::path& where) {
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), std::size_t{1} << 30);
    const ssize_t n = ::write(descriptor, bytes.data(), part);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) write_failed(errno, descriptor, bytes.size(), where);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void write_all_at(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset,
                  const std::filesystem::path& where) {
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), std::size_t{1} << 30);
    const ssize_t n = ::pwrite(descriptor, bytes.data(), part, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) write_failed(errno, descriptor, bytes.size(), where);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

void sync_descriptor(int descriptor, const std::filesystem::path& where) {
  while (::fsync(descriptor) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    fail(error == ENOSPC || error == EDQUOT ? Fault::resource : Fault::io, where.string(),
         ": cannot sync: ", std::strerror(error));
  }
}

std::vector<std::string> names_in(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::string> names;
  for (auto it = std::filesystem::directory_iterator(directory, error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error))
    names.push_back(it->path().filename().string());
  if (error) fail(Fault::io, directory.string(), ": cannot list: ", error.message());
  std::ranges::sort(names);
  return names;
}

void sync_directory(const std::filesystem::path& directory) {
  const FileHandle handle(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle) fail(Fault::io, directory.string(), ": cannot open: ", std::strerror(errno));
  sync_descriptor(handle.get(), directory);
}

AtomicFile::AtomicFile(std::filesystem::path target)
    : target_(std::move(target)), temporary_(temporary_name(target_)) {
  file_ = FileHandle(::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file_) {
    const int error = errno;
    const auto name = std::exchange(temporary_, {});  // not ours to remove
    fail(error == ENOSPC || error == EDQUOT ? Fault::resource : Fault::io, name.string(),
         ": cannot create: ", std::strerror(error));
  }
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      file_(std::move(other.file_)),
      size_(other.size_) {}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_all(file_.get(), bytes, target_);
  size_ += bytes.size();
}

void AtomicFile::append(int descriptor, std::uint64_t begin, std::uint64_t bytes) {
  std::uint64_t done = 0;
#ifdef __linux__
  for (off_t from = static_cast<off_t>(begin); done < bytes;) {
    const std::size_t part = std::min<std::uint64_t>(bytes - done, std::size_t{1} << 30);
    const ssize_t n = ::copy_file_range(descriptor, &from, file_.get(), nullptr, part, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
      write_failed(errno, file_.get(), bytes - done, target_);
    if (n <= 0) break;  // the file systems cannot; below reports a source that is too short
    done += static_cast<std::uint64_t>(n);
    size_ += static_cast<std::uint64_t>(n);
  }
#endif
  std::vector<std::byte> buffer(std::min<std::uint64_t>(chunk_bytes, bytes - done));
  while (done < bytes) {
    const std::size_t part = std::min<std::uint64_t>(bytes - done, buffer.size());
    const std::size_t n = read_at(descriptor, buffer.data(), part, begin + done, target_);
    ensure_file(n == part, target_.string(), ": the file to copy ended after ", done + n, " of ",
                bytes, " bytes");
    write(std::span(buffer).first(n));
    done += n;
  }
}

void AtomicFile::sync() {
  if (!file_) return;
  sync_descriptor(file_.get(), target_);
  // A file system may report a failed write only here.
  if (::close(file_.release()) != 0 && errno != EINTR)
    fail(errno == ENOSPC || errno == EDQUOT ? Fault::resource : Fault::io, target_.string(),
         ": cannot close: ", std::strerror(errno));
}

void AtomicFile::commit() { commit_as(target_); }

void AtomicFile::commit_as(const std::filesystem::path& target) {
  if (temporary_.empty())
    fail(Fault::internal, target.string(), ": this file was committed before");
  sync();
  if (::rename(temporary_.c_str(), target.c_str()) != 0)
    fail(Fault::io, temporary_.string(), ": cannot rename to ", target.string(), ": ",
         std::strerror(errno));
  temporary_.clear();
  sync_directory(directory_of(target));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void copy_file_atomically(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::uint64_t size = 0;
  const FileHandle source = open_regular_file(from, size);
  AtomicFile file(to);
  file.append(source.get(), 0, size);
  file.commit();
}

FileHandle open_unnamed(const std::filesystem::path& directory) {
  FileHandle file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  // Some file systems cannot: a name for an instant.
  std::string name = (directory / "quaver-unnamed-XXXXXX").string();
  file = FileHandle(::mkostemp(name.data(), O_CLOEXEC));
  if (!file) fail(Fault::io, name, ": cannot create: ", std::strerror(errno));
  if (::unlink(name.c_str()) != 0) fail(Fault::io, name, ": cannot remove: ", std::strerror(errno));
  return file;
}

}  // namespace quaver
