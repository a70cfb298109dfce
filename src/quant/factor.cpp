// With J the reversal of indices, let J H J = L L^T. Then R = J L J is upper triangular with
// H = R R^T, and U = R^-1 = J L^-1 J is the upper factor of the inverse: H^-1 = R^-T R^-1 = U^T U.
// One Cholesky factorization and one triangular inverse, half the work of inverting H first.
#include "quant/factor.h"

#include <algorithm>
#include <cmath>

#include "core/threads.h"
#include "quant/matrix.h"

namespace quaver {
namespace {

constexpr std::int64_t block = 128, wide = 512, strip = 256, tile = 32;

// L of one diagonal block in place; false when a pivot is below `floor`.
bool factor_block(const View& a, double floor) {
  std::vector<float> column(static_cast<std::size_t>(a.rows));
  for (std::int64_t j = 0; j < a.rows; ++j) {
    const float pivot = a(j, j);
    if (!(pivot > floor) || !std::isfinite(pivot)) return false;
    const float root = std::sqrt(pivot);
    a(j, j) = root;
    for (std::int64_t i = j + 1; i < a.rows; ++i)
      column[static_cast<std::size_t>(i)] = a(i, j) /= root;
    for (std::int64_t i = j + 1; i < a.rows; ++i) {
      float* row = &a(i, 0);
      const float factor = column[static_cast<std::size_t>(i)];
      for (std::int64_t p = j + 1; p <= i; ++p)
        row[p] -= factor * column[static_cast<std::size_t>(p)];
    }
  }
  return true;
}

// inverse = l^-1 for one lower triangular block; `inverse` holds zeros.
void invert_block(const View& l, const View& inverse) {
  for (std::int64_t i = 0; i < l.rows; ++i) {
    float* row = &inverse(i, 0);
    for (std::int64_t p = 0; p < i; ++p) {
      const float factor = l(i, p);
      const float* other = &inverse(p, 0);
      for (std::int64_t c = 0; c <= p; ++c) row[c] -= factor * other[c];
    }
    const float scale = 1 / l(i, i);
    for (std::int64_t c = 0; c < i; ++c) row[c] *= scale;
    row[i] = scale;
  }
}

// What the columns before `from` take from the lower triangle of a's columns k .. k + width, whose
// rows begin at k.
void take_columns(const View& a, std::int64_t from, std::int64_t k, std::int64_t width) {
  multiply(a.block(k, from, a.rows - k, k - from), a.block(k, from, width, k - from),
           a.block(k, k, a.rows - k, width), GemmArgs::Into::subtract, true);
}

// Lower `a` becomes L, and the diagonal blocks of `inverse` those of L^-1. Columns take what those
// before them cost twice: many at a time from far away, so that these are packed seldom, then few.
bool factor_lower(const View& a, const View& inverse, double floor) {
  const std::int64_t n = a.rows;
  Tensor panel = Tensor::raw({n, block});
  for (std::int64_t k = 0, far = 0; k < n; k += block) {
    const std::int64_t width = std::min(block, n - k), below = n - k - width;
    if (k % wide == 0) take_columns(a, 0, far = k, std::min(wide, n - k));
    take_columns(a, far, k, width);
    const View corner = a.block(k, k, width, width), inverted = inverse.block(k, k, width, width);
    if (!factor_block(corner, floor)) return false;
    invert_block(corner, inverted);
    if (below == 0) continue;
    const View under = a.block(k + width, k, below, width);
    const View copy{panel.data<float>().data(), below, width, width, 1};
    for (std::int64_t r = 0; r < below; ++r) std::copy_n(&under(r, 0), width, &copy(r, 0));
    multiply(copy, inverted, under);
  }
  return true;
}

// product = l inverse for lower triangles, of all `inverse` rows: columns in strips, each from the
// row on where it is not zero.
void multiply_triangle(const View& l, const View& inverse, const View& product) {
  for (std::int64_t c = 0; c < inverse.rows; c += strip) {
    const std::int64_t count = std::min(strip, inverse.rows - c);
    multiply(l.block(0, c, l.rows, inverse.rows - c),
             inverse.block(c, c, inverse.rows - c, count).transposed(),
             product.block(0, c, l.rows, count));
  }
}

// The rest of L^-1, whose diagonal blocks are there already: row block by row block,
// L^-1[b, :b] = -L^-1[b, b] (L[b, :b] L^-1[:b, :b]). The products with rows far above are made for
// several blocks at a time.
void invert_lower(const View& l, const View& inverse) {
  const std::int64_t n = l.rows;
  Tensor product = Tensor::raw({std::min(wide, n), n}), corner = Tensor::raw({block, block});
  const View far = view_of(product);
  for (std::int64_t k = 0, from = 0; k < n; k += block) {
    if (k % wide == 0) {
      from = k;
      const std::int64_t rows = std::min(wide, n - k);
      if (k > 0)
        multiply_triangle(l.block(k, 0, rows, k), inverse.block(0, 0, k, k),
                          far.block(0, 0, rows, k));
    }
    const std::int64_t width = std::min(block, n - k);
    if (k == 0) continue;
    const View rows = far.block(k - from, 0, width, k);
    if (k > from) {  // rows from .. k of L^-1 are there by now
      const View near = l.block(k, from, width, k - from);
      multiply(near, inverse.block(from, 0, k - from, from).transposed(),
               rows.block(0, 0, width, from), GemmArgs::Into::add);
      multiply_triangle(near, inverse.block(from, from, k - from, k - from),
                        rows.block(0, from, width, k - from));
    }
    View minus{corner.data<float>().data(), width, width, width, 1};
    for (std::int64_t r = 0; r < width; ++r)
      for (std::int64_t c = 0; c < width; ++c) minus(r, c) = -inverse(k + r, k + c);
    multiply(minus, rows.transposed(), inverse.block(k, 0, width, k));
  }
}

// The same in double precision, row by row: slow, and hardly ever reached.
bool invert_in_double(const View& a, const View& inverse, double floor) {
  const std::int64_t n = a.rows;
  std::vector<double> l(static_cast<std::size_t>(n * n)), m(static_cast<std::size_t>(n * n));
  for (std::int64_t j = 0; j < n; ++j) {
    double* top = l.data() + j * n;
    parallel_for(n - j, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = j + begin; i < j + end; ++i) {
        double sum = a(i, j);
        for (std::int64_t p = 0; p < j; ++p) sum -= l[static_cast<std::size_t>(i * n + p)] * top[p];
        m[static_cast<std::size_t>(i)] = sum;
      }
    });
    const double pivot = m[static_cast<std::size_t>(j)];
    if (!(pivot > floor) || !std::isfinite(pivot)) return false;
    for (std::int64_t i = j; i < n; ++i)
      l[static_cast<std::size_t>(i * n + j)] = m[static_cast<std::size_t>(i)] / std::sqrt(pivot);
  }
  std::ranges::fill(m, 0.0);
  for (std::int64_t i = 0; i < n; ++i) {
    double* row = m.data() + i * n;
    for (std::int64_t p = 0; p < i; ++p)
      for (std::int64_t c = 0; c <= p; ++c)
        row[c] -= l[static_cast<std::size_t>(i * n + p)] * m[static_cast<std::size_t>(p * n + c)];
    const double scale = 1 / l[static_cast<std::size_t>(i * n + i)];
    for (std::int64_t c = 0; c < i; ++c) row[c] *= scale;
    row[i] = scale;
    for (std::int64_t c = 0; c <= i; ++c) inverse(i, c) = static_cast<float>(row[c]);
  }
  return true;
}

