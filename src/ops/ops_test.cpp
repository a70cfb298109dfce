#include "ops/ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "guarded_backend.h"
#include "ops/score.h"

namespace quaver {
namespace {

Tensor random_tensor(Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Tensor t(shape);
  for (float& v : t.data<float>()) v = normal(random);
  return t;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const Tensor x = on_host(a), y = on_host(b);
  double largest = 0;
  for (std::int64_t i = 0; i < x.size(); ++i)
    largest = std::max(largest, std::abs(double{x.data<float>()[i]} - y.data<float>()[i]));
  return largest;
}

// Every op runs on each device: the CPU, and one whose memory the host cannot touch.
class Ops : public ::testing::TestWithParam<bool> {
 protected:
  Device device() const { return GetParam() ? guarded_device() : Device{}; }
  Tensor placed(const Tensor& t) const { return moved_to(t, device()); }
};
INSTANTIATE_TEST_SUITE_P(Devices, Ops, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "guarded" : "cpu"; });

TEST_P(Ops, LinearWithBias) {
  const Tensor x = random_tensor({5, 19}, 1), w = random_tensor({7, 19}, 2),
               bias = random_tensor({7}, 3);
  Tensor expected({5, 7});
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 7; ++j) {
      double sum = bias.data<float>()[j];
      for (int p = 0; p < 19; ++p)
        sum += double{x.data<float>()[i * 19 + p]} * w.data<float>()[j * 19 + p];
      expected.data<float>()[i * 7 + j] = static_cast<float>(sum);
    }
  const Tensor y = linear(placed(x), placed(w), placed(bias));
  EXPECT_EQ(y.device(), device());
  EXPECT_LT(largest_difference(y, expected), 1e-5);
  EXPECT_THROW(linear(placed(x), placed(random_tensor({7, 18}, 2))), Error);
  EXPECT_THROW(linear(placed(x), placed(w), placed(random_tensor({6}, 3))), Error);
}

TEST_P(Ops, Norms) {
  const Tensor x = random_tensor({3, 33}, 1), gain = random_tensor({33}, 2),
               bias = random_tensor({33}, 3);
  Tensor layer({3, 33}), rms({3, 33});
  for (int r = 0; r < 3; ++r) {
    const float* row = x.data<float>().data() + r * 33;
    double mean = 0, square = 0, variance = 0;
    for (int c = 0; c < 33; ++c) mean += row[c] / 33.0, square += double{row[c]} * row[c] / 33;
    for (int c = 0; c < 33; ++c) variance += (row[c] - mean) * (row[c] - mean) / 33;
    for (int c = 0; c < 33; ++c) {
      const double g = gain.data<float>()[c];
      layer.data<float>()[r * 33 + c] = static_cast<float>(
          (row[c] - mean) / std::sqrt(variance + 1e-5) * g + bias.data<float>()[c]);
      rms.data<float>()[r * 33 + c] = static_cast<float>(row[c] / std::sqrt(square + 1e-6) * g);
    }
  }
  EXPECT_LT(largest_difference(layer_norm(placed(x), placed(gain), placed(bias), 1e-5f), layer),
            1e-5);
  EXPECT_LT(largest_difference(rms_norm(placed(x), placed(gain), 1e-6f), rms), 1e-5);
  EXPECT_THROW(rms_norm(placed(x), placed(bias.rows(0, 32)), 1e-6f), Error);
}

TEST_P(Ops, GatherReadsHalfTablesAndChecksIndices) {
  Tensor table({4, 3}, DType::f16);
  for (int i = 0; i < 12; ++i) table.data<Half>()[i] = to_half(static_cast<float>(i) / 2);
  const std::int32_t index[] = {3, 0, 3};
  const Tensor y = on_host(gather(placed(table), Tensor::of<std::int32_t>(std::span(index), {3})));
  EXPECT_EQ(y.data<float>()[0], 4.5f);
  EXPECT_EQ(y.data<float>()[5], 1.0f);
  const std::int32_t outside[] = {4};
  EXPECT_THROW(gather(placed(table), Tensor::of<std::int32_t>(std::span(outside), {1})), Error);
  const std::int32_t negative[] = {-1};
  EXPECT_THROW(gather(placed(table), Tensor::of<std::int32_t>(std::span(negative), {1})), Error);
}

