#include "generate/prompt_lookup.h"

#include <algorithm>

namespace quaver {

std::vector<std::int32_t> looked_up(std::span<const std::int32_t> tokens, std::int64_t ngram,
                                    std::int64_t count) {
  if (count <= 0) return {};
  const std::size_t size = tokens.size(), wanted = static_cast<std::size_t>(count);
  for (std::size_t n =
           std::min(static_cast<std::size_t>(ngram), size - std::min<std::size_t>(size, 1));
       n > 0; --n) {
    const auto tail = tokens.last(n);
    std::span<const std::int32_t> best;
    for (std::size_t at = size - n; at-- > 0 && best.size() < wanted;) {
      if (!std::ranges::equal(tokens.subspan(at, n), tail)) continue;
      const auto behind = tokens.subspan(at + n, std::min(wanted, size - at - n));
      if (behind.size() > best.size()) best = behind;
    }
    if (!best.empty()) return {best.begin(), best.end()};
  }
  return {};
}

}  // namespace quaver
