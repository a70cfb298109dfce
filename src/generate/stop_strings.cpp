#include "generate/stop_strings.h"

#include <algorithm>

namespace quaver {

std::size_t find_stop(std::string_view text, const std::vector<std::string>& strings) {
  std::size_t first = std::string_view::npos;
  for (const std::string& s : strings) first = std::min(first, text.find(s));
  return first;
}

std::string StopStrings::push(std::string_view piece) {
  if (found_) return {};
  held_ += piece;
  std::size_t safe = find_stop(held_, strings_);
  found_ = safe != std::string::npos;
  if (!found_) {
    std::size_t hold = 0;  // the longest end of the text that begins a stop string
    for (const std::string& s : strings_) {
      for (std::size_t n = std::min(s.size() - 1, held_.size()); n > hold; --n)
        if (std::string_view(held_).ends_with(std::string_view(s).substr(0, n))) hold = n;
    }
    safe = held_.size() - hold;
  }
  std::string out = held_.substr(0, safe);
  held_.erase(0, found_ ? held_.size() : safe);
  return out;
}

std::string StopStrings::finish() {
  std::string out;
  std::swap(out, held_);
  return found_ ? std::string() : out;
}

}  // namespace quaver
