#pragma once
// Finds fixed strings in text, the longest at the leftmost place: added tokens, user-defined
// symbols.
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace quaver::tokens {

class Matcher {
 public:
  struct Match {
    std::size_t begin, end;
    std::int32_t value;
  };

  // `string` is not empty. A string given twice keeps its last value.
  void add(std::string_view string, std::int32_t value);
  bool empty() const { return nodes_.empty(); }

  // The longest string that starts at text[at].
  std::optional<Match> at(std::string_view text, std::size_t at) const;
  // The longest string at the first place from `from` on where one starts.
  std::optional<Match> next(std::string_view text, std::size_t from) const;

 private:
  struct Node {
    std::int32_t value = -1;  // of the string that ends here
    std::int32_t child = -1, sibling = -1;
    unsigned char byte = 0;
  };
  std::vector<Node> nodes_;  // a trie; children of one node are a list
  std::array<std::int32_t, 256> roots_ = [] {
    std::array<std::int32_t, 256> none{};
    none.fill(-1);
    return none;
  }();
};

}  // namespace quaver::tokens
