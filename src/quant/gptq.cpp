// GPTQ (Frantar et al. 2022): columns are rounded one after another, and each one's error is spread
// over those that follow along the rows of U, where H^-1 = U^T U.
// Differs from the paper's code on purpose: a group's grid is taken from its compensated weights,
// scales are rounded to the format before codes are chosen, and the codes themselves are kept.
#include "quant/gptq.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "core/threads.h"
#include "quant/descent.h"
#include "quant/grid.h"
#include "quant/matrix.h"

namespace quaver {
namespace {

// Columns whose errors reach later ones in one product: first those at hand, then those of the
// block, of some blocks, and at last all. Each weight's sum has the same order whatever they are.
constexpr std::int64_t strip = 16, block = 128, wide = 512;
constexpr std::int64_t tile_rows = 16, tile_cols = 64;  // that are transposed at a time

// What all rows share.
struct Walk {
  const Grid grid;
  const std::int64_t cols, group_size, groups;
  std::span<const std::int32_t> order;
  View u;
  const float* weight;  // of each column, in order
  View h;               // the damped Hessian, where coordinate descent follows, in result_order
  int descent = 0;
  bool static_groups = false, stale_grids = false;
  std::span<const std::int32_t> result_order;  // of codes

  std::int64_t group_at(std::int64_t k) const {
    return (static_groups ? order[static_cast<std::size_t>(k)] : k) / group_size;
  }
};

// Some rows, transposed: column k of the order is row k of `w`, rows are lanes.
class RowChunk {
 public:
  RowChunk(const Walk& walk, const float* w, std::int64_t rows)
      : walk_(walk),
        lanes_((rows + lane_count - 1) / lane_count * lane_count),
        w_(static_cast<std::size_t>(walk.cols * lanes_)),
        errors_(static_cast<std::size_t>((wide + block) * lanes_)),
        codes(static_cast<std::size_t>(walk.cols * lanes_)),
        scales(static_cast<std::size_t>(walk.groups * lanes_)),
        zeros(scales.size()),
        losses(static_cast<std::size_t>(lanes_)) {
    for (std::int64_t first = 0; first < rows;
         first += tile_rows)  // by tiles, for the caches' sake
      for (std::int64_t k = 0; k < walk.cols; k += tile_cols)
        for (std::int64_t r = first; r < std::min(first + tile_rows, rows); ++r)
          for (std::int64_t c = k; c < std::min(k + tile_cols, walk.cols); ++c)
            column(c)[r] = w[r * walk.cols + walk.order[static_cast<std::size_t>(c)]];
  }

  void run() {
    std::vector<float> whole;
    if (walk_.descent > 0 || walk_.static_groups) whole = w_;
    if (walk_.static_groups) choose_static_grids(in_natural_order(whole));
    walk_columns();
    if (walk_.static_groups) {
      codes = in_natural_order(codes);
      whole = in_natural_order(whole);
    }
    if (walk_.descent > 0)
      descend({.h = walk_.h,
               .grid = walk_.grid,
               .group_size = walk_.group_size,
               .lanes = lanes_,
               .w = whole.data(),
               .codes = codes.data(),
               .scales = scales.data(),
               .zeros = zeros.data(),
               .rounds = walk_.descent});
  }

  std::int64_t lanes() const { return lanes_; }

 private:
  void walk_columns() {
    std::int64_t edge = 0;  // errors since base_ have not reached the columns from here on
    for (std::int64_t begin = 0, end = 0; begin < walk_.cols; begin = end) {
      end = block_end(begin);
      if (begin == edge || last_group_end(begin, end) > edge) {
        spread_errors(base_, begin, std::max(begin, edge), walk_.cols);
        for (base_ = edge = begin; edge < walk_.cols && edge - base_ < wide;)
          edge = block_end(edge);
      }
      walk_block(begin, end);
      spread_errors(begin, end, end, edge);
    }
  }

  void walk_block(std::int64_t begin, std::int64_t end) {
    const auto is_start = [&](std::int64_t k) {
      return k % walk_.group_size == 0 && !walk_.static_groups;
    };
    if (walk_.stale_grids)
      for (std::int64_t k = begin; k < end; ++k)
        if (is_start(k)) start_group(k);
    std::int64_t spread = begin;  // errors of columns before it have reached the whole block
    for (std::int64_t k = begin; k < end; ++k) {
      const bool starts = is_start(k) && !walk_.stale_grids;
      if (starts || k - spread == strip) {
        spread_errors(spread, k, k, end);
        spread = k;
      }
      if (starts) start_group(k);
      take_errors(spread, k);
      round_column(k);
    }
  }

