#pragma once
// One fixed pool of worker threads for the whole process.
#include <cstdint>
#include <functional>

namespace quaver {

// Number of threads that parallel_for uses, the caller included. Default: the cores this process
// may run on. Changing it while a parallel_for runs is an error of the caller.
int thread_count();
void set_thread_count(int n);  // 1 .. 1024

// Calls body(begin, end) for consecutive ranges of at most `grain` items that together cover
// [0, items). The cut depends on `items` and `grain` only, never on the number of threads; which
// thread takes a range is not determined. Nested calls, and calls with one range, run serially in
// the caller. The first exception that a range throws is rethrown when all have ended.
void parallel_for(std::int64_t items, std::int64_t grain,
                  const std::function<void(std::int64_t begin, std::int64_t end)>& body);

}  // namespace quaver
