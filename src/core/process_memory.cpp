#include "core/process_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string>

namespace quaver {
namespace {

// The first number of the line that begins with `key`, in a small file of the system's.
std::optional<std::uint64_t> number_in(const char* path, const std::string& key = {}) {
  std::FILE* file = std::fopen(path, "re");
  if (!file) return std::nullopt;
  char line[256];
  std::optional<std::uint64_t> found;
  while (!found && std::fgets(line, sizeof line, file)) {
    std::uint64_t value = 0;
    if (std::string(line).starts_with(key) &&
        std::sscanf(line + key.size(), "%" SCNu64, &value) == 1)
      found = value;
    if (key.empty()) break;
  }
  std::fclose(file);
  return found;
}

std::optional<std::uint64_t> left_in_group(const char* limit, const char* used) {
  const auto most = number_in(limit), now = number_in(used);
  if (!most || !now) return std::nullopt;  // "max" is no number
  return *most > *now ? *most - *now : 0;
}

}  // namespace

std::uint64_t resident_bytes() {
  std::uint64_t total = 0, pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (!file) return 0;
  const int found = std::fscanf(file, "%" SCNu64 " %" SCNu64, &total, &pages);
  std::fclose(file);
  return found == 2 ? pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

std::uint64_t peak_resident_bytes() {
  // That of this program alone: what getrusage tells includes the program that started it, as large
  // as that was before exec.
  if (const auto peak = number_in("/proc/self/status", "VmHWM:")) return *peak * 1024;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::uint64_t available_bytes() {
  std::uint64_t least = number_in("/proc/meminfo", "MemAvailable:").value_or(0) * 1024;
  for (const auto& left :
       {left_in_group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        left_in_group("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                      "/sys/fs/cgroup/memory/memory.usage_in_bytes")})
    if (left) least = least == 0 ? *left : std::min(least, *left);
  return least;
}

}  // namespace quaver
