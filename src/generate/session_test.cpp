#include "generate/session.h"

#include "generate/fixture_test.h"
#include "ops/ops.h"

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;

// The logits after the last token, without any cache.
std::vector<float> uncached(Decoder& decoder, const Ids& ids) {
  Step step;
  const auto rows = static_cast<std::int64_t>(ids.size());
  step.positions = Tensor::raw({rows}, DType::i32);
  for (std::int64_t i = 0; i < rows; ++i)
    step.positions.data<std::int32_t>()[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i);
  step.sequences.push_back({.rows = rows});
  const Tensor normed = decoder.forward(Tensor::of<std::int32_t>(ids, {rows}), step);
  const Tensor logits = decoder.logits(normed.rows(rows - 1, rows), step);
  const auto values = logits.data<float>();
  return {values.begin(), values.end()};
}

std::vector<float> row(const Tensor& logits, std::int64_t i) {
  const Tensor one = logits.rows(i, i + 1);
  const auto values = one.data<float>();
  return {values.begin(), values.end()};
}

class Sessions : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, Sessions, ::testing::ValuesIn(families));

TEST_P(Sessions, a_cache_changes_nothing) {
  const auto decoder = fixture_decoder(GetParam());
  if (rotation_follows_length(*decoder)) GTEST_SKIP();
  const Ids ids = golden_prompts(GetParam()).front();
  Session one_by_one(*decoder), by_five(*decoder);
  Tensor a, b;
  for (std::size_t i = 0; i < ids.size(); ++i) a = one_by_one.feed({ids[i]});
  for (std::size_t i = 0; i < ids.size(); i += 5)
    b = by_five.feed(Ids(ids.begin() + static_cast<long>(i),
                         ids.begin() + static_cast<long>(std::min(i + 5, ids.size()))));
  const std::vector<float> expected = uncached(*decoder, ids);
  EXPECT_LT(relative_difference(row(a, 0), expected), 1e-5);
  EXPECT_LT(relative_difference(row(b, 0), expected), 1e-5);
  EXPECT_EQ(one_by_one.position(), static_cast<std::int64_t>(ids.size()));
}

TEST_P(Sessions, sequences_do_not_see_each_other) {
  const auto decoder = fixture_decoder(GetParam());
  const auto prompts = golden_prompts(GetParam());
  Session session(*decoder, 3);
  Tensor logits = session.feed(std::vector<Ids>{prompts[0], {}, prompts[1]});
  ASSERT_EQ(logits.dim(0), 2);
  EXPECT_LT(relative_difference(row(logits, 0), uncached(*decoder, prompts[0])), 1e-5);
  EXPECT_LT(relative_difference(row(logits, 1), uncached(*decoder, prompts[1])), 1e-5);
  logits = session.feed(std::vector<Ids>{{}, {5}, {7, 9}});
  Session alone(*decoder);
  alone.feed(prompts[1]);
  const Tensor longer = alone.feed({7, 9});
  EXPECT_LT(relative_difference(row(logits, 0), uncached(*decoder, {5})), 1e-5);
  EXPECT_LT(relative_difference(row(logits, 1), row(longer, 0)), 1e-5);
  EXPECT_EQ(session.position(0), static_cast<std::int64_t>(prompts[0].size()));
}

TEST_P(Sessions, rewind_forgets) {
  const auto decoder = fixture_decoder(GetParam());
  Session session(*decoder), fresh(*decoder);
  session.feed({5, 6, 7, 8, 9});
  session.rewind(2);
  EXPECT_EQ(session.position(), 2);
  const Tensor again = session.feed({11, 12}), expected = fresh.feed({5, 6, 11, 12});
  EXPECT_LT(relative_difference(row(again, 0), row(expected, 0)), 1e-5);
  session.rewind(0);
  EXPECT_LT(relative_difference(row(session.feed({4}), 0), uncached(*decoder, {4})), 1e-5);
}

TEST_P(Sessions, reorder_copies_where_a_parent_has_several_children) {
  const auto decoder = fixture_decoder(GetParam());
  Session session(*decoder, 4);
  const std::vector<Ids> held = {{5, 6, 7}, {8, 9}, {10}, {11, 12, 13, 14}};
  session.feed(held);
  const std::vector<std::int32_t> parents = {1, 3, 1, 0};
  session.reorder(parents);
  const std::vector<Ids> next = {{20}, {21}, {22}, {23}};
  const Tensor logits = session.feed(next);
  for (std::size_t i = 0; i < 4; ++i) {
    Ids ids = held[static_cast<std::size_t>(parents[i])];
    ids.push_back(next[i][0]);
    EXPECT_LT(
        relative_difference(row(logits, static_cast<std::int64_t>(i)), uncached(*decoder, ids)),
        1e-5);
  }
}

TEST(Session, a_long_prompt_is_cut_into_steps) {
  const auto decoder = fixture_decoder("llama");
  Ids ids;
  for (int i = 0; i < 2500; ++i) ids.push_back(3 + i * 7 % 150);
  Session session(*decoder, 2);
  const Tensor logits = session.feed(std::vector<Ids>{ids, {5, 6}});
  EXPECT_LT(relative_difference(row(logits, 0), uncached(*decoder, ids)), 1e-4);
  EXPECT_LT(relative_difference(row(logits, 1), uncached(*decoder, {5, 6})), 1e-4);
}

TEST(Session, refuses_what_does_not_fit) {
  const auto decoder = fixture_decoder("opt");
  Session session(*decoder, 2);
  const auto message = [&](const std::vector<Ids>& ids) -> std::string {
    try {
      session.feed(ids);
      return {};
    } catch (const Error& e) {
      return e.what();
    }
  };
  EXPECT_EQ(message({{1}}), "[session] ids for 1 of 2 sequences");
  EXPECT_EQ(message({{}, {}}), "[session] fed with no token");
  EXPECT_EQ(message({{1, 160}, {1}}),
            "[ids] token 1 is 160: this model's vocabulary has 160 tokens");
  EXPECT_EQ(message({{-1}, {1}}), "[ids] token 0 is -1: this model's vocabulary has 160 tokens");
  EXPECT_EQ(message({Ids(129, 5), {1}}), "[session] 129 tokens: this model has 128 positions");
  EXPECT_THROW(session.rewind(1), Error);
  EXPECT_THROW(session.rewind(-1), Error);
  EXPECT_THROW(session.reorder(std::vector<std::int32_t>{0, 2}), Error);
  EXPECT_THROW(session.reorder(std::vector<std::int32_t>{0}), Error);
  EXPECT_THROW(Session(*decoder, 0), Error);
}

}  // namespace
}  // namespace quaver
