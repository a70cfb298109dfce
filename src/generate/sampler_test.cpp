#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "generate/golden_test.h"

namespace quaver {
namespace {

std::vector<double> probabilities(std::span<const float> scores) {
  double sum = 0;
  std::vector<double> p;
  for (const float s : scores) p.push_back(std::exp(double{s}));
  for (const double x : p) sum += x;
  for (double& x : p) x /= sum;
  return p;
}

// transformers' processors and warpers, its order included (tests/golden/make_generation.py).
TEST(Sampler, probabilities_are_those_of_transformers) {
  const Json cases = golden_cases("sampling");
  ASSERT_GT(cases.size(), 100u);
  for (const Json& c : cases) {
    const auto history = c["history"].get<std::vector<std::int32_t>>();
    const GenerateSettings settings = golden_settings(c["settings"]);
    ASSERT_TRUE(settings.sample);
    std::vector<float> scores = golden_numbers(c["seed"].get<std::uint32_t>(), 40);
    process(scores, {history, 4, 100}, settings);
    warp(scores, settings, 1);
    const std::vector<double> p = probabilities(scores);
    for (std::size_t i = 0; i < p.size(); ++i) {
      const std::string key = std::to_string(i);
      const double expected =
          c["probabilities"].contains(key) ? c["probabilities"][key].get<double>() : 0;
      EXPECT_NEAR(p[i], expected, 1e-6) << c["settings"] << " token " << i;
      EXPECT_EQ(p[i] > 0, expected > 0) << c["settings"] << " token " << i;
    }
  }
}

TEST(Sampler, greedy_is_that_of_transformers) {
  int compared = 0;
  for (const char* name : {"beams", "searches"}) {
    for (const Json& c : golden_cases(name)) {
      const GenerateSettings settings = golden_settings(c["settings"]);
      if (settings.num_beams > 1) continue;
      for (std::size_t i = 0; i < c["prompts"].size(); ++i, ++compared) {
        auto tokens = c["prompts"][i].get<std::vector<std::int32_t>>();
        const auto prompt = static_cast<std::int64_t>(tokens.size());
        const std::int64_t most = prompt + *settings.max_new_tokens;
        const auto expected = c["new"][i].get<std::vector<std::int32_t>>();
        RandomStream random(0, 0);
        for (const std::int32_t id : expected) {
          std::vector<float> logits = golden_logits(tokens, 12);
          EXPECT_EQ(next_token(logits, {tokens, prompt, most}, settings, random), id)
              << c["settings"] << " after " << Json(tokens);
          tokens.push_back(id);
        }
      }
    }
  }
  EXPECT_GT(compared, 100);
}

// OpenAI's definition, over the new tokens: score - count * frequency - (count > 0) * presence.
TEST(Sampler, frequency_and_presence_count_new_tokens) {
  const std::vector<std::int32_t> tokens = {0, 0, 1, 2, 2, 2};
  const GenerateSettings settings{.frequency_penalty = 0.5, .presence_penalty = 0.25};
  std::vector<float> scores = {1, 1, 1, 1};
  process(scores, {tokens, 2, 10}, settings);
  EXPECT_EQ(scores, (std::vector<float>{1, 0.25f, -0.75f, 1}));
}

TEST(Sampler, invalid_values_become_numbers_where_asked) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::int32_t> tokens = {0};
  std::vector<float> scores = {std::nanf(""), infinity, -infinity, 2};
  process(scores, {tokens, 1, 10}, {.remove_invalid_values = true});
  const float most = std::numeric_limits<float>::max();
  EXPECT_EQ(scores, (std::vector<float>{0, most, -most, 2}));
}

TEST(Sampler, draws_each_token_as_often_as_its_probability_says) {
  const std::vector<float> scores = golden_numbers(7, 8);
  const std::vector<double> p = probabilities(scores);
  std::vector<int> seen(8, 0);
  RandomStream random(1, 0);
  constexpr int draws = 100'000;
  for (int i = 0; i < draws; ++i) ++seen[static_cast<std::size_t>(draw(scores, random))];
  double chi = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    const double expected = p[i] * draws;
    chi += (seen[i] - expected) * (seen[i] - expected) / expected;
  }
  EXPECT_LT(chi, 24.3);  // 7 degrees of freedom: one in a thousand is above
}

TEST(Sampler, streams_repeat_by_seed_and_differ_by_row) {
  RandomStream a(5, 0), again(5, 0), row(5, 1), seed(6, 0);
  const std::uint64_t first = a.next();
  EXPECT_EQ(first, again.next());
  EXPECT_NE(first, row.next());
  EXPECT_NE(first, seed.next());
  for (int i = 0; i < 1000; ++i) {
    const double u = a.uniform();
    EXPECT_GE(u, 0);
    EXPECT_LT(u, 1);
  }
}

TEST(Sampler, greedy_takes_the_first_of_equal_logits) {
  std::vector<float> logits = {1, 3, 2, 3};
  RandomStream random(0, 0);
  EXPECT_EQ(next_token(logits, {}, {}, random), 1);
}

TEST(Sampler, temperature_near_zero_is_greedy) {
  RandomStream random(0, 0);
  GenerateSettings settings{.sample = true, .temperature = 1e-3};
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    std::vector<float> logits = golden_numbers(seed, 50);
    const std::int32_t expected = likeliest(logits);
    EXPECT_EQ(next_token(logits, {}, settings, random), expected);
  }
}

TEST(Sampler, ids_outside_the_vocabulary_are_no_harm) {
  std::vector<float> scores = {1, 2};
  const std::vector<std::int32_t> tokens = {-1, 5, 1};
  GenerateSettings settings{.min_new_tokens = 9, .repetition_penalty = 2};
  settings.eos = {77};
  process(scores, {tokens, 3}, settings);
  EXPECT_EQ(scores, (std::vector<float>{1, 1}));
}

TEST(Sampler, refuses_nan_and_nothing_left) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float none = -std::numeric_limits<float>::infinity();
  RandomStream random(0, 0);
  const std::vector<std::vector<float>> all = {{1, nan, 2}, {none, none}};
  for (const std::vector<float>& scores : all) {
    try {
      draw(scores, random);
      FAIL() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.fault, Fault::numerical);
    }
    EXPECT_THROW(likeliest(scores), Error);
  }
}

TEST(Sampler, log_softmax_sums_to_one) {
  std::vector<float> logits = {1000, 1001, -3};
  log_softmax(logits);
  EXPECT_NEAR(logits[1], -std::log(1 + std::exp(-1.0)), 1e-4);
  EXPECT_NEAR(std::exp(logits[0]) + std::exp(logits[1]), 1, 1e-4);
}

}  // namespace
}  // namespace quaver