  const Walk& walk_;
  const std::int64_t lanes_;
  std::int64_t base_ = 0;  // the column of the first error
  std::vector<float> w_, errors_;

 public:
  std::vector<std::uint8_t> codes;   // [cols][lanes]
  std::vector<float> scales, zeros;  // [groups][lanes], in the order of the walk
  std::vector<double> losses;        // of each row, under the damped Hessian

 private:
  float* column(std::int64_t k) { return w_.data() + k * lanes_; }
  float* error(std::int64_t k) { return errors_.data() + (k - base_) * lanes_; }

  // A group longer than a block begins where a block does, so that its weights are up to date.
  std::int64_t block_end(std::int64_t begin) const {
    const std::int64_t size = walk_.group_size;
    if (walk_.static_groups || walk_.stale_grids) return std::min(begin + block, walk_.cols);
    const std::int64_t end = size <= block ? begin + block / size * size
                                           : std::min(begin + block, (begin / size + 1) * size);
    return std::min(end, walk_.cols);
  }

  // Where the last group ends that begins among these columns; its grid needs all its weights.
  std::int64_t last_group_end(std::int64_t begin, std::int64_t end) const {
    if (walk_.static_groups) return 0;
    const std::int64_t start = (end - 1) / walk_.group_size * walk_.group_size;
    return start < begin ? 0 : std::min(start + walk_.group_size, walk_.cols);
  }

  // Columns to .. last lose what the errors of columns from .. until cost them.
  void spread_errors(std::int64_t from, std::int64_t until, std::int64_t to, std::int64_t last) {
    if (from >= until || to >= last) return;
    const View e{error(from), until - from, lanes_, lanes_, 1};
    const View later{column(to), last - to, lanes_, lanes_, 1};
    multiply(walk_.u.block(from, to, until - from, last - to).transposed(), e.transposed(), later,
             GemmArgs::Into::subtract);
  }

  void start_group(std::int64_t k) {
    const std::int64_t count = std::min(walk_.group_size, walk_.cols - k);
    const std::int64_t group = k / walk_.group_size;
    for (std::int64_t lane = 0; lane < lanes_; lane += lane_count)
      choose_grid(walk_.grid, column(k) + lane, lanes_, count, walk_.weight + k,
                  &scales[static_cast<std::size_t>(group * lanes_ + lane)],
                  &zeros[static_cast<std::size_t>(group * lanes_ + lane)]);
  }

  template <class T>
  std::vector<T> in_natural_order(const std::vector<T>& walked) const {
    std::vector<T> natural(walked.size());
    for (std::int64_t k = 0; k < walk_.cols; ++k)
      std::copy_n(walked.data() + k * lanes_, lanes_,
                  natural.data() + walk_.order[static_cast<std::size_t>(k)] * lanes_);
    return natural;
  }

  void choose_static_grids(const std::vector<float>& natural) {
    std::vector<float> weight(static_cast<std::size_t>(walk_.cols));
    for (std::int64_t k = 0; k < walk_.cols; ++k)
      weight[static_cast<std::size_t>(walk_.order[static_cast<std::size_t>(k)])] = walk_.weight[k];
    for (std::int64_t g = 0; g < walk_.groups; ++g) {
      const std::int64_t begin = g * walk_.group_size;
      for (std::int64_t lane = 0; lane < lanes_; lane += lane_count)
        choose_grid(walk_.grid, natural.data() + begin * lanes_ + lane, lanes_,
                    std::min(walk_.group_size, walk_.cols - begin), weight.data() + begin,
                    &scales[static_cast<std::size_t>(g * lanes_ + lane)],
                    &zeros[static_cast<std::size_t>(g * lanes_ + lane)]);
    }
  }

