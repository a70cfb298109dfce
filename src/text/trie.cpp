#include "text/trie.h"

#include <algorithm>

#include "core/error.h"

namespace quaver::tokens {
namespace {

constexpr std::size_t most_bytes = std::size_t{1} << 25;  // of all strings together

}  // namespace

// Places the nodes breadth first. Free units are a list, so that a fitting base is found without
// walking over the used ones.
class Trie::Builder {
 public:
  Builder(const std::vector<Entry>& entries, std::vector<Unit>& units)
      : entries_(entries), units_(units) {
    units_.assign(1024, {});
    units_[0].parent = 0;
  }

  void build() {
    std::vector<Range> queue{{0, entries_.size(), 0, 0}};
    for (std::size_t i = 0; i < queue.size(); ++i) place(Range(queue[i]), queue);
    while (units_.size() > 1 && units_.back().parent < 0) units_.pop_back();
    units_.resize(units_.size() + 256);
    units_.shrink_to_fit();
  }

 private:
  struct Range {
    std::size_t begin, end;  // of entries that share their first `depth` bytes
    std::size_t depth;
    Node node;
  };

  unsigned char byte_at(std::size_t entry, std::size_t depth) const {
    return static_cast<unsigned char>(entries_[entry].first[depth]);
  }

  void place(Range range, std::vector<Range>& queue) {
    while (range.begin < range.end && entries_[range.begin].first.size() == range.depth) {
      units_[static_cast<std::size_t>(range.node)].value = entries_[range.begin++].second;
    }
    if (range.begin == range.end) return;
    const std::size_t first_child = queue.size();
    bytes_.clear();
    for (std::size_t at = range.begin; at < range.end;) {
      const unsigned char byte = byte_at(at, range.depth);
      std::size_t end = at;
      while (end < range.end && byte_at(end, range.depth) == byte) ++end;
      bytes_.push_back(byte);
      queue.push_back({at, end, range.depth + 1, 0});
      at = end;
    }
    const std::size_t base = free_base();
    units_[static_cast<std::size_t>(range.node)].base = static_cast<std::int32_t>(base);
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      const std::size_t place = base + bytes_[i];
      units_[place].parent = range.node;
      queue[first_child + i].node = static_cast<Node>(place);
    }
  }

  // A base at which the units of all bytes_ are free.
  std::size_t free_base() {
    for (std::size_t tries = 0;; ++lowest_, tries = 0) {
      while (lowest_ < units_.size() && units_[lowest_].parent >= 0) ++lowest_;
      for (std::size_t at = std::max<std::size_t>(lowest_, std::size_t{bytes_[0]} + 1); tries < 256;
           ++at, ++tries) {
        const std::size_t base = at - bytes_[0];
        if (base + 256 >= units_.size()) units_.resize(2 * units_.size() + 256);
        const bool fits = std::all_of(bytes_.begin(), bytes_.end(), [&](unsigned char byte) {
          return units_[base + byte].parent < 0;
        });
        if (fits) return base;
      }
      // Dense beginnings are given up, so that building takes linear time.
      lowest_ += 64;
    }
  }

  const std::vector<Entry>& entries_;
  std::vector<Unit>& units_;
  std::vector<unsigned char> bytes_;  // of the children to be placed
  std::size_t lowest_ = 1;            // units before it are no longer tried
};

Trie::Trie(std::vector<Entry> entries, std::string_view where) {
  std::size_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.first.size();
  ensure_file(bytes <= most_bytes, where, ": the tokens are too long in all: ", bytes, " bytes");
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.first < b.first; });
  Builder(entries, units_).build();
}

}  // namespace quaver::tokens