TEST_P(Ops, RopeRotatesPairs) {
  const Tensor x = random_tensor({2, 2 * 6}, 1);
  Tensor cos({2, 2}), sin({2, 2});
  for (int i = 0; i < 4; ++i) {
    cos.data<float>()[i] = static_cast<float>(std::cos(0.3 * i));
    sin.data<float>()[i] = static_cast<float>(std::sin(0.3 * i));
  }
  for (const bool interleaved : {false, true}) {
    Tensor expected = Tensor::of<float>(x.data<float>(), x.shape());
    for (int r = 0; r < 2; ++r)
      for (int h = 0; h < 2; ++h)
        for (int i = 0; i < 2; ++i) {
          const int at = r * 12 + h * 6;
          const int a = at + (interleaved ? 2 * i : i), b = interleaved ? a + 1 : a + 2;
          const double c = cos.data<float>()[r * 2 + i], s = sin.data<float>()[r * 2 + i];
          const double xa = x.data<float>()[a], xb = x.data<float>()[b];
          expected.data<float>()[a] = static_cast<float>(xa * c - xb * s);
          expected.data<float>()[b] = static_cast<float>(xb * c + xa * s);
        }
    const Tensor y = rope(placed(x), placed(cos), placed(sin), 6, interleaved);
    EXPECT_LT(largest_difference(y, expected), 1e-6);
  }
}

// 2 key heads for 4 heads, a mask with a hole, ALiBi positions that skip hidden keys.
TEST_P(Ops, AttentionAgainstPlainLoops) {
  const int rows = 3, keys = 7, heads = 4, kv = 2, dim = 5;
  const Tensor q = random_tensor({rows, heads * dim}, 1), k = random_tensor({keys, kv * dim}, 2),
               v = random_tensor({keys, kv * dim}, 3), slopes = random_tensor({heads}, 4);
  Tensor mask({keys}, DType::u8);
  for (int j = 0; j < keys; ++j) mask.data<std::uint8_t>()[j] = j != 0 && j != 3;
  Tensor expected({rows, heads * dim});
  for (int i = 0; i < rows; ++i)
    for (int h = 0; h < heads; ++h) {
      double score[keys], total = 0, position = 0;
      for (int j = 0; j <= keys - rows + i; ++j) {
        if (!mask.data<std::uint8_t>()[j]) continue;
        double dot = 0;
        for (int d = 0; d < dim; ++d)
          dot += double{q.data<float>()[i * heads * dim + h * dim + d]} *
                 k.data<float>()[j * kv * dim + h / 2 * dim + d];
        score[j] = std::exp(0.4 * dot + slopes.data<float>()[h] * position++);
        total += score[j];
      }
      for (int d = 0; d < dim; ++d) {
        double sum = 0;
        for (int j = 0; j <= keys - rows + i; ++j)
          if (mask.data<std::uint8_t>()[j])
            sum += score[j] * v.data<float>()[j * kv * dim + h / 2 * dim + d];
        expected.data<float>()[i * heads * dim + h * dim + d] = static_cast<float>(sum / total);
      }
    }
  Tensor y = empty_on(device(), {rows, heads * dim});
  attention(placed(q), placed(k), placed(v), mask, slopes, {},
            {.heads = heads, .kv_heads = kv, .head_dim = dim, .scale = 0.4f}, y);
  EXPECT_LT(largest_difference(y, expected), 1e-5);
  EXPECT_THROW(attention(placed(q), placed(k), placed(v), {}, {}, {},
                         {.heads = 4, .kv_heads = 3, .head_dim = dim}, y),
               Error);
}

