#include "generate/stop_strings.h"

#include <gtest/gtest.h>

namespace quaver {
namespace {

// Cuts `text` into pieces of `size` bytes and returns what comes out.
std::string through(const std::string& text, std::vector<std::string> stop, std::size_t size) {
  StopStrings strings(std::move(stop));
  std::string out;
  for (std::size_t i = 0; i < text.size() && !strings.found(); i += size)
    out += strings.push(text.substr(i, size));
  return out + strings.finish();
}

TEST(StopStrings, end_the_text_however_it_is_cut) {
  struct Case {
    std::string text;
    std::vector<std::string> stop;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"one two three", {"two"}, "one "},
      {"one two three", {"four"}, "one two three"},
      {"one two three", {}, "one two three"},
      {"aaaaab", {"aab"}, "aaa"},
      {"abababac tail", {"ababac"}, "ab"},
      {"tail is stopp", {"stopped"}, "tail is stopp"},
      {"x\n\ny", {"\n\n", "y"}, "x"},
      {"two", {"two"}, ""},
      {"", {"two"}, ""},
  };
  for (const Case& c : cases)
    for (std::size_t size = 1; size <= c.text.size() + 1; ++size)
      EXPECT_EQ(through(c.text, c.stop, size), c.expected) << c.text << " by " << size;
}

TEST(StopStrings, give_text_as_soon_as_it_is_certain) {
  StopStrings strings({"stop"});
  EXPECT_EQ(strings.push("best"), "be");
  EXPECT_EQ(strings.push("s "), "sts ");
  EXPECT_EQ(strings.push("sto"), "");
  EXPECT_EQ(strings.push("pper"), "");
  EXPECT_TRUE(strings.found());
  EXPECT_EQ(strings.push("more"), "");
  EXPECT_EQ(strings.finish(), "");
}

TEST(StopStrings, the_first_in_the_text_counts) {
  EXPECT_EQ(find_stop("abcdef", {"ef", "cd"}), 2u);
  EXPECT_EQ(find_stop("abcdef", {"x"}), std::string::npos);
  EXPECT_EQ(find_stop("abcdef", {}), std::string::npos);
}

}  // namespace
}  // namespace quaver
