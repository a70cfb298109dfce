#pragma once
// Grids: which scale and zero point a group of weights gets. Rows are lanes: `lane_count` rows are
// worked on at once, column k of lane l standing at w[k * stride + l].
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "formats/format.h"

namespace quaver {

inline constexpr std::int64_t lane_count = 8;

// Which scale a group gets: by minimum and maximum; that of the least squared error, weighted by
// the inputs' mean squares; or that of the least sum of |error|^2.4 among ranges shrunk by 1 to 80
// %, as the paper's code and GPTQModel have it.
enum class Search { none, weighted, mse };
Search find_search(std::string_view name);  // throws Error(bad_argument), listing the known ones

struct Grid {
  float top = 15;            // highest code
  float lowest_zero = 0;     // smallest zero point that the format can hold
  bool symmetric = true;     // zero point fixed at (top + 1) / 2
  bool half_scales = false;  // scales are stored in f16
  Search search = Search::none;
  // AutoGPTQ's: a symmetric group without a negative weight gets half the range that it needs.
  bool half_range = false;
};
Grid grid_of(const Scheme& scheme, const Format& format, Search search);

// Scale and zero point of each lane for `cols` columns. `weight` [cols] says how much an error in a
// column matters; null: all the same. Scales are never 0, and may be negative where searched.
void choose_grid(const Grid& grid, const float* w, std::int64_t stride, std::int64_t cols,
                 const float* weight, float* scale, float* zero);

// The same by minimum and maximum alone: of `count` groups whose least and largest weights are
// given.
void choose_grid_of_range(const Grid& grid, const float* low, const float* high, std::int64_t count,
                          float* scale, float* zero);

// The nearest scale that the format can store, of the same sign and never 0.
float stored_scale(const Grid& grid, float scale);

// The level (code - zero) nearest to w, half to even, for the scale's inverse; levels run from
// -zero to top - zero. Beyond the clamp |level| is far below 2^22, where adding and subtracting
// 1.5 * 2^23 rounds to an integer.
inline float nearest_level(float w, float inverse_scale, float zero, float top) {
  constexpr float shifter = 0x1.8p23f;
  const float level = std::clamp(w * inverse_scale, -zero, top - zero);
  return (level + shifter) - shifter;
}

}  // namespace quaver
