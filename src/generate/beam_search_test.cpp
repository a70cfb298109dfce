#include "generate/beam_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/error.h"
#include "generate/golden_test.h"

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::size_t vocabulary = 12;

// Runs the search with the golden model in place of a decoder. All finished beams, best first.
std::vector<Ids> all_searched(const Ids& prompt, const GenerateSettings& settings,
                              std::int64_t limit, BeamSearch::Ended ended = {}) {
  BeamSearch search(settings, limit, RandomStream(settings.seed, 0), std::move(ended));
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  while (!search.done()) {
    std::vector<float> scores;
    for (std::int64_t b = 0; b < search.beams(); ++b) {
      Ids tokens = prompt;
      tokens.insert(tokens.end(), search.tokens(b).begin(), search.tokens(b).end());
      std::vector<float> row_scores = golden_logits(tokens, vocabulary);
      log_softmax(row_scores);
      process(row_scores, {tokens, prompt_tokens, prompt_tokens + limit}, settings);
      if (settings.sample) warp(row_scores, settings, 2);
      if (settings.renormalize_logits) log_softmax(row_scores);
      scores.insert(scores.end(), row_scores.begin(), row_scores.end());
    }
    search.advance(scores);
  }
  std::vector<Ids> all;
  for (std::int64_t rank = 0; rank < search.beams(); ++rank) all.push_back(search.best(rank));
  return all;
}

Ids searched(const Ids& prompt, const GenerateSettings& settings, std::int64_t limit,
             BeamSearch::Ended ended = {}) {
  return all_searched(prompt, settings, limit, std::move(ended)).front();
}

// num_beams, length_penalty, early_stopping, end tokens, penalties: what transformers gives.
TEST(BeamSearch, equals_transformers) {
  const Json cases = golden_cases("beams");
  ASSERT_GT(cases.size(), 100u);
  int compared = 0;
  for (const Json& c : cases) {
    const GenerateSettings settings = golden_settings(c["settings"]);
    if (settings.num_beams == 1) continue;
    for (std::size_t i = 0; i < c["prompts"].size(); ++i, ++compared) {
      const auto prompt = c["prompts"][i].get<Ids>();
      EXPECT_EQ(searched(prompt, settings, *settings.max_new_tokens), c["new"][i].get<Ids>())
          << c["settings"] << " prompt " << i;
    }
  }
  EXPECT_GT(compared, 200);
}

// All other options of generation_config.json, and several answers a prompt.
TEST(BeamSearch, equals_transformers_with_every_option) {
  int compared = 0;
  for (const Json& c : golden_cases("searches")) {
    const GenerateSettings settings = golden_settings(c["settings"]);
    if (settings.num_beams == 1) continue;
    std::size_t at = 0;
    for (const Json& prompt : c["prompts"]) {
      const auto all = all_searched(prompt.get<Ids>(), settings, *settings.max_new_tokens);
      for (std::int64_t i = 0; i < settings.num_return_sequences; ++i, ++at, ++compared)
        EXPECT_EQ(all[static_cast<std::size_t>(i)], c["new"][at].get<Ids>())
            << c["settings"] << " prompt " << prompt << " rank " << i;
    }
  }
  EXPECT_GT(compared, 500);
}

// With more beams than there are prefixes the search is exhaustive: it must find the continuation
// of largest probability among all 12^3.
TEST(BeamSearch, many_beams_find_the_best_of_all) {
  const Ids prompt = {3, 7, 1};
  GenerateSettings settings{.num_beams = 144};
  double best = -1e30;
  Ids expected;
  for (int code = 0; code < 12 * 12 * 12; ++code) {
    const Ids fresh = {code / 144, code / 12 % 12, code % 12};
    Ids tokens = prompt;
    double sum = 0;
    for (const std::int32_t id : fresh) {
      std::vector<float> p = golden_logits(tokens, vocabulary);
      log_softmax(p);
      sum += p[static_cast<std::size_t>(id)];
      tokens.push_back(id);
    }
    if (sum > best) {
      best = sum;
      expected = fresh;
    }
  }
  EXPECT_EQ(searched(prompt, settings, 3), expected);
}

TEST(BeamSearch, another_reason_to_end_is_like_an_end_token) {
  const Ids prompt = {3, 7, 1};
  GenerateSettings by_token{.num_beams = 3}, by_reason{.num_beams = 3};
  by_token.eos = {2};
  const auto ends = [](std::span<const std::int32_t> ids) { return ids.back() == 2; };
  EXPECT_EQ(searched(prompt, by_token, 8), searched(prompt, by_reason, 8, ends));
}

TEST(BeamSearch, sampled_beams_repeat_by_seed) {
  GenerateSettings settings{.sample = true, .num_beams = 3};
  std::map<Ids, int> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    settings.seed = seed;
    const Ids ids = searched({5}, settings, 5);
    EXPECT_EQ(ids, searched({5}, settings, 5));
    ++seen[ids];
  }
  EXPECT_GT(seen.size(), 5u);
}

// Drawing without replacement: the share of each first token among two of twelve drawn.
TEST(BeamSearch, sampling_draws_without_replacement_by_probability) {
  GenerateSettings settings{.sample = true, .num_beams = 2};
  std::vector<float> p = golden_logits(Ids{5}, vocabulary);
  log_softmax(p);
  std::vector<float> scores = p;
  scores.insert(scores.end(), p.begin(), p.end());
  std::vector<int> first(vocabulary, 0);
  constexpr int runs = 20'000;
  for (std::uint64_t seed = 0; seed < runs; ++seed) {
    BeamSearch search(settings, 2, RandomStream(seed, 0));
    search.advance(scores);
    // The two open beams are two of the four drawn, best first; draws are distinct.
    EXPECT_NE(search.tokens(0), search.tokens(1));
    ++first[static_cast<std::size_t>(search.tokens(0)[0])];
  }
  // The best of four draws is at least as often the likeliest token as a single draw would be.
  const auto top = static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
  EXPECT_GT(first[top], runs * std::exp(p[top]));
  EXPECT_LT(first[top], runs);
}

TEST(BeamSearch, refuses_what_cannot_be) {
  GenerateSettings settings{.num_beams = 4};
  EXPECT_THROW(BeamSearch(settings, 0, RandomStream(0, 0)), Error);
  BeamSearch search(settings, 3, RandomStream(0, 0));
  EXPECT_THROW(search.advance(std::vector<float>(7)), Error);
  BeamSearch nan(settings, 3, RandomStream(0, 0));
  EXPECT_THROW(nan.advance(std::vector<float>(48, std::nanf(""))), Error);
}

}  // namespace
}  // namespace quaver
