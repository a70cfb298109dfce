// Round to nearest: no calibration, the baseline that every other method must beat.
#include <array>
#include <chrono>

#include "core/threads.h"
#include "quant/grid.h"
#include "quant/pass.h"

namespace quaver {
namespace {

// Rows row .. row + lane_count of one group, column by column; absent rows are zero.
void gather_lanes(const Tensor& w, std::int64_t row, std::int64_t begin, std::int64_t cols,
                  float* lanes) {
  const float* from = w.data<float>().data();
  for (std::int64_t l = 0; l < lane_count; ++l)
    for (std::int64_t c = 0; c < cols; ++c)
      lanes[c * lane_count + l] =
          row + l < w.dim(0) ? from[(row + l) * w.dim(1) + begin + c] : 0.0f;
}

void round_row(const float* w, const Quantized& q, std::int64_t row, float top,
               std::uint8_t* codes) {
  const std::int64_t groups = q.scales.dim(1);
  const std::int64_t size = q.scheme.group_size == -1 ? q.cols : q.scheme.group_size;
  const float* scales = q.scales.data<float>().data() + row * groups;
  const float* zeros = q.zeros.data<float>().data() + row * groups;
  for (std::int64_t g = 0; g < groups; ++g) {
    const float inverse = 1 / scales[g], zero = zeros[g];
    for (std::int64_t c = g * size; c < std::min(q.cols, (g + 1) * size); ++c)
      codes[c] = static_cast<std::uint8_t>(nearest_level(w[c], inverse, zero, top) + zero);
  }
}

}  // namespace

Quantized round_to_nearest(const Tensor& w, const Scheme& scheme, const Format& format) {
  const std::int64_t rows = w.dim(0), cols = w.dim(1), groups = group_count(scheme, cols);
  const std::int64_t size = scheme.group_size == -1 ? cols : scheme.group_size;
  Quantized q{.scheme = scheme,
              .rows = rows,
              .cols = cols,
              .codes = Tensor::raw({rows, cols}, DType::u8),
              .scales = Tensor::raw({rows, groups}),
              .zeros = Tensor::raw({rows, groups}),
              .group_index = {}};
  const Grid grid = grid_of(scheme, format, Search::none);
  float* scales = q.scales.data<float>().data();
  float* zeros = q.zeros.data<float>().data();
  parallel_for(rows, 2 * lane_count, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> lanes(static_cast<std::size_t>(size * lane_count));
    std::array<float, lane_count> scale, zero;
    for (std::int64_t row = begin; row < end; row += lane_count)
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t count = std::min(size, cols - g * size);
        gather_lanes(w, row, g * size, count, lanes.data());
        choose_grid(grid, lanes.data(), lane_count, count, nullptr, scale.data(), zero.data());
        for (std::int64_t l = 0; l < std::min(lane_count, end - row); ++l) {
          scales[(row + l) * groups + g] = scale[static_cast<std::size_t>(l)];
          zeros[(row + l) * groups + g] = zero[static_cast<std::size_t>(l)];
        }
      }
  });
  if (format.snap) format.snap(q);
  const float* values = w.data<float>().data();
  std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      round_row(values + r * cols, q, r, grid.top, codes + r * cols);
  });
  return q;
}

double relative_error(const Tensor& w, const Tensor& q) {
  constexpr std::int64_t part = 1 << 16;
  const auto size = w.size();
  const float *a = w.data<float>().data(), *b = q.data<float>().data();
  std::vector<std::array<double, 2>> sums(static_cast<std::size_t>((size + part - 1) / part));
  parallel_for(size, part, [&](std::int64_t begin, std::int64_t end) {
    double lost = 0, whole = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      const double difference = double{a[i]} - b[i];
      lost += difference * difference;
      whole += double{a[i]} * a[i];
    }
    sums[static_cast<std::size_t>(begin / part)] = {lost, whole};
  });
  double lost = 0, whole = 0;
  for (const auto& sum : sums) lost += sum[0], whole += sum[1];
  return whole == 0 ? 0 : lost / whole;
}

namespace {

class Rtn final : public BlockPass {
  void run(BlockJob& job) override {
    for (Site& site : job.sites) {
      const auto start = std::chrono::steady_clock::now();
      const Tensor w = dequantized(site.linear->weight);
      const Quantized q = round_to_nearest(w, site.scheme, *job.format);
      site.linear->weight = job.format->pack(q);
      SiteReport report{.name = site.name, .method = "rtn", .scheme = site.scheme};
      report.error = relative_error(w, dequantized(q));
      report.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      job.done(site, report);
    }
  }
};

}  // namespace

constinit const Method rtn = {
    .name = "rtn",
    .summary = "round to nearest, no calibration",
    .needs = {},
    .make = [](const Json&) -> std::unique_ptr<BlockPass> { return std::make_unique<Rtn>(); }};

}  // namespace quaver
