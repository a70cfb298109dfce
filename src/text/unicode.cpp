#include "text/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "text/utf8.h"

namespace quaver::tokens {
namespace {

// A table of runs of code points: first code point << 8 | the value of the run. For each block of
// 256 code points the run is kept that its first one lies in.
template <std::size_t count>
struct RunTable {
  const std::uint32_t (&runs)[count];
  std::array<std::uint16_t, (0x110000 >> 8) + 1> first_run{};

  explicit constexpr RunTable(const std::uint32_t (&table)[count]) : runs(table) {
    std::size_t run = 0;
    for (std::size_t block = 0; block + 1 < first_run.size(); ++block) {
      while (run + 1 < count && (runs[run + 1] >> 8) <= block << 8) ++run;
      first_run[block] = static_cast<std::uint16_t>(run);
    }
    first_run.back() = static_cast<std::uint16_t>(count - 1);
  }

  std::uint8_t find(char32_t value) const {
    const std::uint32_t* first = runs + first_run[value >> 8];
    const std::uint32_t* last = runs + first_run[(value >> 8) + 1] + 1;
    // The last run that starts at or before `value`.
    const std::uint32_t key = static_cast<std::uint32_t>(value) << 8 | 0xFF;
    const std::uint32_t* after = std::upper_bound(first, last, key);
    return static_cast<std::uint8_t>(*(after - 1) & 0xFF);
  }
};

constexpr std::uint16_t kinds[] = {
#include "text/unicode_classes.inl"
};
constexpr std::uint32_t class_runs[] = {
#include "text/unicode_runs.inl"
};
constexpr RunTable class_table(class_runs);

constexpr auto ascii = [] {
  std::array<std::uint16_t, 128> flags{};
  std::size_t run = 0;
  for (std::uint32_t code = 0; code < 128; ++code) {
    while (run + 1 < std::size(class_runs) && (class_runs[run + 1] >> 8) <= code) ++run;
    flags[code] = kinds[class_runs[run] & 0xFF];
  }
  return flags;
}();

constexpr std::uint32_t script_runs[] = {
#include "text/unicode_scripts.inl"
};
constexpr RunTable script_table(script_runs);

struct CaseRun {
  char32_t first, last;
  std::uint32_t step;  // 0: the run is one code point
  char32_t lower;      // of the first
};
constexpr CaseRun case_runs[] = {
#include "text/unicode_lower.inl"
};

}  // namespace

std::uint16_t classes_of(char32_t value) {
  if (value < 128) return ascii[value];
  if (value > 0x10FFFF) return 0;
  return kinds[class_table.find(value)];
}

std::uint8_t script_of(char32_t value) { return value > 0x10FFFF ? 0 : script_table.find(value); }

void append_lower(std::string& out, char32_t value) {
  if (value < 128) {
    out += static_cast<char>(value >= 'A' && value <= 'Z' ? value + 32 : value);
    return;
  }
  const CaseRun* run = std::partition_point(std::begin(case_runs), std::end(case_runs),
                                            [value](const CaseRun& r) { return r.last < value; });
  const bool found = run != std::end(case_runs) && run->first <= value &&
                     (run->step < 2 || (value - run->first) % run->step == 0);
  append_code_point(out, found ? run->lower + (value - run->first) : value);
  if (value == 0x130) append_code_point(out, 0x307);  // the one with two characters
}

}  // namespace quaver::tokens
