#include "nn/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace quaver {
namespace {

Tensor random_tensor(Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Tensor t(shape);
  for (float& v : t.data<float>()) v = normal(random);
  return t;
}

Tensor positions(std::int64_t from, std::int64_t count) {
  Tensor t({count}, DType::i32);
  for (std::int64_t i = 0; i < count; ++i)
    t.data<std::int32_t>()[i] = static_cast<std::int32_t>(from + i);
  return t;
}

TEST(AlibiSlopes, PowersOfTwoAndBetween) {
  const Tensor eight = alibi_slopes(8);
  for (int h = 0; h < 8; ++h) EXPECT_FLOAT_EQ(eight.data<float>()[h], std::exp2f(-(h + 1.0f)));
  // Twelve heads: those of eight, then every other one of sixteen.
  const Tensor twelve = alibi_slopes(12);
  for (int h = 0; h < 8; ++h) EXPECT_EQ(twelve.data<float>()[h], eight.data<float>()[h]);
  for (int h = 0; h < 4; ++h)
    EXPECT_FLOAT_EQ(twelve.data<float>()[8 + h], std::exp2f(-0.5f * (2 * h + 1)));
}

TEST(SplitHeads, UndoesTheInterleaving) {
  const Tensor x = random_tensor({2, 3 * 3 * 4}, 1);
  const Qkv s = split_heads(x, 3, 4);
  for (int r = 0; r < 2; ++r)
    for (int h = 0; h < 3; ++h)
      for (int d = 0; d < 4; ++d) {
        const float* head = x.data<float>().data() + r * 36 + h * 12;
        EXPECT_EQ(s.q.data<float>()[r * 12 + h * 4 + d], head[d]);
        EXPECT_EQ(s.k.data<float>()[r * 12 + h * 4 + d], head[4 + d]);
        EXPECT_EQ(s.v.data<float>()[r * 12 + h * 4 + d], head[8 + d]);
      }
  EXPECT_THROW(split_heads(x, 4, 4), Error);
}

// Token by token through a cache, and two sequences side by side, equal one pass over each.
TEST(SelfAttention, CacheAndBatchEqualOnePass) {
  const SelfAttention attention{.shape = {.heads = 4, .kv_heads = 2, .head_dim = 8, .scale = 0.35f},
                                .rope = Rope(8, 1e4)};
  const Tensor q = random_tensor({9, 32}, 1), k = random_tensor({9, 16}, 2),
               v = random_tensor({9, 16}, 3);
  Step whole{.sequences = {{.rows = 9}}, .positions = positions(0, 9)};
  const Tensor expected = attention(q, k, v, whole);

  KvCache cache;
  cache.layers.resize(1);
  std::int64_t at = 0;
  for (const std::int64_t rows : {4, 1, 1, 3}) {
    Step step{.sequences = {{.rows = rows, .cache = &cache}}, .positions = positions(at, rows)};
    const Tensor y =
        attention(q.rows(at, at + rows), k.rows(at, at + rows), v.rows(at, at + rows), step);
    for (std::int64_t i = 0; i < y.size(); ++i)
      EXPECT_NEAR(y.data<float>()[i], expected.data<float>()[at * 32 + i], 2e-6);
    at += rows;
    cache.length += rows;
  }

  Step both{.sequences = {{.rows = 5}, {.rows = 4}}, .positions = positions(0, 9)};
  const Tensor y = attention(q, k, v, both);
  Step second{.sequences = {{.rows = 4}}, .positions = positions(5, 4)};
  const Tensor alone = attention(q.rows(5, 9), k.rows(5, 9), v.rows(5, 9), second);
  for (std::int64_t i = 0; i < 5 * 32; ++i)
    EXPECT_NEAR(y.data<float>()[i], expected.data<float>()[i], 2e-6);
  for (std::int64_t i = 0; i < alone.size(); ++i)
    EXPECT_NEAR(y.data<float>()[5 * 32 + i], alone.data<float>()[i], 2e-6);

  Step wrong{.sequences = {{.rows = 5}}, .positions = positions(0, 9)};
  EXPECT_THROW(attention(q, k, v, wrong), Error);
}

// Qwen: the base grows by the doublings of the trained length that the prompt takes.
TEST(Rope, FollowsThePrompt) {
  const Rope rope(8, 10000, false, {.kind = RopeScaling::Kind::prompt, .original_positions = 16});
  for (const auto& [length, alpha] :
       {std::pair{1, 1.0}, {16, 1.0}, {17, 3.0}, {32, 3.0}, {33, 7.0}, {64, 7.0}}) {
    const double theta = 10000 * std::pow(alpha, 8.0 / 6);
    for (int i = 0; i < 4; ++i)
      EXPECT_NEAR(rope.inverse_frequencies(length).data<float>()[i], std::pow(theta, -i / 4.0),
                  1e-6)
          << length;
  }
}

// Sequences side by side are rotated as each is alone: by the prompt it began with, by the tokens
// it shows where that is not known, and in the other scalings by its own length.
TEST(Rope, EachSequenceHasItsOwnLength) {
  KvCache cache{.prompt = 40};
  Tensor mask({20}, DType::u8);
  std::fill_n(mask.data<std::uint8_t>().begin() + 5, 15, std::uint8_t{1});
  for (const auto kind : {RopeScaling::Kind::prompt, RopeScaling::Kind::dynamic}) {
    const Rope rope(8, 10000, false, {.kind = kind, .factor = 2, .original_positions = 16});
    Step both{.sequences = {{.rows = 1, .cache = &cache}, {.rows = 20, .mask = mask}},
              .positions = Tensor({21}, DType::i32)};
    both.positions.data<std::int32_t>()[0] = 50;
    std::ranges::copy(positions(0, 20).data<std::int32_t>(),
                      both.positions.data<std::int32_t>().begin() + 1);
    const RopeTables& tables = rope.tables(both);
    const bool by_prompt = kind == RopeScaling::Kind::prompt;
    const Tensor one = rope.inverse_frequencies(by_prompt ? 40 : 51),
                 two = rope.inverse_frequencies(by_prompt ? 15 : 20);
    for (int i = 0; i < 4; ++i) {
      EXPECT_NEAR(tables.sin.data<float>()[i], std::sin(50 * one.data<float>()[i]), 1e-5);
      EXPECT_NEAR(tables.sin.data<float>()[20 * 4 + i], std::sin(19 * two.data<float>()[i]), 1e-5);
    }
  }
}

TEST(SelfAttention, LogNScalesQueriesBeyondTheTrainedLength) {
  const AttentionShape shape{.heads = 2, .kv_heads = 2, .head_dim = 4, .scale = 0.5f};
  const SelfAttention plain{.shape = shape}, grown{.shape = shape, .log_n = 5};
  Tensor q = random_tensor({8, 8}, 4);
  const Tensor k = random_tensor({8, 8}, 5), v = random_tensor({8, 8}, 6);
  Step step{.sequences = {{.rows = 8}}, .positions = positions(0, 8)};
  const Tensor y = grown(q, k, v, step);
  for (int r = 5; r < 8; ++r)
    for (int c = 0; c < 8; ++c)
      q.data<float>()[r * 8 + c] *= static_cast<float>(std::log(r + 1) / std::log(5));
  const Tensor expected = plain(q, k, v, step);
  for (std::int64_t i = 0; i < y.size(); ++i)
    EXPECT_NEAR(y.data<float>()[i], expected.data<float>()[i], 1e-6);
}

TEST(Rope, FrequenciesAndTables) {
  const Rope rope(8, 10000);
  for (int i = 0; i < 4; ++i)
    EXPECT_NEAR(rope.inverse_frequencies().data<float>()[i], std::pow(10000.0, -i / 4.0), 1e-7);
  Step step{.positions = positions(100, 2)};
  const RopeTables& tables = rope.tables(step);
  EXPECT_NEAR(tables.cos.data<float>()[4], std::cos(101.0), 1e-5);
  // Equal frequencies of another block share the tables.
  EXPECT_TRUE(Rope(8, 10000).tables(step).cos.id() == tables.cos.id());
}

}  // namespace
}  // namespace quaver
