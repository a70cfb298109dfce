#include "kernels/cpu/select.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/error.h"

namespace quaver::cpu {
namespace {

constexpr std::size_t level_count = 5;

#if defined(__x86_64__)
bool has_avx_vnni() {  // older compilers' __builtin_cpu_supports does not know it
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#endif

// Each may do what those before it do, but for AVX-VNNI, which AVX-512 need not have.
std::array<Level, level_count> find_levels() {
  std::array<Level, level_count> all{{{"generic", true, generic()},
                                      {"avx2", false, generic()},
                                      {"avx2vnni", false, generic()},
                                      {"avx512", false, generic()},
                                      {"avx512vnni", false, generic()}}};
#if defined(__x86_64__)
  // Every extension that the files are compiled with. Intel and AMD have F16C wherever AVX2 is.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  all[1].available = avx2;
  all[2].available = avx2 && has_avx_vnni();
  all[3].available = avx512;
  all[4].available = avx512 && __builtin_cpu_supports("avx512vnni");
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (!all[i].available) continue;
    use_avx2(all[i].table);
    if (i == 2) use_avx2vnni(all[i].table);
    if (i >= 3) use_avx512(all[i].table);
    if (i == 4) use_avx512vnni(all[i].table);
  }
#endif
  return all;
}

const Level& selected() {
  static const Level& best = []() -> const Level& {
    const std::span<const Level> all = levels();
    const char* env = std::getenv("QUAVER_CPU");
    const std::string_view cap = env && *env ? env : all.back().name;
    const auto highest =
        std::find_if(all.begin(), all.end(), [&](const Level& l) { return l.name == cap; });
    ensure(highest != all.end(), "[kernels] QUAVER_CPU=", cap,
           ": not known; known are generic, avx2, avx2vnni, avx512 and avx512vnni");
    const Level* level = &*highest;
    while (!level->available) --level;  // the first always is
    return *level;
  }();
  return best;
}

}  // namespace

std::span<const Level> levels() {
  static const std::array<Level, level_count> all = find_levels();
  return all;
}

const Kernels& kernels() { return selected().table; }

std::string selected_isa() { return std::string(selected().name); }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Level& level : levels())
    if (level.available) names.emplace_back(level.name);
  return names;
}

}  // namespace quaver::cpu
