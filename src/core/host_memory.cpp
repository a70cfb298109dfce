#include "core/host_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.h"

namespace quaver {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t in_pages(std::size_t size) { return (size + page - 1) / page * page; }

void give_back(void* p, std::size_t size) {
  if (size < least_paged_buffer)
    std::free(p);
  else
    munmap(p, in_pages(size));
}

class Cache {
 public:
  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto it = free_.find(bytes);
    if (it == free_.end()) return nullptr;
    void* p = it->second;
    free_.erase(it);
    kept_ -= bytes;
    return p;
  }
  void give(void* p, std::size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      if (kept_ + bytes <= limit_) {
        free_.emplace(bytes, p);
        kept_ += bytes;
        return;
      }
    }
    give_back(p, bytes);
  }
  void limit(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    limit_ = bytes;
    shrink(bytes);
  }
  void drop() {
    const std::lock_guard lock(mutex_);
    shrink(0);
  }

 private:
  void shrink(std::size_t bytes) {
    while (kept_ > bytes) {
      const auto last = std::prev(free_.end());
      give_back(last->second, last->first);
      kept_ -= last->first;
      free_.erase(last);
    }
  }

  std::mutex mutex_;
  std::multimap<std::size_t, void*> free_;
  std::size_t kept_ = 0, limit_ = default_host_buffer_cache;
};

// Never destroyed: tensors in static storage may outlive any static object.
Cache& cache() {
  static Cache* const the = new Cache;
  return *the;
}

// Sizes are rounded to few classes (4 a power of two), so that nearly equal buffers are shared.
std::size_t size_class(std::size_t bytes) {
  std::size_t step = 64;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

// Pages straight from the system, so that freeing returns them. Large buffers ask for huge pages:
// fewer faults, and fewer misses of the address cache.
void* fresh_pages(std::size_t size) {
  const std::size_t whole = in_pages(size), spare = size < huge_page ? 0 : huge_page;
  void* const p =
      mmap(nullptr, whole + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  if (spare == 0) return p;
  char* const begin = static_cast<char*>(p);
  const std::size_t skip =
      (huge_page - reinterpret_cast<std::uintptr_t>(p) % huge_page) % huge_page;
  if (skip > 0) munmap(begin, skip);
  if (spare > skip) munmap(begin + skip + whole, spare - skip);
  madvise(begin + skip, whole, MADV_HUGEPAGE);  // only a wish
  return begin + skip;
}

void* fresh(std::size_t size) {
  return size < least_paged_buffer ? std::aligned_alloc(64, size) : fresh_pages(size);
}

thread_local std::shared_ptr<BufferOwner> owner_of_thread;

}  // namespace

std::shared_ptr<void> host_buffer(std::size_t bytes) {
  ensure(bytes < (std::size_t{1} << 48), "[memory] buffer of ", bytes, " bytes");
  const std::size_t size = size_class(bytes ? bytes : 1);
  void* p = cache().take(size);
  if (!p) p = fresh(size);
  if (!p) {  // what is kept may be what is missing
    cache().drop();
    p = fresh(size);
  }
  if (!p) fail(Fault::resource, "[memory] cannot allocate ", size, " bytes");
  if (!owner_of_thread) return {p, [size](void* q) { cache().give(q, size); }};
  owner_of_thread->taken(p, size);
  return {p, [size, owner = owner_of_thread](void* q) {
            owner->freed(q);
            cache().give(q, size);
          }};
}

std::shared_ptr<BufferOwner> set_buffer_owner(std::shared_ptr<BufferOwner> owner) {
  return std::exchange(owner_of_thread, std::move(owner));
}

void set_host_buffer_cache(std::size_t bytes) { cache().limit(bytes); }

}  // namespace quaver