  void take_errors(std::int64_t from, std::int64_t k) {
    float u[strip];
    for (std::int64_t j = from; j < k; ++j) u[j - from] = walk_.u(j, k);
    for (std::int64_t lane = 0; lane < lanes_; lane += lane_count) {
      float* w = column(k) + lane;
      float sum[lane_count] = {};
      for (std::int64_t j = from; j < k; ++j) {
        const float* e = error(j) + lane;
        for (std::int64_t l = 0; l < lane_count; ++l) sum[l] += e[l] * u[j - from];
      }
      for (std::int64_t l = 0; l < lane_count; ++l) w[l] -= sum[l];
    }
  }

  void round_column(std::int64_t k) {
    const std::int64_t at = walk_.group_at(k) * lanes_;
    const float *scale = &scales[static_cast<std::size_t>(at)],
                *zero = &zeros[static_cast<std::size_t>(at)], *w = column(k);
    float* e = error(k);
    std::uint8_t* code = &codes[static_cast<std::size_t>(k * lanes_)];
    const float step = 1 / walk_.u(k, k), top = walk_.grid.top;
    for (std::int64_t r = 0; r < lanes_; ++r) {
      const float level = nearest_level(w[r], 1 / scale[r], zero[r], top);
      code[r] = static_cast<std::uint8_t>(level + zero[r]);
      e[r] = (w[r] - level * scale[r]) * step;
    }
    // With H = (U^T U)^-1, a row's (w - q) H (w - q)^T is the sum of these squares.
    for (std::int64_t r = 0; r < lanes_; ++r)
      losses[static_cast<std::size_t>(r)] += double{e[r]} * e[r];
  }
};

// Which original group stands at each place of the walk: groups move as a whole under
// act_group_aware, and are runs of the order under desc_act.
std::vector<std::int64_t> group_places(std::span<const std::int32_t> order, std::int64_t size,
                                       bool runs) {
  std::vector<std::int64_t> place;
  for (std::size_t k = 0; k < order.size(); k += static_cast<std::size_t>(size))
    place.push_back(runs ? static_cast<std::int64_t>(k) / size : order[k] / size);
  return place;
}

// Some chunks for each thread, but wide enough for long products. Rows do not depend on each other,
// so no cut changes a bit. An odd multiple of 16: columns of a power of two bytes would share sets
// of the caches.
std::int64_t row_grain(std::int64_t rows) {
  const std::int64_t even = std::clamp<std::int64_t>(rows / (4 * thread_count()), 48, 512);
  return (even - 16) / 32 * 32 + 16;
}

}  // namespace

std::vector<std::int32_t> column_order(const Tensor& hessian, const Scheme& scheme,
                                       const GptqSettings& settings) {
  const std::int64_t n = hessian.dim(0);
  const float* h = hessian.data<float>().data();
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const auto falls = [&](std::int64_t a, std::int64_t b) { return h[a * n + a] > h[b * n + b]; };
  if (settings.desc_act) {
    std::ranges::stable_sort(order, falls);
  } else if (settings.act_group_aware && scheme.group_size > 0) {
    std::vector<std::span<std::int32_t>> groups;
    for (std::int64_t k = 0; k < n; k += scheme.group_size) {
      groups.push_back(
          std::span(order).subspan(static_cast<std::size_t>(k),
                                   static_cast<std::size_t>(std::min(scheme.group_size, n - k))));
      std::ranges::stable_sort(groups.back(), falls);
    }
    // A short last group stays last.
    const auto whole = groups.end() - (n % scheme.group_size != 0);
    std::stable_sort(groups.begin(), whole,
                     [&](const auto& a, const auto& b) { return falls(a[0], b[0]); });
    std::vector<std::int32_t> moved;
    for (const auto& group : groups) moved.insert(moved.end(), group.begin(), group.end());
    return moved;
  }
  return order;
}

Quantized gptq_quantize(const Tensor& w, const Scheme& scheme, const Format& format,
                        const GptqInputs& inputs, const GptqSettings& settings, double* loss) {
  const std::vector<std::int32_t>& order = inputs.order;
  const std::int64_t rows = w.dim(0), cols = w.dim(1), groups = group_count(scheme, cols);
  const std::int64_t size = scheme.group_size == -1 ? cols : scheme.group_size;
  Quantized q{.scheme = scheme,
              .rows = rows,
              .cols = cols,
              .codes = Tensor::raw({rows, cols}, DType::u8),
              .scales = Tensor::raw({rows, groups}),
              .zeros = Tensor::raw({rows, groups}),
              .group_index = {}};
  std::vector<std::int32_t> natural(order.size());
  std::iota(natural.begin(), natural.end(), 0);
  const std::vector<std::int32_t>& result_order = settings.static_groups ? natural : order;
  const bool runs = settings.desc_act && !settings.static_groups;
  const auto place = group_places(result_order, size, runs);
  if (runs && groups > 1) {
    q.group_index = Tensor({cols}, DType::i32);
    for (std::size_t k = 0; k < order.size(); ++k)
      q.group_index.data<std::int32_t>()[static_cast<std::size_t>(order[k])] =
          static_cast<std::int32_t>(static_cast<std::int64_t>(k) / size);
  }
  Tensor upper = inputs.factor.upper, damped = inputs.damped;
  Grid grid = grid_of(scheme, format, settings.search);
  if (settings.as_autogptq) grid.half_range = true, grid.half_scales = false;
  const Walk walk{grid,
                  cols,
                  size,
                  groups,
                  order,
                  view_of(upper),
                  inputs.factor.diagonal.data(),
                  damped ? view_of(damped) : View{},
                  damped ? settings.coordinate_descent : 0,
                  settings.static_groups,
                  settings.as_autogptq,
                  result_order};
  const float* values = w.data<float>().data();
  std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  float* scales = q.scales.data<float>().data();
  float* zeros = q.zeros.data<float>().data();
  std::vector<double> losses(static_cast<std::size_t>(rows));
  parallel_for(rows, row_grain(rows), [&](std::int64_t begin, std::int64_t end) {
    RowChunk chunk(walk, values + begin * cols, end - begin);
    chunk.run();
    std::copy_n(chunk.losses.begin(), end - begin, losses.begin() + begin);
    const std::int32_t* column = result_order.data();
    const std::uint8_t* walked = chunk.codes.data();
    const std::int64_t lanes = chunk.lanes();
    for (std::int64_t first = 0; first < cols; first += tile_cols)
      for (std::int64_t r = begin; r < end; ++r)
        for (std::int64_t k = first; k < std::min(first + tile_cols, cols); ++k)
          codes[r * cols + column[k]] = walked[k * lanes + r - begin];
    for (std::int64_t g = 0; g < groups; ++g)
      for (std::int64_t r = begin; r < end; ++r) {
        const auto from = static_cast<std::size_t>(g * chunk.lanes() + r - begin);
        const std::int64_t to = r * groups + place[static_cast<std::size_t>(g)];
        scales[to] = chunk.scales[from];
        zeros[to] = chunk.zeros[from];
      }
  });
  if (loss) *loss = std::accumulate(losses.begin(), losses.end(), 0.0);
  return q;
}

GptqInputs gptq_inputs(const Tensor& hessian, const Scheme& scheme, const GptqSettings& settings,
                       double dead_value) {
  GptqInputs inputs{.order = column_order(hessian, scheme, settings), .factor = {}, .damped = {}};
  inputs.factor = inverse_factor(hessian, inputs.order, settings.damp, dead_value);
  if (settings.coordinate_descent == 0 || !inputs.factor.failure.empty()) return inputs;
  const std::int64_t n = hessian.dim(0);
  const float* h = hessian.data<float>().data();
  inputs.damped = Tensor::raw({n, n});
  float* damped = inputs.damped.data<float>().data();
  // Static groups are runs of columns only where these stand as they are.
  const auto place = [&](std::int64_t i) {
    const std::int64_t column = inputs.order[static_cast<std::size_t>(i)];
    return settings.static_groups ? column : i;
  };
  parallel_for(n, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t p = inputs.order[static_cast<std::size_t>(i)];
      for (std::int64_t j = 0; j < n; ++j) {
        const std::int64_t q = inputs.order[static_cast<std::size_t>(j)];
        damped[place(i) * n + place(j)] = h[std::max(p, q) * n + std::min(p, q)];
      }
      damped[place(i) * (n + 1)] = inputs.factor.diagonal[static_cast<std::size_t>(i)];
    }
  });
  return inputs;
}

