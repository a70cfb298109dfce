#include "core/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <vector>

#include "core/error.h"

namespace quaver {
namespace {

class Threads : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_thread_count(GetParam()); }
};

TEST_P(Threads, CoversEveryItemOnce) {
  for (const std::int64_t items : {0, 1, 2, 7, 64, 1009}) {
    for (const std::int64_t grain : {1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(items));
      parallel_for(items, grain, [&](std::int64_t begin, std::int64_t end) {
        EXPECT_EQ(begin % grain, 0);
        EXPECT_LE(end - begin, grain);
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& n : seen) EXPECT_EQ(n.load(), 1);
    }
  }
}

TEST_P(Threads, ManyShortLoopsInARow) {
  std::atomic<std::int64_t> sum{0};
  for (int i = 0; i < 20000; ++i)
    parallel_for(4, 1, [&](std::int64_t begin, std::int64_t) { sum += begin; });
  EXPECT_EQ(sum.load(), 20000 * 6);
}

TEST_P(Threads, NestedLoopsRunSerially) {
  std::atomic<int> calls{0};
  parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
    parallel_for(8, 1, [&](std::int64_t, std::int64_t) { ++calls; });
  });
  EXPECT_EQ(calls.load(), 64);
}

TEST_P(Threads, RethrowsAndStaysUsable) {
  EXPECT_THROW(parallel_for(100, 1,
                            [](std::int64_t begin, std::int64_t) {
                              if (begin == 37) throw std::runtime_error("range 37");
                            }),
               std::runtime_error);
  std::atomic<int> n{0};
  parallel_for(10, 1, [&](std::int64_t, std::int64_t) { ++n; });
  EXPECT_EQ(n.load(), 10);
}

INSTANTIATE_TEST_SUITE_P(Counts, Threads, ::testing::Values(1, 2, 5));

TEST(ThreadCount, RefusesNonsense) {
  EXPECT_THROW(set_thread_count(0), Error);
  EXPECT_THROW(set_thread_count(5000), Error);
  set_thread_count(3);
  EXPECT_EQ(thread_count(), 3);
  EXPECT_THROW(parallel_for(4, 0, [](std::int64_t, std::int64_t) {}), Error);
}

}  // namespace
}  // namespace quaver
