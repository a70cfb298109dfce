// What follows GPTQ's pass, and what its weights are moved to before: against the definitions in
// double precision.
#include "quant/descent.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/threads.h"
#include "quant/gptq.h"
#include "quant/matrices_test.h"

namespace quaver {
namespace {

struct Start {
  Tensor w, h;
  Quantized q;
  GptqInputs inputs;
};

// GPTQ's result, and the damped Hessian in the natural order.
Start started(std::int64_t rows, std::int64_t cols, const Scheme& scheme) {
  Start s{.w = golden_matrix(rows, cols, 7),
          .h = gram_of(correlated(3 * cols, cols, 8)),
          .q = {},
          .inputs = {}};
  const GptqSettings settings{.act_group_aware = false, .coordinate_descent = 1};
  s.inputs = gptq_inputs(s.h, scheme, settings);
  GptqSettings plain = settings;
  plain.coordinate_descent = 0;
  s.q = gptq_quantize(s.w, scheme, find_format("gptq_v2"), s.inputs, plain);
  return s;
}

Quantized descended(const Start& s, int rounds) {
  GptqSettings settings{.act_group_aware = false, .coordinate_descent = rounds};
  return gptq_quantize(s.w, s.q.scheme, find_format("gptq_v2"), s.inputs, settings);
}

double value(const Quantized& q, std::int64_t r, std::int64_t c) {
  const std::int64_t size = q.scheme.group_size == -1 ? q.cols : q.scheme.group_size;
  const std::int64_t at = r * q.scales.dim(1) + c / size;
  return (double{q.codes.data<std::uint8_t>()[static_cast<std::size_t>(r * q.cols + c)] * 1.0} -
          q.zeros.data<float>()[static_cast<std::size_t>(at)]) *
         q.scales.data<float>()[static_cast<std::size_t>(at)];
}

std::vector<double> row_losses(const Start& s, const Quantized& q) {
  const float* h = s.inputs.damped.data<float>().data();
  std::vector<double> losses;
  std::vector<double> d(static_cast<std::size_t>(q.cols));
  for (std::int64_t r = 0; r < q.rows; ++r) {
    double sum = 0;
    for (std::int64_t c = 0; c < q.cols; ++c)
      d[static_cast<std::size_t>(c)] =
          double{s.w.data<float>()[static_cast<std::size_t>(r * q.cols + c)]} - value(q, r, c);
    for (std::size_t i = 0; i < d.size(); ++i)
      for (std::size_t j = 0; j < d.size(); ++j) sum += d[i] * h[i * d.size() + j] * d[j];
    losses.push_back(sum);
  }
  return losses;
}

const Scheme schemes[] = {{4, 32, true}, {2, 64, false}, {3, -1, true}, {8, 32, false}};

TEST(CoordinateDescent, NoRoundRaisesTheLossOfAnyRow) {
  for (const Scheme& scheme : schemes) {
    const Start s = started(24, 192, scheme);
    std::vector<double> before = row_losses(s, s.q);
    double first = 0, last = 0;
    for (const double v : before) first += v;
    for (int rounds = 1; rounds <= 4; ++rounds) {
      const std::vector<double> after = row_losses(s, descended(s, rounds));
      last = 0;
      for (std::size_t r = 0; r < after.size(); ++r) {
        EXPECT_LE(after[r], before[r] * (1 + 1e-4)) << scheme.bits << " bits, row " << r;
        last += after[r];
      }
      before = after;
    }
    EXPECT_LT(last, 0.97 * first) << scheme.bits << " bits";
  }
}

// Where it comes to rest no code and no scale of its own can be better.
TEST(CoordinateDescent, EndsWhereNoSingleChangeHelps) {
  for (const Scheme& scheme : {Scheme{3, 16, true}, Scheme{2, 16, false}}) {
    Start s = started(8, 64, scheme);
    Quantized q = descended(s, 60);
    const std::vector<double> losses = row_losses(s, q);
    std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
    for (std::int64_t r = 0; r < q.rows; ++r) {
      for (std::int64_t c = 0; c < q.cols; ++c) {
        std::uint8_t& code = codes[r * q.cols + c];
        for (const int step : {-1, 1}) {
          if (code + step < 0 || code + step >= 1 << scheme.bits) continue;
          code = static_cast<std::uint8_t>(code + step);
          EXPECT_GT(row_losses(s, q)[static_cast<std::size_t>(r)],
                    losses[static_cast<std::size_t>(r)] * (1 - 1e-4));
          code = static_cast<std::uint8_t>(code - step);
        }
      }
      for (std::int64_t g = 0; g < q.scales.dim(1); ++g) {
        float& scale = q.scales.data<float>()[static_cast<std::size_t>(r * q.scales.dim(1) + g)];
        const float kept = scale;
        for (const float factor : {1 - 0x1p-10f, 1 + 0x1p-10f}) {  // a step of f16
          scale = kept * factor;
          EXPECT_GT(row_losses(s, q)[static_cast<std::size_t>(r)],
                    losses[static_cast<std::size_t>(r)] * (1 - 1e-4));
        }
        scale = kept;
      }
    }
  }
}

// One sweep over the codes, columns one after another, in double precision.
TEST(CoordinateDescent, SweepsAsThePlainLoopDoes) {
  const Scheme scheme{4, 64, true};
  const Start s = started(11, 320, scheme);
  const Quantized solved = descended(s, 1);
  // The same first step, scales for GPTQ's codes, and the last one are taken from the solver
  // itself: with them, the codes must be those of the plain loop.
  Quantized scales_only = s.q;
  {
    const std::int64_t lanes = 16;
    std::vector<float> w(320 * lanes), scales(5 * lanes, 1), zeros(5 * lanes, 8);
    std::vector<std::uint8_t> codes(320 * lanes);
    for (std::size_t r = 0; r < 11; ++r) {
      for (std::size_t c = 0; c < 320; ++c) {
        w[c * lanes + r] = s.w.data<float>()[r * 320 + c];
        codes[c * lanes + r] = s.q.codes.data<std::uint8_t>()[r * 320 + c];
      }
      for (std::size_t g = 0; g < 5; ++g)
        scales[g * lanes + r] = s.q.scales.data<float>()[r * 5 + g];
    }
    Tensor damped = s.inputs.damped;
    descend({.h = view_of(damped),
             .grid = grid_of(scheme, find_format("gptq_v2"), Search::weighted),
             .group_size = 64,
             .lanes = lanes,
             .w = w.data(),
             .codes = codes.data(),
             .scales = scales.data(),
             .zeros = zeros.data(),
             .rounds = 0});
    for (std::size_t r = 0; r < 11; ++r)
      for (std::size_t g = 0; g < 5; ++g)
        scales_only.scales.data<float>()[r * 5 + g] = scales[g * lanes + r];
  }
  const float* h = s.inputs.damped.data<float>().data();
  std::int64_t different = 0;
  for (std::int64_t r = 0; r < 11; ++r) {
    std::vector<double> lost(320);
    for (std::int64_t c = 0; c < 320; ++c)
      lost[static_cast<std::size_t>(c)] =
          double{s.w.data<float>()[static_cast<std::size_t>(r * 320 + c)]} -
          value(scales_only, r, c);
    for (std::int64_t c = 0; c < 320; ++c) {
      const double scale =
          scales_only.scales.data<float>()[static_cast<std::size_t>(r * 5 + c / 64)];
      double rest = 0;
      for (std::int64_t j = 0; j < 320; ++j)
        rest += h[c * 320 + j] * lost[static_cast<std::size_t>(j)];
      const double d = value(scales_only, r, c);
      const double code =
          std::clamp(std::nearbyint((d + rest / h[c * 321]) / scale) + 8, 0.0, 15.0);
      lost[static_cast<std::size_t>(c)] += d - (code - 8) * scale;
      different += code != solved.codes.data<std::uint8_t>()[static_cast<std::size_t>(r * 320 + c)];
    }
  }
  EXPECT_LE(different, 4);  // of 3520: ties
}

TEST(CoordinateDescent, SameBitsForAnyNumberOfThreads) {
  const Start s = started(70, 128, {3, 32, true});
  set_thread_count(1);
  const Quantized one = descended(s, 2);
  set_thread_count(3);
  const Quantized three = descended(s, 2);
  set_thread_count(2);
  EXPECT_TRUE(std::ranges::equal(one.codes.data<std::uint8_t>(), three.codes.data<std::uint8_t>()));
  EXPECT_TRUE(std::ranges::equal(one.scales.data<float>(), three.scales.data<float>()));
}

// Least squares: no other weight gives on x_q what w gives on x_f, but for the damping.
TEST(StreamTarget, IsTheLeastSquaresSolution) {
  const std::int64_t n = 48, tokens = 400;
  const Tensor w = golden_matrix(9, n, 20), exact = correlated(tokens, n, 21);
  Tensor seen({tokens, n}), difference({tokens, n});
  const Tensor noise = golden_matrix(tokens, n, 22);
  for (std::size_t i = 0; i < static_cast<std::size_t>(tokens * n); ++i) {
    const float change = 0.2f * noise.data<float>()[i] + 0.05f * exact.data<float>()[i];
    seen.data<float>()[i] = exact.data<float>()[i] - change;
    difference.data<float>()[i] = change;
  }
  Tensor h = gram_of(seen), cross({n, n});
  multiply(view_of(difference).transposed(), view_of(seen).transposed(), view_of(cross));
  const GptqSettings settings{.damp = 1e-6};
  const GptqInputs inputs = gptq_inputs(h, {4, 16, true}, settings);
  const auto loss_at = [&](const Tensor& candidate) {
    double sum = 0;
    for (std::int64_t r = 0; r < 9; ++r)
      for (std::int64_t t = 0; t < tokens; ++t) {
        double d = 0;
        for (std::int64_t c = 0; c < n; ++c) {
          const auto i = static_cast<std::size_t>(r * n + c),
                     j = static_cast<std::size_t>(t * n + c);
          d += double{w.data<float>()[i]} * exact.data<float>()[j] -
               double{candidate.data<float>()[i]} * seen.data<float>()[j];
        }
        sum += d * d;
      }
    return sum;
  };
  Tensor best = shifted_target(w, cross, inputs, 1);
  const double least = loss_at(best);
  EXPECT_LT(least, 0.95 * loss_at(w));
  EXPECT_LT(loss_at(shifted_target(w, cross, inputs, 0.5)), loss_at(w));
  for (const std::size_t i : {0, 100, 250, 431})
    for (const float step : {-0.01f, 0.01f}) {
      Tensor other = Tensor({9, n});
      std::ranges::copy(best.data<float>(), other.data<float>().begin());
      other.data<float>()[i] += step;
      EXPECT_GT(loss_at(other), least);
    }
  EXPECT_TRUE(std::ranges::equal(shifted_target(w, Tensor({n, n}), inputs, 1).data<float>(),
                                 w.data<float>()));
}

}  // namespace
}  // namespace quaver