// Keys and values of half the size give what their rounded values give in f32, for one row (dot
// products) and for many (tiles).
TEST_P(Ops, AttentionOverHalfTypes) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const int rows : {1, 3, 9}) {
      const int keys = 21, heads = 4, kv = 2, dim = 19;
      const Tensor q = random_tensor({rows, heads * dim}, 1);
      const Tensor k = converted(random_tensor({keys, kv * dim}, 2), type);
      const Tensor v = converted(random_tensor({keys, kv * dim}, 3), type);
      const AttentionShape shape{.heads = heads, .kv_heads = kv, .head_dim = dim, .scale = 0.4f};
      Tensor wide = empty_on(device(), {rows, heads * dim});
      Tensor half = empty_on(device(), {rows, heads * dim});
      attention(placed(q), placed(to_f32(k)), placed(to_f32(v)), {}, {}, {}, shape, wide);
      attention(placed(q), placed(k), placed(v), {}, {}, {}, shape, half);
      EXPECT_LT(largest_difference(half, on_host(wide)), 1e-6) << type << " " << rows;
      EXPECT_THROW(attention(placed(q), placed(k), placed(to_f32(v)), {}, {}, {}, shape, half),
                   Error);
    }
  }
}

TEST_P(Ops, ConvertedRoundsOnAnyDevice) {
  const Tensor x = random_tensor({3, 10}, 1);
  for (const DType type : {DType::f16, DType::bf16}) {
    const Tensor y = converted(placed(x), type);
    EXPECT_EQ(y.dtype(), type);
    EXPECT_EQ(y.device(), device());
    EXPECT_LT(largest_difference(to_f32(on_host(y)), x), type == DType::f16 ? 2e-3 : 2e-2);
    EXPECT_THROW(converted(y, DType::f32), Error);
  }
  EXPECT_EQ(converted(x, DType::f32).id(), x.id());
}

TEST_P(Ops, ElementWiseAndColumns) {
  const Tensor a = random_tensor({3, 10}, 1), b = random_tensor({3, 10}, 2);
  Tensor sum({3, 10}), gelu({3, 10}), silu({3, 10}), part({3, 4});
  for (int i = 0; i < 30; ++i) {
    const double x = a.data<float>()[i], g = b.data<float>()[i];
    sum.data<float>()[i] = static_cast<float>(x + g);
    gelu.data<float>()[i] = static_cast<float>(x / 2 * (1 + std::erf(x / std::sqrt(2.0))));
    silu.data<float>()[i] = static_cast<float>(x / (1 + std::exp(-x)) * g);
    if (i % 10 >= 5 && i % 10 < 9)
      part.data<float>()[i / 10 * 4 + i % 10 - 5] = static_cast<float>(x);
  }
  EXPECT_LT(largest_difference(placed(a) + placed(b), sum), 1e-6);
  EXPECT_LT(largest_difference(activation(placed(a), Activation::gelu), gelu), 2e-6);
  EXPECT_LT(largest_difference(gated(placed(a), Activation::silu, placed(b)), silu), 2e-6);
  EXPECT_EQ(largest_difference(columns(placed(a), 5, 4), part), 0);
  EXPECT_THROW(columns(placed(a), 8, 4), Error);

  Tensor wide = placed(random_tensor({6, 7}, 3));
  place_columns(placed(part), wide, 2, 2);
  const Tensor after = on_host(wide);
  for (int r = 0; r < 6; ++r)
    for (int c = 0; c < 7; ++c)
      EXPECT_EQ(after.data<float>()[r * 7 + c],
                c >= 2 && c < 6 ? part.data<float>()[r / 2 * 4 + c - 2]
                                : random_tensor({6, 7}, 3).data<float>()[r * 7 + c]);
  EXPECT_THROW(place_columns(placed(part), wide, 4, 2), Error);
  EXPECT_THROW(placed(a) + placed(part), Error);
}

