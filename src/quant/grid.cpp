// The weighted search tries shrunken and stretched ranges and keeps the one whose rounding errors,
// weighted by the inputs' mean squares, are least. A symmetric grid has one level more on its
// negative side: a scale whose sign is opposite to the largest weight's lets that level take it.
#include "quant/grid.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace quaver {
namespace {

// Four rows in one register of any 64-bit processor.
using F4 [[gnu::vector_size(16)]] = float;
using I4 [[gnu::vector_size(16)]] = std::int32_t;
constexpr std::int64_t width = 4;
static_assert(lane_count % width == 0);

constexpr int mse_shrinks = 80;
constexpr float mse_power = 2.4f;
constexpr int shrinks = 41;
constexpr float least_shrink = 0.45f, most_shrink = 1.10f;
constexpr float largest_half = 65504.0f, smallest_half = 0x1p-24f;
constexpr float smallest_scale = 0x1p-100f;

F4 load(const float* p) {
  F4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
void store(float* p, F4 v) { std::memcpy(p, &v, sizeof v); }
F4 splat(float f) { return F4{f, f, f, f}; }
F4 least(F4 a, F4 b) { return a < b ? a : b; }
F4 most(F4 a, F4 b) { return a > b ? a : b; }
F4 magnitude(F4 a) { return most(a, -a); }
F4 rounded(F4 a) { return (a + 0x1.8p23f) - 0x1.8p23f; }

// The nearest scale that the format can store, never 0.
F4 stored_scale(const Grid& grid, F4 s) {
  if (!grid.half_scales) {
    const F4 size = most(magnitude(s), splat(smallest_scale));
    return s < 0.0f ? -size : size;
  }
  const F4 size = least(most(magnitude(s), splat(smallest_half)), splat(largest_half));
  // f16 keeps 10 fraction bits: round the other 13 away, half to even. Below 2^-14 its steps are
  // 2^-24, which is what adding 0.75 leaves.
  I4 bits = (I4)size;
  bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fff;
  const F4 small = (size + 0.75f) - 0.75f;
  const F4 value = size < 0x1p-14f ? small : (F4)bits;
  return s < 0.0f ? -value : value;
}

struct Candidate {
  F4 scale, zero;
};

struct Columns {
  const float* w;
  std::int64_t stride, cols;
  const float* weight;  // may be null
};

F4 error_of(const Columns& c, const Candidate& k, float top) {
  const F4 inverse = 1.0f / k.scale, low = -k.zero, high = top - k.zero;
  F4 sum = splat(0);
  for (std::int64_t i = 0; i < c.cols; ++i) {
    const F4 w = load(c.w + i * c.stride);
    const F4 difference = w - k.scale * rounded(least(most(w * inverse, low), high));
    sum += difference * difference * (c.weight ? c.weight[i] : 1.0f);
  }
  return sum;
}

struct Range {
  F4 low, high;  // the least and the largest weight
  F4 extreme;    // the one of the two that is farther from 0, the positive one in a tie
};

F4 farther(F4 low, F4 high) { return high < -low ? low : high; }

Range range_of(const Columns& c) {
  Range r{load(c.w), load(c.w), {}};
  for (std::int64_t i = 1; i < c.cols; ++i) {
    const F4 w = load(c.w + i * c.stride);
    r.low = least(r.low, w);
    r.high = most(r.high, w);
  }
  r.extreme = farther(r.low, r.high);
  return r;
}

// From minimum and maximum, each times `share`.
Candidate asymmetric(const Grid& grid, const Range& range, float share) {
  const F4 low = least(range.low, splat(0)) * share, high = most(range.high, splat(0)) * share;
  F4 scale = stored_scale(grid, (high - low) / grid.top);
  F4 zero = rounded(least(-low / scale, splat(grid.top)));
  // Where the format has no such zero point, the scale must make up for it.
  const F4 solved = stored_scale(grid, high / (grid.top - grid.lowest_zero));
  const F4 lowest = splat(grid.lowest_zero);
  scale = zero < lowest ? most(solved, stored_scale(grid, -low / most(lowest, splat(1)))) : scale;
  zero = most(zero, lowest);
  return {scale, zero};
}

Candidate minimum_maximum(const Grid& grid, const Range& range) {
  const F4 middle = splat((grid.top + 1) / 2);
  const F4 reach = magnitude(range.extreme);
  const F4 span = grid.half_range ? (range.low < 0.0f ? 2.0f * reach : reach) : 2.0f * reach;
  Candidate plain = grid.symmetric ? Candidate{stored_scale(grid, span / grid.top), middle}
                                   : asymmetric(grid, range, 1);
  // A group of zeros: any grid does; this one has a scale of ordinary size.
  plain.scale = reach == 0.0f ? stored_scale(grid, splat(2 / grid.top)) : plain.scale;
  plain.zero = reach == 0.0f ? middle : plain.zero;
  return plain;
}

class LeastError {
 public:
  LeastError(const Grid& grid, const Columns& columns, const Candidate& first)
      : grid_(grid), columns_(columns), best_(first), error_(error_of(columns, first, grid.top)) {}
  void consider(const Candidate& k) {
    const F4 error = error_of(columns_, k, grid_.top);
    best_.scale = error < error_ ? k.scale : best_.scale;
    best_.zero = error < error_ ? k.zero : best_.zero;
    error_ = least(error, error_);
  }
  const Candidate& best() const { return best_; }

 private:
  const Grid& grid_;
  const Columns& columns_;
  Candidate best_;
  F4 error_;
};

Candidate searched(const Grid& grid, const Columns& columns, const Range& range) {
  const Candidate first = minimum_maximum(grid, range);
  LeastError search(grid, columns, first);
  for (int i = 0; i < shrinks; ++i) {
    const float share =
        least_shrink + (most_shrink - least_shrink) * static_cast<float>(i) / (shrinks - 1);
    if (grid.symmetric) {
      const F4 middle = first.zero;
      search.consider({stored_scale(grid, -range.extreme * share / middle), middle});
      search.consider(
          {stored_scale(grid, 2.0f * magnitude(range.extreme) * share / grid.top), middle});
    } else {
      const Candidate k = asymmetric(grid, range, share);
      search.consider(k);
      search.consider({k.scale, most(k.zero - 1.0f, splat(grid.lowest_zero))});
      search.consider({k.scale, least(k.zero + 1.0f, splat(grid.top))});
    }
  }
  return search.best();
}

// Lane by lane: this search is for comparisons, not for speed.
Candidate least_power(const Grid& grid, const Columns& c, const Range& range) {
  const Candidate first = minimum_maximum(grid, range);
  Candidate best = first;
  F4 least_error = splat(std::numeric_limits<float>::infinity());
  for (int i = 0; i < mse_shrinks; ++i) {
    const float share = 1 - static_cast<float>(i) / 100;
    const Candidate k = grid.symmetric
                            ? Candidate{stored_scale(grid, first.scale * share), first.zero}
                            : asymmetric(grid, range, share);
    const F4 inverse = 1.0f / k.scale, low = -k.zero, high = grid.top - k.zero;
    F4 error = splat(0);
    for (std::int64_t j = 0; j < c.cols; ++j) {
      const F4 w = load(c.w + j * c.stride);
      const F4 d = magnitude(w - k.scale * rounded(least(most(w * inverse, low), high)));
      for (int lane = 0; lane < width; ++lane) error[lane] += std::pow(d[lane], mse_power);
    }
    best.scale = error < least_error ? k.scale : best.scale;
    best.zero = error < least_error ? k.zero : best.zero;
    least_error = least(error, least_error);
  }
  return best;
}

}  // namespace

Search find_search(std::string_view name) {
  if (name == "none") return Search::none;
  if (name == "weighted") return Search::weighted;
  if (name == "mse") return Search::mse;
  fail(Fault::bad_argument, "--scale-search ", name, "; known: none, weighted, mse");
}

Grid grid_of(const Scheme& scheme, const Format& format, Search search) {
  return {.top = static_cast<float>((1 << scheme.bits) - 1),
          .lowest_zero = static_cast<float>(format.lowest_zero),
          .symmetric = scheme.symmetric,
          .half_scales = format.scale_type == DType::f16,
          .search = search};
}

float stored_scale(const Grid& grid, float scale) { return stored_scale(grid, splat(scale))[0]; }

void choose_grid(const Grid& grid, const float* w, std::int64_t stride, std::int64_t cols,
                 const float* weight, float* scale, float* zero) {
  for (std::int64_t lane = 0; lane < lane_count; lane += width) {
    const Columns columns{w + lane, stride, cols, weight};
    const Range range = range_of(columns);
    const Candidate k = grid.search == Search::weighted ? searched(grid, columns, range)
                        : grid.search == Search::mse    ? least_power(grid, columns, range)
                                                        : minimum_maximum(grid, range);
    store(scale + lane, k.scale);
    store(zero + lane, k.zero);
  }
}

void choose_grid_of_range(const Grid& grid, const float* low, const float* high, std::int64_t count,
                          float* scale, float* zero) {
  for (std::int64_t i = 0; i < count; i += width) {
    const auto bytes = static_cast<std::size_t>(std::min(width, count - i)) * sizeof(float);
    F4 least_of = splat(0), most_of = splat(0);
    std::memcpy(&least_of, low + i, bytes);
    std::memcpy(&most_of, high + i, bytes);
    const Candidate k = minimum_maximum(grid, {least_of, most_of, farther(least_of, most_of)});
    std::memcpy(scale + i, &k.scale, bytes);
    std::memcpy(zero + i, &k.zero, bytes);
  }
}

}  // namespace quaver
