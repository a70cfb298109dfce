#pragma once
// SentencePiece's precompiled character map.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quaver::tokens {

// A trie of replacements: a Darts double array and a block of NUL-terminated strings. Empty:
// replaces nothing.
class Charsmap {
 public:
  Charsmap() = default;
  // Throws Error(bad_file) if the sizes do not fit.
  Charsmap(std::string_view blob, std::string_view where);

  struct Replacement {
    std::size_t length;  // bytes of input that it replaces; 0: no rule applies
    std::string_view text;
  };
  // The rules for the longest and for the shortest beginning of `input` that has one.
  Replacement longest(std::string_view input) const;
  Replacement shortest(std::string_view input) const;
  // Whether a rule's input begins with `bytes`.
  bool any_begins_with(std::string_view bytes) const;

 private:
  Replacement find(std::string_view input, bool first) const;

  std::vector<std::uint32_t> units_;
  std::string strings_;
};

}  // namespace quaver::tokens
