#include "api/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/threads.h"
#include "kernels/cpu/limits.h"
#include "kernels/cpu/select.h"
#include "quaver/quaver.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

// The first line of a small system file; nothing if it cannot be read.
std::optional<std::string> first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return line;
}

std::optional<std::int64_t> first_number(const fs::path& path) {
  const auto line = first_line(path);
  if (!line || line->empty() || line->find_first_not_of("-0123456789") != std::string::npos)
    return std::nullopt;
  return std::strtoll(line->c_str(), nullptr, 10);
}

// What follows "key :" in /proc/cpuinfo or /proc/meminfo.
std::string field_of(const char* path, std::string_view key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find(':');
    const std::size_t begin =
        colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return {};
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) cpus.push_back(i);
  }
  // More processors than a cpu_set_t holds.
  if (cpus.empty())
    for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
      cpus.push_back(static_cast<int>(i));
  return cpus;
}

// Cores without their siblings (hyper-threads), as the kernel numbers them.
int distinct_cores(const std::vector<int>& cpus) {
  std::set<std::pair<std::int64_t, std::int64_t>> cores;
  for (const int cpu : cpus) {
    const fs::path topology = text("/sys/devices/system/cpu/cpu", cpu, "/topology");
    const auto package = first_number(topology / "physical_package_id");
    const auto core = first_number(topology / "core_id");
    cores.insert(package && core ? std::pair(*package, *core)
                                 : std::pair(std::int64_t{-1}, std::int64_t{cpu}));
  }
  return static_cast<int>(cores.size());
}

// Processors' worth of time that the control group may use, version 2 or 1.
std::optional<double> cgroup_cpus() {
  if (const auto line = first_line("/sys/fs/cgroup/cpu.max")) {
    double quota = 0, period = 0;
    if (std::sscanf(line->c_str(), "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0)
      return quota / period;
    return std::nullopt;
  }
  const auto quota = first_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const auto period = first_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::optional<std::int64_t> cgroup_bytes() {
  auto limit = first_number("/sys/fs/cgroup/memory.max");
  if (!limit) limit = first_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  constexpr std::int64_t none = std::int64_t{1} << 60;  // version 1 says "no limit" by a huge one
  return limit && *limit < none ? limit : std::nullopt;
}

std::int64_t meminfo_bytes(std::string_view key) {
  return 1024 * std::strtoll(field_of("/proc/meminfo", key).c_str(), nullptr, 10);
}

// Display controllers by their files in /proc and /sys; no driver library is opened.
Json gpus() {
  Json found = Json::array();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc/driver/nvidia/gpus", ignored)) {
    const std::string model = field_of((entry.path() / "information").c_str(), "Model");
    found.push_back(model.empty() ? "NVIDIA GPU" : model);
  }
  for (const auto& entry : fs::directory_iterator("/sys/class/drm", ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("renderD")) continue;
    const std::string vendor = first_line(entry.path() / "device/vendor").value_or("");
    if (vendor == "0x10de" && !found.empty()) continue;  // listed above
    found.push_back(text(vendor == "0x10de"   ? "NVIDIA"
                         : vendor == "0x1002" ? "AMD"
                         : vendor == "0x8086" ? "Intel"
                                              : "unknown vendor " + vendor,
                         " GPU, /dev/dri/", name));
  }
  return found;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

std::string cpu_name() {
  const std::string name = field_of("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown processor" : name;
}

}  // namespace

int physical_cores() {
  const int cores = distinct_cores(allowed_cpus());
  const auto share = cgroup_cpus();
  return std::max(1, share ? std::min(cores, static_cast<int>(std::ceil(*share))) : cores);
}

Json machine_summary() {
  return {{"cpu", cpu_name()},
          {"isa", cpu::selected_isa()},
          {"cores", physical_cores()},
          {"version", version()}};
}

Json examine_machine(bool measure) {
  const std::vector<int> allowed = allowed_cpus();
  Json measured;
  if (measure)
    measured = {{"fma_gflops", cpu::fma_gflops(thread_count())},
                {"read_gbytes", cpu::read_gbytes(thread_count())},
                {"threads", thread_count()}};
  return {{"version", version()},
          {"compiler", compiler()},
          {"cpu",
           {{"model", cpu_name()},
            {"isa_available", cpu::available_isas()},
            {"isa_selected", cpu::selected_isa()}}},
          {"cores",
           {{"online", sysconf(_SC_NPROCESSORS_ONLN)},
            {"allowed", allowed.size()},
            {"physical", distinct_cores(allowed)},
            {"cgroup_limit", or_null(cgroup_cpus())},
            {"threads", thread_count()}}},
          {"memory",
           {{"total", meminfo_bytes("MemTotal")},
            {"available", meminfo_bytes("MemAvailable")},
            {"cgroup_limit", or_null(cgroup_bytes())}}},
          {"measured", std::move(measured)},
          {"gpus", gpus()}};
}

}  // namespace quaver