Tensor shifted_target(const Tensor& w, const Tensor& cross, const GptqInputs& inputs,
                      double share) {
  const std::int64_t rows = w.dim(0), n = w.dim(1);
  Tensor weight = w, crossed = cross, upper = inputs.factor.upper;
  Tensor moved = Tensor::raw({rows, n}), ordered = Tensor::raw({rows, n}),
         half = Tensor::raw({rows, n});
  multiply(view_of(weight), view_of(crossed).transposed(), view_of(moved));
  const auto columns = [&](const Tensor& from, Tensor& to, bool back) {
    const float* a = from.data<float>().data();
    float* b = to.data<float>().data();
    parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        for (std::int64_t k = 0; k < n; ++k) {
          const std::int64_t c = inputs.order[static_cast<std::size_t>(k)];
          (back ? b[r * n + c] : b[r * n + k]) = back ? a[r * n + k] : a[r * n + c];
        }
    });
  };
  columns(moved, ordered, false);
  // H^-1 = U^T U.
  multiply(view_of(ordered), view_of(upper), view_of(half));
  multiply(view_of(half), view_of(upper).transposed(), view_of(ordered));
  columns(ordered, moved, true);
  float* target = moved.data<float>().data();
  const float* plain = w.data<float>().data();
  for (std::int64_t i = 0; i < rows * n; ++i)
    target[i] = plain[i] + static_cast<float>(share) * target[i];
  return moved;
}

