#include "kernels/cpu/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/host_memory.h"
#include "core/process_memory.h"
#include "kernels/cpu/kernels.h"

namespace quaver::cpu {
namespace {

constexpr int runs = 7;
constexpr double run_seconds = 0.02;  // of multiply-adds
// Far beyond the caches, which keep a part of what is read again and again: of 128 MiB so much that
// the rate came out half too high on a machine with 32 MiB of them.
constexpr std::uint64_t read_bytes = std::uint64_t{512} << 20;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds that `work` takes on each of `threads` threads of our own, started together.
double timed(int threads, const std::function<void(int)>& work) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t)
    others.emplace_back([&, t] {
      ready.fetch_add(1);
      while (!go.load()) std::this_thread::yield();
      work(t);
    });
  while (ready.load() < threads - 1) std::this_thread::yield();
  const double start = now();
  go.store(true);
  work(0);
  for (std::thread& other : others) other.join();
  return now() - start;
}

std::atomic<float> kept{0};  // results end here, so that no compiler drops the work

}  // namespace

double fma_gflops(int threads) {
  ensure(threads >= 1, "[limits] ", threads, " threads");
  const auto burst = kernels().fma_burst;
  float sink = 1;
  std::int64_t turns = 1000, flops = 0;
  for (double seconds = 0; seconds < run_seconds; turns *= 2) {
    const double start = now();
    flops = burst(turns, &sink);
    seconds = now() - start;
  }
  turns /= 2;
  double best = 0;
  for (int r = 0; r < runs; ++r) {
    const double seconds = timed(threads, [&](int) {
      float mine = 1;
      burst(turns, &mine);
      kept.store(mine);
    });
    best = std::max(best, 1e-9 * static_cast<double>(flops) * threads / seconds);
  }
  return best;
}

double read_gbytes(int threads) {
  ensure(threads >= 1, "[limits] ", threads, " threads");
  const std::uint64_t free = available_bytes();
  const auto read_floats = static_cast<std::int64_t>(
      (free > 0 ? std::min(read_bytes, free / 4) : read_bytes) / sizeof(float));
  const std::shared_ptr<void> buffer =
      host_buffer(static_cast<std::size_t>(read_floats) * sizeof(float));
  auto* floats = static_cast<float*>(buffer.get());
  std::fill(floats, floats + read_floats, 1.0f);
  const std::int64_t share = read_floats / threads;
  double best = 0;
  for (int r = 0; r < runs; ++r) {
    const double seconds =
        timed(threads, [&](int t) { kept.store(kernels().read_burst(floats + t * share, share)); });
    const auto bytes = static_cast<double>(share) * threads * sizeof(float);
    best = std::max(best, 1e-9 * bytes / seconds);
  }
  return best;
}

}  // namespace quaver::cpu
