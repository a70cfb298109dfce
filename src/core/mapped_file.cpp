#include "core/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include "core/error.h"

namespace quaver {
namespace {

// Of all files that are mapped now. Never destroyed: tensors in static storage may show a file.
struct Mappings {
  std::mutex mutex;
  std::map<void*, std::size_t> sizes;
};

Mappings& mappings() {
  static Mappings* const the = new Mappings;
  return *the;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const std::shared_ptr<MappedFile> mapped(new MappedFile);
  std::uint64_t size = 0;
  mapped->path_ = path;
  mapped->file_ = open_regular_file(path, size);
  if (size == 0) return mapped;  // an empty mapping is an error to the system
  void* const data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, mapped->file_.get(), 0);
  if (data == MAP_FAILED)
    fail(errno == ENOMEM ? Fault::resource : Fault::io, path.string(), ": cannot map ", size,
         " bytes: ", std::strerror(errno));
  const std::lock_guard lock(mappings().mutex);
  mappings().sizes.emplace(data, size);
  mapped->data_ = static_cast<const std::byte*>(data);
  mapped->size_ = size;
  return mapped;
}

MappedFile::~MappedFile() {
  if (!data_) return;
  void* const data = const_cast<std::byte*>(data_);
  const std::lock_guard lock(mappings().mutex);
  mappings().sizes.erase(data);
  ::munmap(data, size_);
}

void drop_mapped_pages() {
  const std::lock_guard lock(mappings().mutex);
  for (const auto& [data, size] : mappings().sizes) ::madvise(data, size, MADV_DONTNEED);
}

void MappedFile::check_size() const {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0)
    fail(Fault::io, path_.string(), ": cannot stat: ", std::strerror(errno));
  ensure_file(static_cast<std::uint64_t>(status.st_size) >= size_, path_.string(), ": shrank from ",
              size_, " to ", status.st_size, " bytes while it was in use");
}

}  // namespace quaver
