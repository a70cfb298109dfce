#include "api/ids.h"

#include <gtest/gtest.h>

#include "quaver/error.h"

namespace quaver {
namespace {

std::string refusal(const char* json) {
  try {
    parse_ids(json, "ids.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::bad_file);
    return error.what();
  }
  return "accepted";
}

TEST(Ids, ReadsOneListAndMany) {
  const IdLists one = parse_ids("[1, 2, 3]", "x");
  EXPECT_FALSE(one.nested);
  ASSERT_EQ(one.lists.size(), 1u);
  EXPECT_EQ(one.lists[0], (std::vector<std::int32_t>{1, 2, 3}));
  const IdLists two = parse_ids("[[1], [2147483647, 0], []]", "x");
  EXPECT_TRUE(two.nested);
  ASSERT_EQ(two.lists.size(), 3u);
  EXPECT_EQ(two.lists[1], (std::vector<std::int32_t>{2147483647, 0}));
  EXPECT_EQ(parse_ids("[]", "x").lists.size(), 1u);
}

TEST(Ids, RefusesEverythingElse) {
  EXPECT_EQ(refusal("[-1]"), "ids.json: got -1, expected a token id");
  EXPECT_EQ(refusal("[2147483648]"), "ids.json: got 2147483648, expected a token id");
  EXPECT_EQ(refusal("[1.5]"), "ids.json: got 1.5, expected a token id");
  EXPECT_EQ(refusal("[1, [2]]"), "ids.json: got [2], expected a token id");
  EXPECT_NE(refusal("[[1], 2]").find("side by side"), std::string::npos);
  EXPECT_NE(refusal("{}").find("got a JSON object"), std::string::npos);
  EXPECT_NE(refusal("[1").find("ids.json"), std::string::npos);
}

}  // namespace
}  // namespace quaver
