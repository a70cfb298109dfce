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

// The logits after the last of some pieces of a text, fed one after another.
std::vector<float> fed(Session& session, const std::vector<Ids>& pieces) {
  Tensor logits;
  for (const Ids& piece : pieces) logits = session.feed(piece);
  return row(logits, 0);
}

std::vector<Ids> cut(const Ids& ids, std::size_t size) {
  std::vector<Ids> pieces;
  for (std::size_t i = 0; i < ids.size(); i += size)
    pieces.emplace_back(ids.begin() + static_cast<long>(i),
                        ids.begin() + static_cast<long>(std::min(i + size, ids.size())));
  return pieces;
}

// What a text that comes in these pieces must give. Keys that are kept keep their rotation: where
// it depends on the length, the pieces count (the goldens of `greedy` say what they must give), and
// a session of its own is the reference; else the text in one, without a cache.
std::vector<float> expected_of(const std::string& family, Decoder& decoder,
                               const std::vector<Ids>& pieces) {
  if (rotation_depends_on_length(family) && pieces.size() > 1) {
    Session alone(decoder);
    return fed(alone, pieces);
  }
  Ids whole;
  for (const Ids& piece : pieces) whole.insert(whole.end(), piece.begin(), piece.end());
  return uncached(decoder, whole);
}

class Sessions : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, Sessions, ::testing::ValuesIn(families));

TEST_P(Sessions, a_cache_changes_nothing) {
  const auto decoder = fixture_decoder(GetParam());
  const Ids ids = golden_prompts(GetParam()).front();
  const std::vector<float> expected = uncached(*decoder, ids);
  for (const std::size_t size : {std::size_t{1}, std::size_t{5}, ids.size()}) {
    Session session(*decoder);
    const std::vector<float> logits = fed(session, cut(ids, size));
    EXPECT_EQ(session.position(), static_cast<std::int64_t>(ids.size()));
    // Phi-3 computes a text anew where it passes the trained length, as this one does.
    if (rotation_depends_on_length(GetParam()) && size < ids.size() &&
        !decoder->arch().recompute_above)
      EXPECT_GT(relative_difference(logits, expected), 1e-3) << "the rotation does not depend";
    else
      EXPECT_LT(relative_difference(logits, expected), 1e-5) << size;
  }
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
  EXPECT_LT(relative_difference(row(logits, 0), uncached(*decoder, {5})), 1e-5);
  EXPECT_LT(
      relative_difference(row(logits, 1), expected_of(GetParam(), *decoder, {prompts[1], {7, 9}})),
      1e-5);
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

TEST_P(Sessions, logits_of_all_tokens_are_those_of_the_last_of_each_beginning) {
  const auto decoder = fixture_decoder(GetParam());
  Session session(*decoder, 2), fresh(*decoder);
  session.feed(std::vector<Ids>{{5, 6}, {9}});
  const Tensor all = session.feed(std::vector<Ids>{{7, 8, 9}, {11, 12}}, Session::Rows::all);
  ASSERT_EQ(all.dim(0), 5);
  EXPECT_LT(relative_difference(row(all, 1), uncached(*decoder, {5, 6, 7, 8})), 1e-5);
  EXPECT_LT(relative_difference(row(all, 3), uncached(*decoder, {9, 11})), 1e-5);
  EXPECT_LT(relative_difference(row(all, 4), uncached(*decoder, {9, 11, 12})), 1e-5);
  EXPECT_EQ(session.ids(0), (Ids{5, 6, 7, 8, 9}));
  session.rewind(1, 0);
  session.reorder(std::vector<std::int32_t>{1, 0});
  EXPECT_EQ(session.ids(0), (Ids{9, 11, 12}));
  EXPECT_EQ(session.ids(1), (Ids{5}));
}

// Rounding keys and values to 11 or 8 bits moves logits by about that much, and no more.
TEST_P(Sessions, half_caches_are_near) {
  const auto decoder = fixture_decoder(GetParam());
  const Ids ids = golden_prompts(GetParam()).front();
  const std::vector<Ids> pieces = cut(ids, 7);
  const std::vector<float> expected = expected_of(GetParam(), *decoder, pieces);
  for (const auto& [type, least, most] :
       {std::tuple{DType::f32, -1.0, 1e-5}, {DType::f16, 1e-9, 5e-3}, {DType::bf16, 1e-9, 5e-2}}) {
    Session session(*decoder, 1, {}, type);
    const double difference = relative_difference(fed(session, pieces), expected);
    EXPECT_LT(difference, most) << type;
    EXPECT_GT(difference, least) << type;  // it was rounded indeed
  }
  EXPECT_THROW(Session(*decoder, 1, {}, DType::i8), Error);
}

// A rotation that depends on the length sees the whole prompt's, in every step of it.
TEST(Session, a_long_prompt_rotates_as_one) {
  const auto decoder = fixture_decoder("phi3_longrope");
  Ids ids;
  for (int i = 0; i < 2100; ++i) ids.push_back(3 + i * 7 % 90);
  Session session(*decoder);
  const Tensor logits = session.feed({ids});
  EXPECT_LT(relative_difference(row(logits, 0), uncached(*decoder, ids)), 1e-4);
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