namespace {

class Gptq final : public BlockPass {
 public:
  explicit Gptq(const GptqSettings& settings) : settings_(settings) {}

  bool wants_exact_stream() const override { return settings_.stream_target > 0; }
  bool wants_pooled_experts() const override { return !settings_.as_autogptq; }

  // The factor and its inverse, later the factor, the damped Hessian and a Gram matrix; the shifted
  // target while it is made, or codes and what they stand for; what each thread walks along.
  std::uint64_t workspace(std::int64_t outputs, std::int64_t inputs) const override {
    const auto n = static_cast<std::uint64_t>(inputs), m = static_cast<std::uint64_t>(outputs);
    const std::uint64_t squares = 2 + (settings_.coordinate_descent > 0 ? 1 : 0);
    const std::uint64_t rows = settings_.stream_target > 0 ? 3 * sizeof(float) : 7;
    const auto lanes = static_cast<std::uint64_t>(row_grain(outputs) + lane_count);
    const std::uint64_t walked = settings_.coordinate_descent > 0 ? 4 * sizeof(float) : 7;
    return squares * n * n * sizeof(float) + rows * m * n +
           walked * lanes * n * static_cast<std::uint64_t>(thread_count());
  }

  void run(BlockJob& job) override {
    // Sites whose columns go in the same order share the factor.
    std::map<std::vector<std::int32_t>, GptqInputs> known;
    for (Site& site : job.sites) {
      const auto start = std::chrono::steady_clock::now();
      const auto order = column_order(job.hessian, site.scheme, settings_);
      auto found = known.find(order);
      if (found == known.end())
        found =
            known.emplace(order, gptq_inputs(job.hessian, site.scheme, settings_, dead_value(job)))
                .first;
      SiteReport report = quantize(site, job, found->second);
      report.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      job.done(site, report);
    }
  }

 private:
  SiteReport quantize(Site& site, const BlockJob& job, const GptqInputs& inputs) const {
    const InverseFactor& factor = inputs.factor;
    const std::string why = job.tokens == 0 && job.pooled == 0 && factor.dead == job.hessian.dim(0)
                                ? "no calibration token reached it"
                                : factor.failure;
    const bool works = why.empty();
    Tensor w = dequantized(site.linear->weight);
    const double whole = works ? energy(job.hessian, w) : 0;
    if (works && settings_.as_autogptq) w = without_dead_columns(job.hessian, w);
    if (works && job.cross) w = shifted_target(w, job.cross, inputs, settings_.stream_target);
    double loss = 0;
    Quantized q = works ? gptq_quantize(w, site.scheme, *job.format, inputs, settings_, &loss)
                        : round_to_nearest(w, site.scheme, *job.format);
    if (settings_.as_autogptq && job.format->snap) job.format->snap(q);
    site.linear->weight = job.format->pack(q);
    SiteReport report{.name = site.name,
                      .method = works ? "gptq" : "rtn",
                      .scheme = site.scheme,
                      .damp = factor.damp,
                      .fallback = why,
                      .dead_columns = factor.dead,
                      .rows = job.tokens,
                      .pooled = job.pooled,
                      .condition = factor.condition};
    Tensor lost = dequantized(q);
    auto difference = lost.data<float>();
    const auto before = w.data<float>();
    if (!works) {
      report.error = relative_error(w, lost);
      return report;
    }
    for (std::size_t i = 0; i < before.size(); ++i) difference[i] -= before[i];
    // Codes that changed after the walk have another loss than it counted.
    const double square = settings_.coordinate_descent > 0 || settings_.as_autogptq
                              ? weighted_square(job.hessian, lost)
                              : loss - damped_share(job.hessian, inputs, lost);
    report.error = whole > 0 ? std::max(0.0, square) / whole : 0;
    return report;
  }

