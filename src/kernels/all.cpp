// The table of backends.
#include <array>
#include <atomic>
#include <mutex>

#include "kernels/backend.h"

namespace quaver {
namespace {

constexpr std::size_t most_backends = 16;

// Rows are only ever appended, and the count is raised after the row is written: readers need no
// lock.
std::array<const Backend*, most_backends> rows = {&cpu_backend};
std::atomic<std::size_t> count{1};
std::mutex appending;

}  // namespace

std::span<const Backend* const> backends() { return {rows.data(), count.load()}; }

std::uint8_t add_backend(const Backend& backend) {
  const std::lock_guard lock(appending);
  const std::size_t number = count.load();
  ensure(number < most_backends, "[backends] no room for ", backend.name, ": at most ",
         most_backends);
  rows[number] = &backend;
  count.store(number + 1);
  return static_cast<std::uint8_t>(number);
}

}  // namespace quaver
