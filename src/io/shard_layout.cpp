#include "io/shard_layout.h"

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <utility>

namespace quaver {

std::string shard_name(std::size_t i, std::size_t count) {
  if (count == 1) return "model.safetensors";
  char name[48];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, count);
  return name;
}

bool is_shard_name(std::string_view name) {
  return name == "model.safetensors" ||
         (name.starts_with("model-") && name.ends_with(".safetensors"));
}

bool lies_before(const HeaderEntry& a, const HeaderEntry& b) {
  return std::tie(b.dtype->bits, a.name) < std::tie(a.dtype->bits, b.name);
}

std::vector<HeaderEntry> placed_in_order(std::vector<HeaderEntry> entries) {
  std::ranges::sort(entries, lies_before);
  std::uint64_t end = 0;
  for (HeaderEntry& entry : entries) {
    entry.end = end + (entry.end - entry.begin);
    entry.begin = std::exchange(end, entry.end);
  }
  return entries;
}

}  // namespace quaver
