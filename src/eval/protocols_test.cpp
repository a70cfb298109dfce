#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "eval/held_out.h"
#include "eval/protocol.h"

namespace quaver {
namespace {

std::vector<Window> windows(const char* protocol, std::int64_t tokens, std::int64_t context,
                            std::int64_t stride = 1) {
  return find_protocol(protocol).windows(tokens, context, stride);
}

std::string refusal(const char* protocol, std::int64_t tokens, std::int64_t context,
                    std::int64_t stride = 1) {
  try {
    windows(protocol, tokens, context, stride);
    return {};
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(Protocols, gptq_scores_all_but_each_first) {
  EXPECT_EQ(windows("gptq", 11, 4), (std::vector<Window>{{0, 4, 1}, {4, 8, 5}}));
  EXPECT_EQ(windows("gptq", 12, 4).size(), 3u);
  EXPECT_EQ(windows("gptq", 12, 4)[0].scored(), 3);
}

// llama.cpp with 512: positions 256 to 510 predict, which is 255 tokens.
TEST(Protocols, llamacpp_scores_the_second_half) {
  EXPECT_EQ(windows("llamacpp", 20, 8), (std::vector<Window>{{0, 8, 5}, {8, 16, 13}}));
  EXPECT_EQ(windows("llamacpp", 1024, 512)[0].scored(), 255);
}

TEST(Protocols, strided_scores_each_token_once) {
  for (const std::int64_t tokens : {2, 3, 7, 8, 9, 50, 97})
    for (const std::int64_t context : {2, 5, 8, 64})
      for (std::int64_t stride = 1; stride < context; ++stride) {
        std::set<std::int64_t> scored;
        for (const Window& w : windows("strided", tokens, context, stride)) {
          EXPECT_LT(w.begin, w.first_scored);
          EXPECT_LE(w.end - w.begin, context);
          EXPECT_LE(w.end, tokens);
          for (std::int64_t t = w.first_scored; t < w.end; ++t)
            EXPECT_TRUE(scored.insert(t).second) << t;
        }
        EXPECT_EQ(static_cast<std::int64_t>(scored.size()), tokens - 1);
      }
  EXPECT_EQ(windows("strided", 10, 6, 3), (std::vector<Window>{{0, 6, 1}, {3, 9, 6}, {6, 10, 9}}));
  // Windows side by side: what begins one has nothing before it.
  EXPECT_EQ(windows("strided", 9, 4, 4), (std::vector<Window>{{0, 4, 1}, {4, 8, 5}}));
}

TEST(Protocols, refuse_what_cannot_be) {
  EXPECT_EQ(refusal("gptq", 100, 1), "[eval] --context 1: expected at least 2");
  EXPECT_EQ(refusal("gptq", 7, 8), "[eval] the text has 7 tokens; windows of 8 need at least 8");
  EXPECT_EQ(refusal("llamacpp", 15, 8),
            "[eval] the text has 15 tokens; windows of 8 need at least 16");
  EXPECT_EQ(refusal("strided", 9, 4, 5), "[eval] --stride 5: expected 1 to 4, the context");
  EXPECT_EQ(refusal("strided", 9, 4, 0), "[eval] --stride 0: expected 1 to 4, the context");
  EXPECT_EQ(refusal("strided", 1, 4), "[eval] the text has 1 tokens; windows of 4 need at least 2");
  EXPECT_EQ(refusal("wiki", 9, 4),
            "[eval] unknown protocol 'wiki'; known: gptq, llamacpp, strided");
}

TEST(HeldOut, is_the_built_in_text) {
  const std::string text = held_out_text();
  EXPECT_EQ(text.size(), 625019u);
  EXPECT_EQ(text.substr(0, 31), "Having now told the story of Ro");
}

}  // namespace
}  // namespace quaver
