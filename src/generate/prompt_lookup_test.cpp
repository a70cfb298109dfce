#include "generate/prompt_lookup.h"

#include <gtest/gtest.h>

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(PromptLookup, finds_what_followed_before) {
  struct Case {
    Ids tokens;
    std::int64_t ngram, count;
    Ids expected;
  };
  const std::vector<Case> cases = {
      {{1, 2, 3, 4, 1, 2}, 2, 2, {3, 4}},
      {{1, 2, 3, 4, 1, 2}, 2, 9, {3, 4, 1, 2}},           // as much as there is
      {{1, 2, 3, 9, 2, 4, 1, 2}, 2, 1, {3}},              // the longer match counts
      {{1, 2, 3, 1, 2, 4, 1, 2}, 2, 2, {4, 1}},           // the latest of equal ones
      {{1, 2, 3, 5, 6, 1, 2, 1, 2}, 2, 4, {3, 5, 6, 1}},  // unless too little follows it
      {{7, 7, 7}, 2, 3, {7}},                             // a place may overlap the end
      {{1, 2, 3}, 2, 3, {}},
      {{5}, 2, 3, {}},
      {{}, 2, 3, {}},
      {{1, 1}, 2, 0, {}},
      {{1, 1}, 2, -1, {}},
  };
  for (std::size_t i = 0; i < cases.size(); ++i)
    EXPECT_EQ(looked_up(cases[i].tokens, cases[i].ngram, cases[i].count), cases[i].expected) << i;
}

}  // namespace
}  // namespace quaver
