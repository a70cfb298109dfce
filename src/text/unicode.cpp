#include "text/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace quaver::tokens {
namespace {

constexpr std::uint32_t runs[] = {
#include "text/unicode_tables.inl"
};

constexpr std::size_t block_count = 0x110000 >> 8;

// Per block of 256 code points: the run that its first code point lies in.
constexpr auto first_run = [] {
  std::array<std::uint16_t, block_count + 1> index{};
  std::size_t run = 0;
  for (std::size_t block = 0; block < block_count; ++block) {
    while (run + 1 < std::size(runs) && (runs[run + 1] >> 8) <= block << 8) ++run;
    index[block] = static_cast<std::uint16_t>(run);
  }
  index[block_count] = static_cast<std::uint16_t>(std::size(runs) - 1);
  return index;
}();

constexpr auto ascii = [] {
  std::array<std::uint8_t, 128> flags{};
  std::size_t run = 0;
  for (std::uint32_t code = 0; code < 128; ++code) {
    while (run + 1 < std::size(runs) && (runs[run + 1] >> 8) <= code) ++run;
    flags[code] = static_cast<std::uint8_t>(runs[run] & 0xFF);
  }
  return flags;
}();

}  // namespace

std::uint8_t classes_of(char32_t value) {
  if (value < 128) return ascii[value];
  if (value > 0x10FFFF) return 0;
  const std::uint32_t* first = runs + first_run[value >> 8];
  const std::uint32_t* last = runs + first_run[(value >> 8) + 1] + 1;
  // The last run that starts at or before `value`.
  const std::uint32_t key = static_cast<std::uint32_t>(value) << 8 | 0xFF;
  const std::uint32_t* after = std::upper_bound(first, last, key);
  return static_cast<std::uint8_t>(*(after - 1) & 0xFF);
}

}  // namespace quaver::tokens