TEST_P(Ops, MapAndScatter) {
  const Tensor x = random_tensor({3, 10}, 1);
  Tensor capped({3, 10});
  for (int i = 0; i < 30; ++i)
    capped.data<float>()[i] = 0.5f * std::tanh(x.data<float>()[i] / 0.5f);
  EXPECT_LT(largest_difference(map(placed(x), Map::soft_cap, 0.5f), capped), 1e-6);

  Tensor y = placed(random_tensor({6, 10}, 2)), expected = random_tensor({6, 10}, 2);
  Tensor index({3}, DType::i32), weight({3});
  for (int i = 0; i < 3; ++i) {
    index.data<std::int32_t>()[i] = 5 - 2 * i;
    weight.data<float>()[i] = 0.5f * static_cast<float>(i + 1);
    for (int c = 0; c < 10; ++c)
      expected.data<float>()[(5 - 2 * i) * 10 + c] +=
          weight.data<float>()[i] * x.data<float>()[i * 10 + c];
  }
  scatter_add(placed(x), index, weight, y);
  EXPECT_LT(largest_difference(y, expected), 1e-6);
  index.data<std::int32_t>()[1] = 6;
  EXPECT_THROW(scatter_add(placed(x), index, weight, y), Error);
}

TEST_P(Ops, CopyRowsStaysOnTheDevice) {
  Tensor to = placed(random_tensor({6, 3}, 1));
  const Tensor from = placed(random_tensor({2, 3}, 2));
  copy_rows(to, 3, from);
  EXPECT_EQ(largest_difference(to.rows(3, 5), from), 0);
  EXPECT_EQ(largest_difference(to.rows(0, 3), random_tensor({6, 3}, 1).rows(0, 3)), 0);
  EXPECT_THROW(copy_rows(to, 5, from), Error);
}

TEST(GuardedBackend, FaultsWhenTheHostLooks) {
  const Tensor t = moved_to(random_tensor({4}, 1), guarded_device());
  EXPECT_THROW(t.host(), Error);
  EXPECT_DEATH({ [[maybe_unused]] volatile float f = *static_cast<const float*>(t.base()); }, "");
}

TEST(AddGram, IsTheLowerTriangleOfXtX) {
  const Tensor x = random_tensor({37, 11}, 1);
  Tensor h({11, 11});
  add_gram(h, x);
  add_gram(h, x);
  for (int i = 0; i < 11; ++i)
    for (int j = 0; j <= i; ++j) {
      double sum = 0;
      for (int r = 0; r < 37; ++r)
        sum += 2.0 * x.data<float>()[r * 11 + i] * x.data<float>()[r * 11 + j];
      EXPECT_NEAR(h.data<float>()[i * 11 + j], sum, 1e-4);
    }
}

TEST(Score, NllAndKlAgainstPlainLoops) {
  const int rows = 5, vocab = 37;
  Tensor p = random_tensor({rows, vocab}, 1), q = random_tensor({rows, vocab}, 2);
  for (int v = 0; v < vocab; ++v) q.data<float>()[2 * vocab + v] = p.data<float>()[2 * vocab + v];
  std::vector<std::int32_t> targets = {0, 36, 7, 8, 9};
  std::vector<RowScore> scores(rows);
  score_rows(p, targets, scores);
  std::vector<double> kl(rows);
  std::vector<std::uint8_t> same(rows);
  kl_rows(p, q, kl, same);
  for (int r = 0; r < rows; ++r) {
    const float *a = p.data<float>().data() + r * vocab, *b = q.data<float>().data() + r * vocab;
    double sum_a = 0, sum_b = 0, expected = 0;
    for (int v = 0; v < vocab; ++v)
      sum_a += std::exp(double{a[v]}), sum_b += std::exp(double{b[v]});
    for (int v = 0; v < vocab; ++v)
      expected +=
          std::exp(double{a[v]}) / sum_a * (a[v] - std::log(sum_a) - b[v] + std::log(sum_b));
    EXPECT_NEAR(scores[r].nll, std::log(sum_a) - a[targets[r]], 1e-6);
    EXPECT_EQ(scores[r].argmax, std::max_element(a, a + vocab) - a);
    EXPECT_NEAR(kl[r], expected, 1e-6);
  }
  EXPECT_EQ(same[2], 1);
  EXPECT_LT(std::abs(kl[2]), 1e-9);
  targets[0] = 37;
  EXPECT_THROW(score_rows(p, targets, scores), Error);
}

}  // namespace
}  // namespace quaver
