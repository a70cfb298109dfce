#include "core/threads.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"

namespace quaver {
namespace {

using Body = std::function<void(std::int64_t, std::int64_t)>;

thread_local bool inside = false;  // this thread is running a range: nested calls stay serial

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// One parallel_for: `ranges` are claimed from a counter, by the caller too.
struct Job {
  const Body* body = nullptr;
  std::int64_t items = 0, grain = 1, ranges = 0;
  std::atomic<std::int64_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void run() {
    inside = true;
    for (std::int64_t r; (r = next.fetch_add(1, std::memory_order_relaxed)) < ranges;) {
      try {
        (*body)(r * grain, std::min(items, (r + 1) * grain));
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        next.store(ranges, std::memory_order_relaxed);
      }
    }
    inside = false;
  }
};

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    stop_.store(true);
    ticket_.fetch_add(1);
    ticket_.notify_all();
    for (std::thread& t : workers_) t.join();
  }
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(Job& job) {
    const std::lock_guard one_at_a_time(mutex_);
    job_ = &job;
    gate_.fetch_add(closed);  // opens it
    ticket_.fetch_add(1);
    ticket_.notify_all();
    job.run();
    // Every range is claimed. Whoever has not come in by now stays out; wait for those inside.
    gate_.fetch_sub(closed);
    for (int spins = 0; gate_.load() != -closed; ++spins) {
      if (spins < 2000)
        relax();
      else
        std::this_thread::yield();
    }
  }

 private:
  static constexpr std::int64_t closed = std::int64_t{1} << 40;

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      // Spin a little, since the next loop usually follows within microseconds, then sleep.
      for (int spins = 0; ticket_.load() == seen && spins < 4000; ++spins) relax();
      ticket_.wait(seen);
      seen = ticket_.load();
      if (stop_.load()) return;
      if (gate_.fetch_add(1) >= 0) job_->run();
      gate_.fetch_sub(1);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  Job* job_ = nullptr;                       // written while the gate is closed and empty
  std::atomic<std::int64_t> gate_{-closed};  // workers inside; minus `closed` while closed
  std::atomic<std::uint64_t> ticket_{0};
  std::atomic<bool> stop_{false};
};

std::mutex pool_mutex;
std::shared_ptr<Pool> pool_instance;

std::shared_ptr<Pool> pool() {
  const std::lock_guard lock(pool_mutex);
  if (!pool_instance) pool_instance = std::make_shared<Pool>(available_cores());
  return pool_instance;
}

}  // namespace

int thread_count() { return pool()->threads(); }

void set_thread_count(int n) {
  ensure(n >= 1 && n <= 1024, "[threads] ", n, " threads: must be 1 to 1024");
  const std::lock_guard lock(pool_mutex);
  if (pool_instance && pool_instance->threads() == n) return;
  pool_instance.reset();
  pool_instance = std::make_shared<Pool>(n);
}

void parallel_for(std::int64_t items, std::int64_t grain, const Body& body) {
  if (items <= 0) return;
  ensure(grain >= 1, "[threads] grain ", grain, " must be at least 1");
  const std::int64_t ranges = (items + grain - 1) / grain;
  std::shared_ptr<Pool> workers;
  if (ranges > 1 && !inside) workers = pool();
  if (!workers || workers->threads() == 1) {
    for (std::int64_t r = 0; r < ranges; ++r) body(r * grain, std::min(items, (r + 1) * grain));
    return;
  }
  Job job;
  job.body = &body;
  job.items = items;
  job.grain = grain;
  job.ranges = ranges;
  workers->run(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace quaver
