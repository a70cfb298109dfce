#include "guarded_backend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>

#include "kernels/backend.h"

namespace quaver {
namespace {

std::atomic<long> kernels_run{0}, bytes_in{0}, bytes_out{0};

// One file, mapped twice: where the host sees `closed`, the device sees `open`.
class Memory {
 public:
  Memory() {
    const int file = memfd_create("guarded", MFD_CLOEXEC);
    ensure(file >= 0 && ftruncate(file, size) == 0, "[guarded] no memory file");
    closed_ = static_cast<std::byte*>(mmap(nullptr, size, PROT_NONE, MAP_SHARED, file, 0));
    open_ = static_cast<std::byte*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0));
    ensure(closed_ != MAP_FAILED && open_ != MAP_FAILED, "[guarded] cannot map");
    close(file);
    free_.emplace(0, size);
  }
  std::shared_ptr<void> allocate(std::size_t bytes) {
    const std::size_t wanted = (bytes + 63) / 64 * 64 + 64;  // a gap shows overruns of one buffer
    const std::lock_guard lock(mutex_);
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->second < wanted) continue;
      const auto [at, length] = *it;
      free_.erase(it);
      if (length > wanted) free_.emplace(at + wanted, length - wanted);
      std::memset(open_ + at, 0xff, wanted);  // NaN: nobody may count on zeroed memory
      return {closed_ + at, [this, at = at, wanted](void*) { give_back(at, wanted); }};
    }
    fail(Fault::resource, "[guarded] out of memory");
  }
  template <class T>
  T* see(Mem m) {  // the device's view
    return m ? reinterpret_cast<T*>(open_ + (static_cast<std::byte*>(m.base) - closed_) + m.offset)
             : nullptr;
  }

 private:
  static constexpr std::size_t size = std::size_t{1} << 30;

  void give_back(std::size_t at, std::size_t length) {
    const std::lock_guard lock(mutex_);
    auto it = free_.emplace(at, length).first;
    if (const auto next = std::next(it); next != free_.end() && at + length == next->first) {
      it->second += next->second;
      free_.erase(next);
    }
    if (it != free_.begin()) {
      const auto before = std::prev(it);
      if (before->first + before->second == it->first) {
        before->second += it->second;
        free_.erase(it);
      }
    }
  }

  std::byte *closed_ = nullptr, *open_ = nullptr;
  std::mutex mutex_;
  std::map<std::size_t, std::size_t> free_;
};

Memory& memory() {
  static Memory* const the = new Memory;  // outlives every tensor
  return *the;
}

void add(Stream, const AddArgs& args) {
  ++kernels_run;
  const float *a = memory().see<float>(args.a), *b = memory().see<float>(args.b);
  float* y = memory().see<float>(args.y);
  for (std::int64_t i = 0; i < args.size; ++i) y[i] = a[i] + b[i];
}

void columns(Stream, const ColumnsArgs& args) {
  ++kernels_run;
  const float* x = memory().see<float>(args.x);
  float* y = memory().see<float>(args.y);
  for (std::int64_t r = 0; r < args.rows; ++r)
    for (std::int64_t c = 0; c < args.count; ++c)
      y[r * args.y_cols + args.y_begin + c] = x[r / args.repeat * args.cols + args.begin + c];
}

void rms_norm(Stream, const NormArgs& args) {
  ++kernels_run;
  const float *x = memory().see<float>(args.x), *gain = memory().see<float>(args.gain);
  float* y = memory().see<float>(args.y);
  for (std::int64_t r = 0; r < args.rows; ++r, x += args.cols, y += args.cols) {
    double sum = 0;
    for (std::int64_t c = 0; c < args.cols; ++c) sum += double{x[c]} * x[c];
    const double scale = 1 / std::sqrt(sum / static_cast<double>(args.cols) + args.eps);
    for (std::int64_t c = 0; c < args.cols; ++c)
      y[c] = static_cast<float>(
          x[c] * scale *
          (gain ? gain[r % args.gain_rows * args.cols + c] + args.gain_offset : 1.0f));
  }
}

const Backend guarded = {
    .name = "guarded",
    .device_count = [] { return 1; },
    .allocate = [](int, std::size_t bytes) { return memory().allocate(bytes); },
    .to_device =
        [](Stream, Mem to, const void* from, std::size_t bytes) {
          bytes_in += static_cast<long>(bytes);
          std::memcpy(memory().see<void>(to), from, bytes);
        },
    .to_host =
        [](Stream, void* to, Mem from, std::size_t bytes) {
          bytes_out += static_cast<long>(bytes);
          std::memcpy(to, memory().see<void>(from), bytes);
        },
    .copy =
        [](Stream, Mem to, Mem from, std::size_t bytes) {
          std::memmove(memory().see<void>(to), memory().see<void>(from), bytes);
        },
    .wait = [](Stream) {},
    .ops = [](int) -> const DeviceOps& {
      static const DeviceOps ops = {.rms_norm = rms_norm, .add = add, .columns = columns};
      return ops;
    },
};

}  // namespace

Device guarded_device() {
  static const Device device = {.backend = add_backend(guarded), .index = 0};
  return device;
}

GuardedCounts guarded_counts() { return {kernels_run, bytes_in, bytes_out}; }

}  // namespace quaver
