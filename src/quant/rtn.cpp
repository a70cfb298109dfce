// Round to nearest: no calibration, the baseline that every other method must beat.
#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <vector>

#include "core/threads.h"
#include "kernels/cpu/kernels.h"
#include "quant/grid.h"
#include "quant/pass.h"

namespace quaver {
namespace {

constexpr std::int64_t slab = 32;  // rows of one task: few enough for a core's own cache

// What was lost, and what there was: sums of squares.
using Squares = std::array<double, 2>;
double share_of(const std::vector<Squares>& parts) {
  double lost = 0, whole = 0;
  for (const Squares& part : parts) lost += part[0], whole += part[1];
  return whole == 0 ? 0 : lost / whole;
}

// Fills `q` for its rows of w, [q.rows, q.cols].
Squares round_rows(const float* w, const Grid& grid, const Format& format, Quantized& q) {
  const cpu::Kernels& kernels = cpu::kernels();
  const std::int64_t groups = group_count(q.scheme, q.cols);
  const std::int64_t size = q.scheme.group_size == -1 ? q.cols : q.scheme.group_size;
  float* scales = q.scales.data<float>().data();
  float* zeros = q.zeros.data<float>().data();
  std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  const auto for_groups = [&](const auto& work) {
    for (std::int64_t r = 0; r < q.rows; ++r)
      for (std::int64_t g = 0; g < groups; ++g)
        work(r * groups + g, r * q.cols + g * size, std::min(size, q.cols - g * size));
  };
  std::vector<float> low(static_cast<std::size_t>(q.rows * groups)), high(low.size());
  for_groups([&](std::int64_t group, std::int64_t at, std::int64_t count) {
    kernels.extremes(w + at, count, &low[static_cast<std::size_t>(group)],
                     &high[static_cast<std::size_t>(group)]);
  });
  choose_grid_of_range(grid, low.data(), high.data(), q.rows * groups, scales, zeros);
  if (format.snap) format.snap(q);
  Squares squares{};
  for_groups([&](std::int64_t group, std::int64_t at, std::int64_t count) {
    kernels.round_codes(w + at, count, scales[group], zeros[group], grid.top, codes + at,
                        squares.data());
  });
  return squares;
}

Quantized unfilled(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const std::int64_t groups = group_count(scheme, cols);
  return {.scheme = scheme,
          .rows = rows,
          .cols = cols,
          .codes = Tensor::raw({rows, cols}, DType::u8),
          .scales = Tensor::raw({rows, groups}),
          .zeros = Tensor::raw({rows, groups}),
          .group_index = {}};
}

std::vector<Squares> places_for(std::int64_t rows) {
  return std::vector<Squares>(static_cast<std::size_t>((rows + slab - 1) / slab));
}

Quantized rounded_whole(const Tensor& w, const Scheme& scheme, const Format& format,
                        std::vector<Squares>& squares) {
  Quantized q = unfilled(scheme, w.dim(0), w.dim(1));
  const Grid grid = grid_of(scheme, format, Search::none);
  const float* values = w.data<float>().data();
  parallel_for(q.rows, slab, [&](std::int64_t begin, std::int64_t end) {
    Quantized part = rows_of(q, begin, end);
    squares[static_cast<std::size_t>(begin / slab)] =
        round_rows(values + begin * q.cols, grid, format, part);
  });
  return q;
}

std::optional<cpu::Element> element_of(const Weight& weight) {
  const Tensor* tensor = std::get_if<Tensor>(&weight);
  if (!tensor) return std::nullopt;
  switch (tensor->dtype()) {
    case DType::f32:
      return cpu::Element::f32;
    case DType::f16:
      return cpu::Element::f16;
    case DType::bf16:
      return cpu::Element::bf16;
    default:
      return std::nullopt;
  }
}

// From the checkpoint's own elements to the file's in one go: a slab is widened, rounded and packed
// while it lies in a cache.
Packed rounded_in_slabs(const Tensor& w, cpu::Element element, const Scheme& scheme,
                        const Format& format, std::vector<Squares>& squares) {
  const std::int64_t rows = w.dim(0), cols = w.dim(1);
  const std::string refusal = format.refuses(scheme, rows, cols);
  ensure(refusal.empty(), "[", format.name, "] ", refusal);
  Packed packed = empty_packed(format, scheme, rows, cols);
  const Grid grid = grid_of(scheme, format, Search::none);
  const auto row_bytes = static_cast<std::int64_t>(size_of(w.dtype())) * cols;
  parallel_for(rows, slab, [&](std::int64_t begin, std::int64_t end) {
    Tensor wide = Tensor::raw({end - begin, cols});
    float* values = wide.data<float>().data();
    cpu::kernels().to_f32(w.host() + begin * row_bytes, element, wide.size(), values);
    Quantized q = unfilled(scheme, end - begin, cols);
    squares[static_cast<std::size_t>(begin / slab)] = round_rows(values, grid, format, q);
    format.pack_rows(q, begin, packed);
  });
  return packed;
}

}  // namespace

Quantized round_to_nearest(const Tensor& w, const Scheme& scheme, const Format& format) {
  std::vector<Squares> unused = places_for(w.dim(0));
  return rounded_whole(w, scheme, format, unused);
}

double relative_error(const Tensor& w, const Tensor& q) {
  constexpr std::int64_t part = 1 << 16;
  const auto size = w.size();
  const float *a = w.data<float>().data(), *b = q.data<float>().data();
  std::vector<Squares> sums(static_cast<std::size_t>((size + part - 1) / part));
  parallel_for(size, part, [&](std::int64_t begin, std::int64_t end) {
    double lost = 0, whole = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      const double difference = double{a[i]} - b[i];
      lost += difference * difference;
      whole += double{a[i]} * a[i];
    }
    sums[static_cast<std::size_t>(begin / part)] = {lost, whole};
  });
  return share_of(sums);
}

namespace {

class Rtn final : public BlockPass {
  void run(BlockJob& job) override {
    for (Site& site : job.sites) {
      const auto start = std::chrono::steady_clock::now();
      std::vector<Squares> squares = places_for(site.linear->outputs);
      const auto element = element_of(site.linear->weight);
      if (element && job.format->pack_rows)
        site.linear->weight = rounded_in_slabs(std::get<Tensor>(site.linear->weight), *element,
                                               site.scheme, *job.format, squares);
      else
        site.linear->weight = job.format->pack(
            rounded_whole(dequantized(site.linear->weight), site.scheme, *job.format, squares));
      SiteReport report{.name = site.name, .method = "rtn", .scheme = site.scheme};
      report.error = share_of(squares);
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