// a = J (H[order, order] with `diagonal`) J, the lower triangle. In the natural order it reads H's
// columns: by tiles, for the caches' sake.
void fill_reversed(const Tensor& hessian, std::span<const std::int32_t> order,
                   std::span<const float> diagonal, const View& a) {
  const std::int64_t n = a.rows;
  const float* h = hessian.data<float>().data();
  const auto place = [&](std::int64_t i) {
    return std::int64_t{order[static_cast<std::size_t>(n - 1 - i)]};
  };
  parallel_for(n, tile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t from = 0; from < end; from += tile)
      for (std::int64_t j = from; j < std::min(from + tile, end); ++j) {
        const std::int64_t q = place(j);
        for (std::int64_t i = std::max(begin, j); i < end; ++i) {
          const std::int64_t p = place(i);
          a(i, j) = h[std::max(p, q) * n + std::min(p, q)];
        }
      }
    for (std::int64_t i = begin; i < end; ++i)
      a(i, i) = diagonal[static_cast<std::size_t>(n - 1 - i)];
  });
}

// u = J m J for the lower triangular m; zeros below u's diagonal.
void fill_upper(const View& m, const View& u) {
  const std::int64_t n = m.rows;
  parallel_for(n, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* from = &m(n - 1 - i, 0);
      for (std::int64_t j = 0; j < i; ++j) u(i, j) = 0;
      for (std::int64_t j = i; j < n; ++j) u(i, j) = from[n - 1 - j];
    }
  });
}

