#pragma once
// A set of strings with values as a double array (Aoe 1989): finds all strings that a text begins
// with, one array access a byte.
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace quaver::tokens {

class Trie {
 public:
  using Entry = std::pair<std::string_view, std::int32_t>;  // a string, not empty, and its value
  static constexpr std::int32_t none = -1;

  Trie() = default;
  // Values are not negative. Of equal strings the last one counts. Throws Error(bad_file) that
  // begins with `where` if there is too much of them.
  Trie(std::vector<Entry> entries, std::string_view where);

  // Where a walk stands: 0 is before the first byte, `dead` beyond all strings.
  using Node = std::int32_t;
  static constexpr Node dead = -1;
  Node next(Node node, char byte) const {
    const auto place = static_cast<std::size_t>(units_[static_cast<std::size_t>(node)].base +
                                                static_cast<unsigned char>(byte));
    return units_[place].parent == node ? static_cast<Node>(place) : dead;
  }
  // The value of the string that ends at a node that is not dead, or `none`.
  std::int32_t value(Node node) const { return units_[static_cast<std::size_t>(node)].value; }

  // The node that the whole string leads to.
  Node walk(std::string_view string, Node from = 0) const {
    for (const char c : string) {
      from = next(from, c);
      if (from == dead) break;
    }
    return from;
  }

 private:
  struct Unit {
    std::int32_t base = 0;     // children are at base + byte
    std::int32_t parent = -1;  // -1: the unit is free
    std::int32_t value = none;
  };
  class Builder;
  // 256 units follow the last used one, so that base + byte is always inside.
  std::vector<Unit> units_ = std::vector<Unit>(257);
};

}  // namespace quaver::tokens
