#include "quant/descent.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace quaver {
namespace {

constexpr std::int64_t tile_columns = 128;  // whose changes reach the later ones in one product
constexpr std::int64_t most_system_bytes = 8 << 20;
constexpr double ridge = 1e-6;  // of the mean diagonal

// Cholesky of the lower triangle of a [n, n], then x from a x = b. False: not positive definite.
bool solve_in_place(double* a, std::int64_t n, double* x) {
  for (std::int64_t j = 0; j < n; ++j) {
    double pivot = a[j * n + j];
    for (std::int64_t k = 0; k < j; ++k) pivot -= a[j * n + k] * a[j * n + k];
    if (!(pivot > 0)) return false;
    const double root = std::sqrt(pivot);
    a[j * n + j] = root;
    for (std::int64_t i = j + 1; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::int64_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = sum / root;
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < i; ++k) x[i] -= a[i * n + k] * x[k];
    x[i] /= a[i * n + i];
  }
  for (std::int64_t i = n; i-- > 0;) {
    for (std::int64_t k = i + 1; k < n; ++k) x[i] -= a[k * n + i] * x[k];
    x[i] /= a[i * n + i];
  }
  return true;
}

class Descent {
 public:
  // Lanes begin .. begin + lanes of the whole.
  Descent(const DescentArgs& args, std::int64_t begin, std::int64_t lanes)
      : args_(args),
        begin_(begin),
        lanes_(lanes),
        cols_(args.h.rows),
        groups_((cols_ + args.group_size - 1) / args.group_size),
        levels_(size()),
        hw_(size()),
        rest_(size()),
        changes_(static_cast<std::size_t>(tile_columns * lanes)),
        product_(size()),
        system_(static_cast<std::size_t>(lanes * groups_ * groups_)),
        aims_(static_cast<std::size_t>(lanes * groups_)) {
    std::vector<float> w(size());
    for (std::int64_t k = 0; k < cols_; ++k)
      std::copy_n(args.w + k * args.lanes + begin, lanes_, w.data() + k * lanes_);
    multiply(args_.h, matrix(w).transposed(), matrix(hw_));
    for (std::int64_t k = 0; k < cols_; ++k)
      for (std::int64_t r = 0; r < lanes_; ++r)
        level(k)[r] = static_cast<float>(code(k)[r]) - zero(group_of(k))[r];
  }

  void run() {
    for (int round = 0; round < args_.rounds; ++round) {
      solve_scales();
      sweep_codes();
    }
    solve_scales();
  }

 private:
  std::size_t size() const { return static_cast<std::size_t>(cols_ * lanes_); }
  std::int64_t group_of(std::int64_t k) const { return k / args_.group_size; }
  std::int64_t end_of(std::int64_t g) const { return std::min(cols_, (g + 1) * args_.group_size); }
  float* level(std::int64_t k) { return levels_.data() + k * lanes_; }
  std::uint8_t* code(std::int64_t k) { return args_.codes + k * args_.lanes + begin_; }
  float* scale(std::int64_t g) { return args_.scales + g * args_.lanes + begin_; }
  const float* zero(std::int64_t g) { return args_.zeros + g * args_.lanes + begin_; }
  View matrix(std::vector<float>& v) const {
    return {v.data(), static_cast<std::int64_t>(v.size()) / lanes_, lanes_, lanes_, 1};
  }

  // For scales s the loss of a row is s^T A s - 2 b^T s + const, A = K H K^T and b = K H w with a
  // row of K for each group: its levels, zeros elsewhere.
  void form_system() {
    std::ranges::fill(system_, 0.0);
    std::ranges::fill(aims_, 0.0);
    std::vector<double> sums(static_cast<std::size_t>(lanes_));
    const auto dot = [&](const std::vector<float>& v, std::int64_t from, std::int64_t to) {
      std::ranges::fill(sums, 0.0);
      for (std::int64_t k = from; k < to; ++k) {
        const float *a = v.data() + k * lanes_, *b = level(k);
        for (std::int64_t r = 0; r < lanes_; ++r)
          sums[static_cast<std::size_t>(r)] += double{a[r]} * b[r];
      }
    };
    for (std::int64_t g = 0; g < groups_; ++g) {
      const std::int64_t from = g * args_.group_size, to = end_of(g);
      const View k{level(from), to - from, lanes_, lanes_, 1};
      multiply(args_.h.block(0, from, to, to - from), k.transposed(),
               matrix(product_).block(0, 0, to, lanes_));
      for (std::int64_t other = 0; other <= g; ++other) {
        dot(product_, other * args_.group_size, end_of(other));
        for (std::int64_t r = 0; r < lanes_; ++r)
          entry(r, g, other) = entry(r, other, g) = sums[static_cast<std::size_t>(r)];
      }
      dot(hw_, from, to);
      for (std::int64_t r = 0; r < lanes_; ++r)
        aims_[static_cast<std::size_t>(r * groups_ + g)] = sums[static_cast<std::size_t>(r)];
    }
  }

  double& entry(std::int64_t row, std::int64_t g, std::int64_t other) {
    return system_[static_cast<std::size_t>((row * groups_ + g) * groups_ + other)];
  }

  void solve_scales() {
    form_system();
    std::vector<double> factor(static_cast<std::size_t>(groups_ * groups_)),
        joint(static_cast<std::size_t>(groups_)), current(joint.size());
    for (std::int64_t r = 0; r < lanes_; ++r) {
      const double* a = &entry(r, 0, 0);
      const double* b = aims_.data() + r * groups_;
      for (std::int64_t g = 0; g < groups_; ++g) current[static_cast<std::size_t>(g)] = scale(g)[r];
      solve_jointly(a, b, factor, joint, current);
      improve_each(a, b, current);
      for (std::int64_t g = 0; g < groups_; ++g)
        scale(g)[r] = static_cast<float>(current[static_cast<std::size_t>(g)]);
    }
  }