bool all_finite_lower(const Tensor& hessian) {
  const std::int64_t n = hessian.dim(0);
  const float* h = hessian.data<float>().data();
  for (std::int64_t r = 0; r < n; ++r)
    for (std::int64_t c = 0; c <= r; ++c)
      if (!std::isfinite(h[r * n + c])) return false;
  return true;
}

}  // namespace

InverseFactor inverse_factor(const Tensor& hessian, std::span<const std::int32_t> order,
                             double damp, double dead_value) {
  const std::int64_t n = hessian.dim(0);
  ensure(hessian.shape() == Shape({n, n}) && static_cast<std::int64_t>(order.size()) == n,
         "[gptq] a Hessian of shape ", hessian.shape(), " and an order of ", order.size());
  ensure(damp >= 0 && std::isfinite(damp), "[gptq] damp ", damp, "; expected 0 or more");
  InverseFactor result;
  if (!all_finite_lower(hessian)) {
    result.failure = "the calibration inputs gave a Hessian that is not finite";
    return result;
  }
  const float* h = hessian.data<float>().data();
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += h[i * n + i];
    result.dead += h[i * n + i] == 0;
  }
  double mean = result.dead == n ? 1 : sum / static_cast<double>(n - result.dead);
  const double revived = dead_value > 0 ? dead_value : mean;
  if (dead_value > 0)
    mean = (sum + dead_value * static_cast<double>(result.dead)) / static_cast<double>(n);
  std::vector<float> live(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < live.size(); ++i) {
    const float value = h[order[i] * n + order[i]];
    live[i] = value == 0 ? static_cast<float>(revived) : value;
  }
  Tensor lower = Tensor::raw({n, n}), inverse = Tensor::raw({n, n});
  const View a = view_of(lower), m = view_of(inverse);
  const auto attempt = [&](double share, bool in_double) {
    result.damp = share;
    result.diagonal = live;
    for (float& d : result.diagonal) d = static_cast<float>(d + share * mean);
    std::ranges::fill(inverse.data<float>(), 0.0f);
    fill_reversed(hessian, order, result.diagonal, a);
    // No pivot of H + d I is below d: a smaller one is rounding noise.
    const double floor = 0.5 * share * mean;
    if (in_double) return invert_in_double(a, m, floor);
    if (!factor_lower(a, m, floor)) return false;
    invert_lower(a, m);
    return true;
  };
  bool done = false;
  double share = damp;
  for (; !done && share <= 1; share = std::max(share * 10, 1e-4)) done = attempt(share, false);
  if (!done) done = attempt(std::max(damp, 1e-4), true) || attempt(1, true);
  if (!done) {
    result.failure = "the Hessian is not positive definite, whatever the damping";
    return result;
  }
  fill_upper(m, a);
  result.upper = lower;
  // The squares of the pivots lie between the least and the greatest eigenvalue.
  float least = a(0, 0), greatest = least;
  for (std::int64_t i = 0; i < n; ++i) {
    least = std::min(least, a(i, i));
    greatest = std::max(greatest, a(i, i));
  }
  result.condition = std::pow(double{greatest} / least, 2);
  return result;
}

}  // namespace quaver
