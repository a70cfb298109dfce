// The mathematics of the methods: grids, factor, column loop, against plain double references and
// golden vectors of other programs (tests/data/vectors).
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "core/threads.h"
#include "quant/gptq.h"
#include "quant/grid.h"
#include "quant/matrices_test.h"
#include "quant/matrix.h"

namespace quaver {
namespace {

// No rounding of scales, any zero point: what the golden vectors were made with.
const Format exact_format{.name = "exact"};

const Json& vectors() {
  static const Json all =
      read_json_file(std::string(QUAVER_TEST_DATA) + "/vectors/algorithms.json");
  return all;
}

Quantized solve(const Tensor& w, const Tensor& h, const Scheme& scheme, const Format& format,
                const GptqSettings& settings) {
  const GptqInputs inputs = gptq_inputs(h, scheme, settings);
  EXPECT_EQ(inputs.factor.failure, "");
  return gptq_quantize(w, scheme, format, inputs, settings);
}

std::vector<std::int32_t> natural(std::int64_t n) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

constexpr GptqSettings plain_settings{.act_group_aware = false, .search = Search::none};

TEST(Rtn, GoldenVectors) {
  const Tensor w = golden_matrix(3, 40, 1);
  for (const int bits : {2, 3, 4, 8}) {
    const Json& golden = vectors()[text("rtn_asym_b", bits, "_g16_full0_W3x40seed1")];
    const Quantized q = round_to_nearest(w, {bits, 16, false}, exact_format);
    for (std::size_t i = 0; i < 120; ++i)
      EXPECT_EQ(int{q.codes.data<std::uint8_t>()[i]}, golden["q"][i].get<int>())
          << bits << " " << i;
    for (std::size_t i = 0; i < 9; ++i) {
      EXPECT_NEAR(q.scales.data<float>()[i], golden["scale"][i].get<double>(), 1e-6);
      EXPECT_EQ(q.zeros.data<float>()[i], golden["zp"][i].get<float>());
    }
  }
}

TEST(Rtn, SymmetricScaleCoversTheRangeWhateverTheSigns) {
  // All weights positive: other programs halve this scale.
  Tensor w = golden_matrix(8, 32, 3);
  for (float& v : w.data<float>()) v = std::abs(v) + 0.1f;
  const Quantized q = round_to_nearest(w, {4, -1, true}, exact_format);
  for (std::int64_t r = 0; r < 8; ++r) {
    float largest = 0;
    for (std::int64_t c = 0; c < 32; ++c) largest = std::max(largest, w.data<float>()[r * 32 + c]);
    EXPECT_FLOAT_EQ(q.scales.data<float>()[r], 2 * largest / 15);
  }
}

TEST(Grid, StoredScalesAreHalves) {
  for (const float size : {1e-9f, 3e-7f, 5e-6f, 6.1e-5f, 1e-3f, 0.7f, 12345.6f, 1e7f}) {
    for (const bool symmetric : {true, false})
      for (const bool search : {true, false}) {
        Tensor w = golden_matrix(8, 64, 5);
        for (float& v : w.data<float>()) v *= size;
        const Tensor columns = golden_matrix(64, 8, 6);
        Tensor scaled = columns;
        for (float& v : scaled.data<float>()) v *= size;
        std::array<float, lane_count> scale, zero;
        const Grid grid = grid_of({4, -1, symmetric}, find_format("gptq"),
                                  search ? Search::weighted : Search::none);
        choose_grid(grid, scaled.data<float>().data(), 8, 64, nullptr, scale.data(), zero.data());
        for (std::size_t l = 0; l < lane_count; ++l) {
          EXPECT_EQ(scale[l], to_float(to_half(scale[l]))) << size;
          EXPECT_NE(scale[l], 0) << size;
          EXPECT_TRUE(std::isfinite(scale[l]));
          EXPECT_GE(zero[l], 1);
          EXPECT_LE(zero[l], 15);
          EXPECT_EQ(zero[l], std::nearbyint(zero[l]));
        }
      }
  }
}

// v1 cannot store zero point 0: the scale must be solved again for zero point 1.
TEST(Grid, PositiveGroupsStayInRangeInV1) {
  Tensor w = golden_matrix(8, 64, 9);
  for (float& v : w.data<float>()) v = std::abs(v) + 0.5f;
  for (const Format* format : formats()) {
    const Tensor back = dequantized(round_to_nearest(w, {4, 32, false}, *format));
    for (std::int64_t i = 0; i < w.size(); ++i)
      EXPECT_NEAR(back.data<float>()[i], w.data<float>()[i], 1.5 / 14 / 2 + 1e-3) << format->name;
  }
}

TEST(Grid, SearchIsNeverWorseThanMinimumMaximum) {
  for (const bool symmetric : {true, false})
    for (const int bits : {2, 3, 4, 8}) {
      const Tensor w = golden_matrix(128, 8, 11), weight = golden_matrix(1, 128, 12);
      std::vector<float> importance;
      for (const float v : weight.data<float>()) importance.push_back(v * v);
      const auto error = [&](bool search) {
        std::array<float, lane_count> scale, zero;
        const Grid grid = grid_of({bits, -1, symmetric}, find_format("gptq_v2"),
                                  search ? Search::weighted : Search::none);
        choose_grid(grid, w.data<float>().data(), 8, 128, importance.data(), scale.data(),
                    zero.data());
        double sum = 0;
        for (std::int64_t k = 0; k < 128; ++k)
          for (std::size_t l = 0; l < lane_count; ++l) {
            const float v = w.data<float>()[k * 8 + static_cast<std::int64_t>(l)];
            const float level = nearest_level(v, 1 / scale[l], zero[l], grid.top);
            sum += importance[static_cast<std::size_t>(k)] * std::pow(v - level * scale[l], 2);
          }
        return sum;
      };
      EXPECT_LT(error(true), error(false)) << bits << symmetric;
    }
}

// U^T U (H + damp) must be the identity, in the given order.
TEST(Factor, InvertsTheHessian) {
  for (const std::int64_t n : {1, 2, 63, 128, 129, 300, 641}) {
    const Tensor h = gram_of(correlated(2 * n + 5, n, 20));
    std::vector<std::int32_t> order = natural(n);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    const InverseFactor f = inverse_factor(h, order, 0.01);
    ASSERT_EQ(f.failure, "");
    EXPECT_EQ(f.damp, 0.01);
    const float* u = f.upper.data<float>().data();
    double largest = 0;
    for (std::int64_t i = 0; i < n; i += std::max<std::int64_t>(1, n / 9)) {
      std::vector<double> v(static_cast<std::size_t>(n)), hv(v), uhv(v), back(v);
      v[static_cast<std::size_t>(i)] = 1;
      for (std::int64_t r = 0; r < n; ++r) {
        const std::int64_t p = order[static_cast<std::size_t>(r)],
                           q = order[static_cast<std::size_t>(i)];
        hv[static_cast<std::size_t>(r)] =
            r == i ? f.diagonal[static_cast<std::size_t>(r)]
                   : h.data<float>()[std::max(p, q) * n + std::min(p, q)];
      }
      for (std::int64_t r = 0; r < n; ++r)
        for (std::int64_t c = r; c < n; ++c)
          uhv[static_cast<std::size_t>(r)] += u[r * n + c] * hv[static_cast<std::size_t>(c)];
      for (std::int64_t r = 0; r < n; ++r)
        for (std::int64_t c = 0; c <= r; ++c)
          back[static_cast<std::size_t>(r)] += u[c * n + r] * uhv[static_cast<std::size_t>(c)];
      for (std::int64_t r = 0; r < n; ++r)
        largest = std::max(largest, std::abs(back[static_cast<std::size_t>(r)] - (r == i)));
    }
    EXPECT_LT(largest, 2e-3) << n;
    for (std::int64_t r = 1; r < n; ++r) EXPECT_EQ(u[r * n], 0);
  }
}

TEST(Factor, SurvivesRankDeficiencyDeadColumnsAndOutliers) {
  Tensor x = correlated(20, 160, 31);  // 20 tokens for 160 inputs
  for (std::int64_t r = 0; r < 20; ++r) {
    x.data<float>()[r * 160 + 17] = 0;
    x.data<float>()[r * 160 + 3] *= 1e6f;
  }
  const InverseFactor f = inverse_factor(gram_of(x), natural(160), 0.01);
  EXPECT_EQ(f.failure, "");
  EXPECT_EQ(f.dead, 1);
  for (const float v : f.upper.data<float>()) ASSERT_TRUE(std::isfinite(v));

  const InverseFactor none = inverse_factor(Tensor({32, 32}), natural(32), 0.01);
  EXPECT_EQ(none.failure, "");
  EXPECT_EQ(none.dead, 32);
}

TEST(Factor, RaisesTheDampingAndThenGivesUpWithAReason) {
  Tensor h({2, 2});  // indefinite until damp reaches about 0.5
  h.data<float>()[0] = h.data<float>()[3] = 1;
  h.data<float>()[2] = 1.2f;
  const InverseFactor raised = inverse_factor(h, natural(2), 0.01);
  EXPECT_EQ(raised.failure, "");
  EXPECT_EQ(raised.damp, 1);
  h.data<float>()[2] = 5;
  EXPECT_NE(inverse_factor(h, natural(2), 0.01).failure, "");
  h.data<float>()[2] = NAN;
  EXPECT_NE(inverse_factor(h, natural(2), 0.01).failure, "");
}

struct Golden {
  Tensor w = golden_matrix(6, 64, 10), x;
  Tensor h;
  Golden() {
    Tensor mix = golden_matrix(64, 64, 11);
    for (std::int64_t i = 0; i < 64; ++i)
      for (std::int64_t j = 0; j < 64; ++j)
        mix.data<float>()[i * 64 + j] = 0.35f * mix.data<float>()[i * 64 + j] + (i == j ? 1.0f : 0);
    x = product(golden_matrix(256, 64, 12), mix);
    h = gram_of(x);
  }
};

void expect_row(const Quantized& q, const Json& golden, std::int64_t begin, std::int64_t end,
                std::size_t group) {
  const Tensor values = dequantized(q);
  for (std::int64_t c = begin; c < end; ++c)
    EXPECT_NEAR(values.data<float>()[c],
                golden["Q_row0"][static_cast<std::size_t>(c)].get<double>(), 1e-6)
        << c;
  EXPECT_NEAR(q.scales.data<float>()[group], golden["scale_row0"][group].get<double>(), 1e-6);
  EXPECT_EQ(q.zeros.data<float>()[group], golden["zero_row0"][group].get<float>());
}

TEST(Gptq, GoldenWholeRow) {
  const Golden g;
  const Json& golden = vectors()["gptq_asym_b3_g-1_W6x64seed10"];
  const Quantized q = solve(g.w, g.h, {3, -1, false}, exact_format, plain_settings);
  expect_row(q, golden, 0, 64, 0);
  EXPECT_NEAR(loss(g.w, g.h, q) / (256 * 6), golden["out_mse"].get<double>(), 1e-5);
}

// The golden vectors take the second group's grid from weights that are not yet compensated, so
// only the group that is processed first must agree; the whole must not be much worse.
TEST(Gptq, GoldenFirstGroup) {
  const Golden g;
  struct Case {
    const char* name;
    bool symmetric, group_aware;
    std::size_t first;
  };
  for (const Case& c : {Case{"gptq_sym_b4_g32_W6x64seed10", true, false, 0},
                        Case{"gptq_asym_b4_g32_W6x64seed10", false, false, 0},
                        Case{"gptq_sym_b4_g32_hybrid_W6x64seed10", true, true, 1}}) {
    SCOPED_TRACE(c.name);
    GptqSettings settings = plain_settings;
    settings.act_group_aware = c.group_aware;
    const Quantized q = solve(g.w, g.h, {4, 32, c.symmetric}, exact_format, settings);
    const auto begin = static_cast<std::int64_t>(c.first) * 32;
    expect_row(q, vectors()[c.name], begin, begin + 32, c.first);
    EXPECT_LT(loss(g.w, g.h, q) / (256 * 6), 1.1 * vectors()[c.name]["out_mse"].get<double>());
  }
  const auto order = column_order(g.h, {4, 32, true}, {});
  EXPECT_EQ(std::vector<std::int32_t>(order.begin(), order.begin() + 8),
            (std::vector<std::int32_t>{56, 61, 35, 34, 41, 42, 48, 37}));
}

TEST(Gptq, GoldenActOrder) {
  const Golden g;
  const Json& golden = vectors()["gptq_sym_b4_g32_actorder_W6x64seed10"];
  GptqSettings settings = plain_settings;
  settings.desc_act = true;
  const auto order = column_order(g.h, {4, 32, true}, settings);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(order[i], golden["perm_first8"][i].get<int>());
  const Quantized q = solve(g.w, g.h, {4, 32, true}, exact_format, settings);
  const Tensor values = dequantized(q);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(q.group_index.data<std::int32_t>()[static_cast<std::size_t>(order[i])], 0);
    EXPECT_NEAR(values.data<float>()[static_cast<std::size_t>(order[i])],
                golden["Q_row0"][static_cast<std::size_t>(order[i])].get<double>(), 1e-6);
  }
  EXPECT_LT(loss(g.w, g.h, q) / (256 * 6), 1.1 * golden["out_mse"].get<double>());
}

// All of them, whole: grids from weights that lack the current block's errors, as the original has.
TEST(Gptq, GoldenAsTheOriginalComputes) {
  const Golden g;
  struct Case {
    const char* name;
    bool symmetric, group_aware, desc_act;
    Search search;
  };
  for (const Case& c :
       {Case{"gptq_sym_b4_g32_W6x64seed10", true, false, false, Search::none},
        Case{"gptq_asym_b4_g32_W6x64seed10", false, false, false, Search::none},
        Case{"gptq_sym_b4_g32_hybrid_W6x64seed10", true, true, false, Search::none},
        Case{"gptq_sym_b4_g32_actorder_W6x64seed10", true, false, true, Search::none},
        Case{"gptq_sym_b4_g32_mse_W6x64seed10", true, false, false, Search::mse}}) {
    SCOPED_TRACE(c.name);
    GptqSettings settings = plain_settings;
    settings.act_group_aware = c.group_aware;
    settings.desc_act = c.desc_act;
    settings.search = c.search;
    settings.as_autogptq = true;
    const Quantized q = solve(g.w, g.h, {4, 32, c.symmetric}, exact_format, settings);
    const Json& golden = vectors()[c.name];
    for (const std::size_t group : {0, 1}) expect_row(q, golden, 0, 64, group);
    EXPECT_NEAR(loss(g.w, g.h, q) / (256 * 6), golden["out_mse"].get<double>(), 1e-5);
  }
}

// Its faults: half a range for a group without negative weights, and dead columns that weigh 1.
TEST(Gptq, KnownFaultsOfAutoGptq) {
  Tensor w({8, 32}), h({32, 32});
  for (std::int64_t i = 0; i < 8 * 32; ++i)
    w.data<float>()[i] = 0.1f + 0.9f * static_cast<float>(i % 31) / 31;
  for (std::int64_t i = 0; i < 32; ++i) h.data<float>()[i * 33] = i == 5 ? 0 : 2;
  GptqSettings settings = plain_settings;
  const auto scale_of = [&] {
    return solve(w, h, {4, 32, true}, exact_format, settings).scales.data<float>()[0];
  };
  const float whole = scale_of();
  settings.as_autogptq = true;
  EXPECT_FLOAT_EQ(scale_of(), whole / 2);

  const InverseFactor f = inverse_factor(h, natural(32), 0.01, 1.0);
  EXPECT_FLOAT_EQ(f.diagonal[5], 1 + 0.01f * (31 * 2 + 1) / 32);
  EXPECT_FLOAT_EQ(f.diagonal[6], 2 + 0.01f * (31 * 2 + 1) / 32);
  Linear linear{.outputs = 8, .inputs = 32, .weight = w};
  BlockJob job{.sites = {{"a", &linear, {4, 32, true}}},
               .format = &find_format("gptq"),
               .hessian = h,
               .tokens = 64,
               .sequences = 2,
               .done = [](const Site&, const SiteReport&) {}};
  gptq.make({{"compat", "autogptq"}, {"act_group_aware", false}, {"scale_search", "none"}})
      ->run(job);
  const Tensor values = dequantized(linear.weight);
  for (std::int64_t r = 0; r < 8; ++r) {
    EXPECT_EQ(values.data<float>()[r * 32 + 5], 0);
    EXPECT_GT(w.data<float>()[r * 32 + 5], 0);  // the model's own weight is left alone
  }
}

// Scales of the weights as they were, whatever the order of the columns; and the codes that follow.
TEST(Gptq, StaticGroupsAreThePlainLoop) {
  const Tensor w = golden_matrix(9, 160, 60), h = gram_of(correlated(500, 160, 61));
  for (const bool desc_act : {false, true}) {
    GptqSettings settings = plain_settings;
    settings.static_groups = true;
    settings.desc_act = desc_act;
    const GptqInputs inputs = gptq_inputs(h, {4, 32, false}, settings);
    const Quantized q = gptq_quantize(w, {4, 32, false}, exact_format, inputs, settings);
    EXPECT_FALSE(q.group_index);  // the file stays sequential
    std::int64_t different = 0;
    for (std::size_t r = 0; r < 9; ++r) {
      std::vector<double> v(w.data<float>().begin() + static_cast<std::ptrdiff_t>(r * 160),
                            w.data<float>().begin() + static_cast<std::ptrdiff_t>(r * 160 + 160));
      std::vector<double> low(5), high(5), scales(5), zeros(5);
      for (std::size_t c = 0; c < 160; ++c) {
        low[c / 32] = std::min(low[c / 32], v[c]);
        high[c / 32] = std::max(high[c / 32], v[c]);
      }
      for (std::size_t g = 0; g < 5; ++g) {
        scales[g] = (high[g] - low[g]) / 15;
        zeros[g] = std::nearbyint(-low[g] / scales[g]);
        EXPECT_NEAR(q.scales.data<float>()[r * 5 + g], scales[g], 1e-6);
        EXPECT_EQ(q.zeros.data<float>()[r * 5 + g], zeros[g]);
      }
      for (std::size_t k = 0; k < 160; ++k) {
        const auto c = static_cast<std::size_t>(inputs.order[k]);
        const double scale = scales[c / 32], zero = zeros[c / 32];
        const double code = std::clamp(std::nearbyint(v[c] / scale) + zero, 0.0, 15.0);
        different += code != q.codes.data<std::uint8_t>()[r * 160 + c];
        const float* u = inputs.factor.upper.data<float>().data() + k * 160;
        const double e = (v[c] - scale * (code - zero)) / u[k];
        for (std::size_t j = k; j < 160; ++j)
          v[static_cast<std::size_t>(inputs.order[j])] -= e * u[j];
      }
    }
    EXPECT_LT(different, 9 * 160 / 50);
    settings.coordinate_descent = 2;
    const GptqInputs more = gptq_inputs(h, {4, 32, false}, settings);
    EXPECT_LT(loss(w, h, gptq_quantize(w, {4, 32, false}, exact_format, more, settings)),
              loss(w, h, q));
  }
}

TEST(Gptq, TellsTheLossOfItsWalk) {
  const Tensor w = golden_matrix(21, 64, 3), h = gram_of(correlated(200, 64, 4));
  const Format& format = find_format("gptq");
  for (const bool statics : {false, true})
    for (const bool desc_act : {false, true}) {
      const Scheme scheme{3, 32, false};
      const GptqSettings settings{
          .desc_act = desc_act, .act_group_aware = !desc_act, .static_groups = statics};
      const GptqInputs inputs = gptq_inputs(h, scheme, settings);
      double told = 0;
      const Quantized q = gptq_quantize(w, scheme, format, inputs, settings, &told);
      Tensor damped = Tensor::of<float>(h.data<float>(), h.shape());
      for (std::size_t k = 0; k < 64; ++k)
        damped.data<float>()[static_cast<std::size_t>(inputs.order[k]) * 65] =
            inputs.factor.diagonal[k];
      const double expected = loss(w, damped, q);
      EXPECT_NEAR(told, expected, 1e-4 * expected) << statics << desc_act;
    }
}

TEST(Gptq, DiagonalHessianGivesRoundToNearest) {
  const Tensor w = golden_matrix(40, 96, 40);
  Tensor h({96, 96});
  for (std::int64_t i = 0; i < 96; ++i) h.data<float>()[i * 97] = 1 + static_cast<float>(i % 13);
  for (const GptqSettings& settings :
       {plain_settings, GptqSettings{.search = Search::none},
        GptqSettings{.act_group_aware = false, .search = Search::none}}) {
    const Quantized a = solve(w, h, {4, 32, true}, find_format("gptq"), settings);
    const Quantized b = round_to_nearest(w, {4, 32, true}, find_format("gptq"));
    for (std::int64_t i = 0; i < w.size(); ++i)
      EXPECT_EQ(int{a.codes.data<std::uint8_t>()[i]}, int{b.codes.data<std::uint8_t>()[i]});
  }
}

TEST(Gptq, BeatsRoundToNearestOnCorrelatedInputs) {
  for (const int bits : {2, 3, 4, 8})
    for (const std::int64_t group : {-1, 32, 64, 128, 192})
      for (const bool symmetric : {true, false})
        for (const bool desc_act : {false, true}) {
          double ours = 0, baseline = 0;
          for (const std::uint32_t seed : {50u}) {
            const Tensor w = golden_matrix(32, 384, seed);
            const Tensor h = gram_of(correlated(500, 384, seed + 1));
            const Scheme scheme{bits, group, symmetric};
            const Format& format = find_format("gptq");
            ours += loss(
                w, h,
                solve(w, h, scheme, format, {.desc_act = desc_act, .act_group_aware = !desc_act}));
            baseline += loss(w, h, round_to_nearest(w, scheme, format));
          }
          EXPECT_LT(ours, 0.8 * baseline) << bits << " g" << group << symmetric << desc_act;
        }
}

// Blocks, sub-blocks and lanes are only an order of work: the plain loop of the paper agrees.
TEST(Gptq, EqualsThePlainLoop) {
  const Tensor w = golden_matrix(19, 320, 80), h = gram_of(correlated(700, 320, 81));
  for (const std::int64_t group : {-1, 32, 160}) {
    const GptqInputs inputs = gptq_inputs(h, {4, group, true}, plain_settings);
    const InverseFactor& f = inputs.factor;
    const Quantized q = gptq_quantize(w, {4, group, true}, exact_format, inputs, plain_settings);
    const std::int64_t size = group == -1 ? 320 : group;
    std::int64_t different = 0;
    for (std::int64_t r = 0; r < 19; ++r) {
      std::vector<double> v(w.data<float>().begin() + r * 320,
                            w.data<float>().begin() + r * 320 + 320);
      double scale = 0;
      for (std::size_t k = 0; k < 320; ++k) {
        if (static_cast<std::int64_t>(k) % size == 0) {
          double reach = 0;
          for (std::size_t c = k; c < k + static_cast<std::size_t>(size); ++c)
            reach = std::max(reach, std::abs(v[c]));
          scale = 2 * reach / 15;
        }
        const double code = std::clamp(std::nearbyint(v[k] / scale) + 8, 0.0, 15.0);
        different += code != q.codes.data<std::uint8_t>()[r * 320 + static_cast<std::int64_t>(k)];
        const float* u = f.upper.data<float>().data() + k * 320;
        const double e = (v[k] - scale * (code - 8)) / u[k];
        for (std::size_t j = k; j < 320; ++j) v[j] -= e * u[j];
      }
    }
    // A code at a tie may fall either way in single precision, and then drags others with it.
    EXPECT_LT(different, 19 * 320 / 50) << group;
  }
}

struct Odd {
  const char* name;
  void (*spoil)(Tensor& w, Tensor& x);
};

const std::vector<Odd> odds = {
    {"plain", [](Tensor&, Tensor&) {}},
    {"zero column of weights",
     [](Tensor& w, Tensor&) {
       for (std::int64_t r = 0; r < w.dim(0); ++r) w.data<float>()[r * w.dim(1) + 5] = 0;
     }},
    {"zero weights", [](Tensor& w, Tensor&) { std::ranges::fill(w.data<float>(), 0.0f); }},
    {"one outlier", [](Tensor& w, Tensor&) { w.data<float>()[77] = 1000; }},
    {"dead input",
     [](Tensor&, Tensor& x) {
       for (std::int64_t r = 0; r < x.dim(0); ++r) x.data<float>()[r * x.dim(1) + 9] = 0;
     }},
    {"inputs all zero", [](Tensor&, Tensor& x) { std::ranges::fill(x.data<float>(), 0.0f); }},
    {"outlier input",
     [](Tensor&, Tensor& x) {
       for (std::int64_t r = 0; r < x.dim(0); ++r) x.data<float>()[r * x.dim(1) + 9] *= 1e5f;
     }},
    {"an input that is not a number", [](Tensor&, Tensor& x) { x.data<float>()[3] = NAN; }},
};

// Every method: better than rounding, finite on odd data, the same bits for any number of threads.
TEST(Methods, TableOfOddInputs) {
  for (const Method* method : methods())
    for (const Odd& odd : odds) {
      SCOPED_TRACE(text(method->name, ", ", odd.name));
      Tensor w = golden_matrix(208, 128, 90), x = correlated(300, 128, 91);
      odd.spoil(w, x);
      const auto run = [&](int threads) {
        set_thread_count(threads);
        Linear a{.outputs = 208, .inputs = 128, .weight = w}, b = a;
        BlockJob job{.sites = {{"a", &a, {4, 32, true}}, {"b", &b, {2, 64, false}}},
                     .format = &find_format("gptq")};
        if (method->needs.hessian) job.hessian = gram_of(x);
        int reports = 0;
        job.done = [&](const Site& site, const SiteReport& report) {
          EXPECT_EQ(report.name, reports++ == 0 ? "a" : "b");
          EXPECT_TRUE(std::holds_alternative<Packed>(site.linear->weight));
          EXPECT_TRUE(std::isfinite(report.error));
        };
        method->make(Json::object())->run(job);
        EXPECT_EQ(reports, 2);
        return std::pair(std::get<Packed>(a.weight), std::get<Packed>(b.weight));
      };
      const auto [a1, b1] = run(1);
      const auto [a2, b2] = run(3);
      set_thread_count(2);
      for (const auto& [one, two] : {std::pair(a1, a2), std::pair(b1, b2)})
        for (const auto& [name, part] : one.parts) {
          EXPECT_EQ(std::memcmp(part.host(), two.parts.at(name).host(), part.bytes()), 0) << name;
        }
      const Tensor values = dequantized(a1.format->unpack(a1, 0, 208));
      for (const float v : values.data<float>()) ASSERT_TRUE(std::isfinite(v));
      if (std::string_view(odd.name) == "plain" && method->needs.hessian) {
        EXPECT_LT(loss(w, gram_of(x), a1.format->unpack(a1, 0, 208)),
                  0.8 * loss(w, gram_of(x), round_to_nearest(w, {4, 32, true}, *a1.format)));
      }
      // What no input reaches keeps its rounded weight.
      if (std::string_view(odd.name) == "dead input") {
        EXPECT_LT(relative_error(w, values), 0.05);
      }
    }
}

TEST(Methods, NonFiniteInputsFallBackAndSaySo) {
  Tensor x = correlated(50, 64, 95);
  x.data<float>()[3] = NAN;
  Linear a{.outputs = 32, .inputs = 64, .weight = golden_matrix(32, 64, 96)};
  BlockJob job{
      .sites = {{"a", &a, {4, 32, true}}}, .format = &find_format("gptq"), .hessian = gram_of(x)};
  SiteReport seen;
  job.done = [&](const Site&, const SiteReport& report) { seen = report; };
  gptq.make(Json::object())->run(job);
  EXPECT_EQ(seen.method, "rtn");
  EXPECT_NE(seen.fallback, "");
}

TEST(Methods, UnknownNameListsTheKnown) {
  try {
    find_method("gptp");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault, Fault::bad_argument);
    EXPECT_NE(std::string(e.what()).find("rtn, gptq"), std::string::npos);
  }
}

}  // namespace
}  // namespace quaver
