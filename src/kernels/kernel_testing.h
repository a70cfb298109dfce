#pragma once
// What the kernels' tests share: numbers, guarded memory, and each instruction set's table.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/select.h"

namespace quaver {

class Numbers {
 public:
  explicit Numbers(std::uint32_t seed) : state_(seed * 2654435761u + 1) {}
  std::uint32_t bits() {
    state_ ^= state_ << 13, state_ ^= state_ >> 17, state_ ^= state_ << 5;
    return state_;
  }
  float number() { return static_cast<float>(bits() >> 8) * 0x1p-23f - 1; }  // -1 .. 1
  std::vector<float> floats(std::int64_t n, float size = 1) {
    std::vector<float> v(static_cast<std::size_t>(n));
    for (float& x : v) x = number() * size;
    return v;
  }

 private:
  std::uint32_t state_;
};

// A copy of values that ends exactly where an unreadable page begins: one element too far faults.
template <class T>
class Guarded {
 public:
  explicit Guarded(const std::vector<T>& values) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = values.size() * sizeof(T);
    size_ = (bytes + page - 1) / page * page + page;
    void* at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    start_ = static_cast<std::byte*>(at);
    mprotect(start_ + size_ - page, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(start_ + size_ - page - bytes);
    if (bytes > 0) std::memcpy(data_, values.data(), bytes);
    count_ = values.size();
  }
  explicit Guarded(std::int64_t n) : Guarded(std::vector<T>(static_cast<std::size_t>(n))) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(start_, size_); }
  T* data() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }
  std::vector<T> values() const { return {data_, data_ + count_}; }
  Mem mem() const { return {data_, 0}; }

 private:
  std::byte* start_ = nullptr;
  T* data_ = nullptr;
  std::size_t size_ = 0, count_ = 0;
};

inline std::vector<const cpu::Level*> usable_levels() {
  std::vector<const cpu::Level*> usable;
  for (const cpu::Level& level : cpu::levels())
    if (level.available) usable.push_back(&level);
  return usable;
}

inline const DeviceOps& cpu_ops() { return cpu_backend.ops(0); }

}  // namespace quaver