  // What the damping adds to a loss: the sum of (damped H - H)_kk times column k's squares.
  static double damped_share(const Tensor& hessian, const GptqInputs& inputs, const Tensor& lost) {
    const std::int64_t rows = lost.dim(0), n = lost.dim(1);
    const float *h = hessian.data<float>().data(), *d = lost.data<float>().data();
    std::vector<double> added(static_cast<std::size_t>(n)), sums(static_cast<std::size_t>(rows));
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t column = inputs.order[static_cast<std::size_t>(k)];
      added[static_cast<std::size_t>(column)] =
          double{inputs.factor.diagonal[static_cast<std::size_t>(k)]} - h[column * (n + 1)];
    }
    parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        for (std::int64_t c = 0; c < n; ++c)
          sums[static_cast<std::size_t>(r)] +=
              added[static_cast<std::size_t>(c)] * d[r * n + c] * d[r * n + c];
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  // Trace of w h w^T, from some of many rows: it only scales the error that is reported, and all of
  // them would take as long as quantizing.
  static double energy(const Tensor& hessian, const Tensor& w) {
    constexpr std::int64_t most = 512;
    const std::int64_t rows = w.dim(0), n = w.dim(1), step = (rows + most - 1) / most;
    if (step == 1) return weighted_square(hessian, w);
    const std::int64_t count = (rows + step - 1) / step;
    Tensor some = Tensor::raw({count, n});
    for (std::int64_t r = 0; r < count; ++r)
      std::copy_n(w.data<float>().data() + r * step * n, n, some.data<float>().data() + r * n);
    return weighted_square(hessian, some) * static_cast<double>(rows) / static_cast<double>(count);
  }

  // AutoGPTQ's H is 2 / sequences * sum of x x^T, and a dead column's diagonal becomes 1.
  double dead_value(const BlockJob& job) const {
    if (!settings_.as_autogptq || job.tokens == 0) return 0;
    return static_cast<double>(std::max<std::int64_t>(job.sequences, 1)) /
           (2 * static_cast<double>(job.tokens));
  }

  static Tensor without_dead_columns(const Tensor& hessian, const Tensor& w) {
    const std::int64_t rows = w.dim(0), n = w.dim(1);
    Tensor cleared = Tensor::raw({rows, n});
    const float *h = hessian.data<float>().data(), *from = w.data<float>().data();
    float* to = cleared.data<float>().data();
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < n; ++c)
        to[r * n + c] = h[c * (n + 1)] == 0 ? 0.0f : from[r * n + c];
    return cleared;
  }

  const GptqSettings settings_;
};

std::unique_ptr<BlockPass> make_gptq(const Json& options) {
  GptqSettings s;
  s.damp = json_number(options, "damp", "[gptq] options", s.damp);
  s.desc_act = json_bool(options, "desc_act", "[gptq] options", s.desc_act);
  s.act_group_aware = json_bool(options, "act_group_aware", "[gptq] options", !s.desc_act);
  s.search = find_search(json_string(options, "scale_search", "[gptq] options", "weighted"));
  s.static_groups = json_bool(options, "static_groups", "[gptq] options", s.static_groups);
  s.as_autogptq = json_string(options, "compat", "[gptq] options", "") == "autogptq";
  s.coordinate_descent = static_cast<int>(
      json_int(options, "coordinate_descent", "[gptq] options", s.coordinate_descent));
  s.stream_target = json_number(options, "stream_target", "[gptq] options", s.stream_target);
  return std::make_unique<Gptq>(s);
}

}  // namespace

constinit const Method gptq = {.name = "gptq",
                               .summary = "GPTQ: errors compensated along the inputs' Hessian",
                               .needs = {.hessian = true},
                               .make = make_gptq};

}  // namespace quaver
