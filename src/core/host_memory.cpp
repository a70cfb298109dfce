#include "core/host_memory.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <map>
#include <mutex>

#include "core/error.h"

namespace quaver {
namespace {

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
    std::free(p);
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
      std::free(last->second);
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

// Large buffers ask for huge pages: fewer faults, and fewer misses of the address cache.
void* fresh(std::size_t size) {
  constexpr std::size_t huge_page = std::size_t{2} << 20;
  if (size < 2 * huge_page) return std::aligned_alloc(64, size);
  const std::size_t whole = (size + huge_page - 1) / huge_page * huge_page;
  void* p = std::aligned_alloc(huge_page, whole);
#if defined(__linux__)
  if (p) madvise(p, whole, MADV_HUGEPAGE);  // only a wish
#endif
  return p;
}

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
  return {p, [size](void* q) { cache().give(q, size); }};
}

void set_host_buffer_cache(std::size_t bytes) { cache().limit(bytes); }

}  // namespace quaver
