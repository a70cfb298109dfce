#include "kernels/cpu/select.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/error.h"

namespace quaver::cpu {
namespace {

std::array<Level, 3> find_levels() {
  std::array<Level, 3> all{
      {{"generic", true, generic()}, {"avx2", false, generic()}, {"avx512", false, generic()}}};
#if defined(__x86_64__)
  // Every extension that the files are compiled with. Intel and AMD have F16C wherever AVX2 is.
  all[1].available = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  all[2].available = all[1].available && __builtin_cpu_supports("avx512f") &&
                     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512dq");
  if (all[1].available) use_avx2(all[1].table);
  if (all[2].available) {
    use_avx2(all[2].table);
    use_avx512(all[2].table);
  }
#endif
  return all;
}

const Level& selected() {
  static const Level& best = []() -> const Level& {
    const std::span<const Level> all = levels();
    const char* env = std::getenv("QUAVER_CPU");
    const std::string_view cap = env && *env ? env : "avx512";
    const auto highest =
        std::find_if(all.begin(), all.end(), [&](const Level& l) { return l.name == cap; });
    ensure(highest != all.end(), "[kernels] QUAVER_CPU=", cap,
           ": not known; known are generic, avx2 and avx512");
    const Level* level = &*highest;
    while (!level->available) --level;  // the first always is
    return *level;
  }();
  return best;
}

}  // namespace

std::span<const Level> levels() {
  static const std::array<Level, 3> all = find_levels();
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