  // `current` becomes the rounded solution where that is better.
  void solve_jointly(const double* a, const double* b, std::vector<double>& factor,
                     std::vector<double>& joint, std::vector<double>& current) const {
    double mean = 0;
    for (std::int64_t g = 0; g < groups_; ++g) mean += a[g * groups_ + g];
    mean /= static_cast<double>(groups_);
    std::copy_n(a, factor.size(), factor.begin());
    std::copy_n(b, joint.size(), joint.begin());
    for (std::int64_t g = 0; g < groups_; ++g)
      factor[static_cast<std::size_t>(g * groups_ + g)] += ridge * mean;
    if (!(mean > 0) || !solve_in_place(factor.data(), groups_, joint.data())) return;
    for (std::size_t g = 0; g < joint.size(); ++g) {
      const bool used = a[static_cast<std::int64_t>(g) * (groups_ + 1)] > 0;
      joint[g] = used && std::isfinite(joint[g]) ? stored(joint[g]) : current[g];
    }
    if (loss_of(a, b, joint) < loss_of(a, b, current)) current = joint;
  }

  // One scale after another, all others as they are: undoes what rounding the joint solution cost.
  void improve_each(const double* a, const double* b, std::vector<double>& s) const {
    for (std::int64_t g = 0; g < groups_; ++g) {
      const double own = a[g * groups_ + g];
      if (!(own > 0)) continue;
      double rest = b[g];
      for (std::int64_t other = 0; other < groups_; ++other)
        if (other != g) rest -= a[g * groups_ + other] * s[static_cast<std::size_t>(other)];
      double& mine = s[static_cast<std::size_t>(g)];
      const double best = stored(rest / own);
      const auto loss = [&](double v) { return v * (own * v - 2 * rest); };
      if (loss(best) < loss(mine)) mine = best;
    }
  }

  double stored(double s) const {
    return std::isfinite(s) ? double{stored_scale(args_.grid, static_cast<float>(s))} : s;
  }

  double loss_of(const double* a, const double* b, const std::vector<double>& s) const {
    double loss = 0;
    for (std::int64_t g = 0; g < groups_; ++g) {
      double sum = -2 * b[g];
      for (std::int64_t other = 0; other < groups_; ++other)
        sum += a[g * groups_ + other] * s[static_cast<std::size_t>(other)];
      loss += s[static_cast<std::size_t>(g)] * sum;
    }
    return loss;
  }

  // rest_ = H (w - d), kept up to date for the columns to come; the best d_k for all others is
  // d_k + rest_k / H_kk.
  void sweep_codes() {
    for (std::int64_t k = 0; k < cols_; ++k) {
      const float* s = scale(group_of(k));
      for (std::int64_t r = 0; r < lanes_; ++r)
        product_[static_cast<std::size_t>(k * lanes_ + r)] = level(k)[r] * s[r];
    }
    rest_ = hw_;
    multiply(args_.h, matrix(product_).transposed(), matrix(rest_), GemmArgs::Into::subtract);
    for (std::int64_t begin = 0; begin < cols_; begin += tile_columns) {
      const std::int64_t end = std::min(begin + tile_columns, cols_);
      for (std::int64_t k = begin; k < end; ++k) choose_code(begin, k);
      if (end == cols_) break;
      const View changes{changes_.data(), end - begin, lanes_, lanes_, 1};
      multiply(args_.h.block(end, begin, cols_ - end, end - begin), changes.transposed(),
               matrix(rest_).block(end, 0, cols_ - end, lanes_), GemmArgs::Into::subtract);
    }
  }

  void choose_code(std::int64_t begin, std::int64_t k) {
    float* rest = rest_.data() + k * lanes_;
    for (std::int64_t j = begin; j < k; ++j) {
      const float h = args_.h(k, j);
      const float* change = changes_.data() + (j - begin) * lanes_;
      for (std::int64_t r = 0; r < lanes_; ++r) rest[r] -= h * change[r];
    }
    const float step = 1 / args_.h(k, k), top = args_.grid.top;
    const float *s = scale(group_of(k)), *z = zero(group_of(k));
    float *change = changes_.data() + (k - begin) * lanes_, *l = level(k);
    std::uint8_t* c = code(k);
    for (std::int64_t r = 0; r < lanes_; ++r) {
      const float best = nearest_level(l[r] * s[r] + rest[r] * step, 1 / s[r], z[r], top);
      change[r] = (best - l[r]) * s[r];
      l[r] = best;
      c[r] = static_cast<std::uint8_t>(best + z[r]);
    }
  }

  const DescentArgs& args_;
  const std::int64_t begin_, lanes_, cols_, groups_;
  std::vector<float> levels_;  // code - zero
  std::vector<float> hw_, rest_, changes_, product_;
  std::vector<double> system_, aims_;
};

}  // namespace

void descend(const DescentArgs& args) {
  const std::int64_t groups = (args.h.rows + args.group_size - 1) / args.group_size;
  const std::int64_t most = most_system_bytes / (groups * groups * 8);
  const std::int64_t lanes =
      std::clamp<std::int64_t>(most / lane_count * lane_count, lane_count, args.lanes);
  for (std::int64_t begin = 0; begin < args.lanes; begin += lanes)
    Descent(args, begin, std::min(lanes, args.lanes - begin)).run();
}

}  // namespace quaver
