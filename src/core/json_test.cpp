#include "core/json.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace quaver {
namespace {

std::string refusal(std::string_view source) {
  try {
    parse_json(source, "f.json");
  } catch (const Error& e) {
    EXPECT_EQ(e.fault, Fault::bad_file);
    return e.what();
  }
  return "";
}

TEST(Json, ParsesNestedValues) {
  const Json j =
      parse_json(R"({"a": [1, {"b": null}, "x"], "c": {"d": [true, 2.5]}, "e": -3})", "t");
  EXPECT_EQ(j["a"][0], 1);
  EXPECT_TRUE(j["a"][1]["b"].is_null());
  EXPECT_EQ(j["c"]["d"][1], 2.5);
  EXPECT_EQ(j["e"], -3);
  EXPECT_EQ(parse_json("7", "t"), 7);
}

TEST(Json, RefusesWhatIsNotStrict) {
  EXPECT_NE(refusal(R"({"a": 1, "a": 2})").find("f.json: duplicate key 'a'"), std::string::npos);
  EXPECT_NE(refusal("[1e400]").find("1e400"), std::string::npos);
  EXPECT_NE(refusal(std::string(65, '[') + std::string(65, ']')).find("deeper than 64"),
            std::string::npos);
  EXPECT_NE(refusal("{\"a\": \"\xff\"}"), "");
  EXPECT_NE(refusal("{\"a\": }"), "");
  EXPECT_NE(refusal("{} x"), "");
  EXPECT_NE(refusal(""), "");
  EXPECT_NE(refusal("[NaN]"), "");
  EXPECT_EQ(refusal(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_THROW(parse_json("[1, 2, 3]", "t", {.bytes = 4}), Error);
}

// Millions of open brackets must neither overflow the stack nor take memory without bound.
TEST(Json, SurvivesBracketBombs) { EXPECT_NE(refusal(std::string(3'000'000, '[')), ""); }

TEST(Json, TypedAccessNamesWhatIsWrong) {
  const Json j = parse_json(R"({"n": 4, "f": 128.0, "s": "x", "b": true, "z": null})", "t");
  EXPECT_EQ(json_int(j, "n", "t"), 4);
  EXPECT_EQ(json_int(j, "f", "t"), 128);
  EXPECT_EQ(json_int(j, "z", "t", 9), 9);
  EXPECT_EQ(json_int(j, "absent", "t", 9), 9);
  EXPECT_EQ(json_number(j, "n", "t", 0), 4);
  EXPECT_TRUE(json_bool(j, "b", "t", false));
  EXPECT_EQ(json_string(j, "s", "t"), "x");
  EXPECT_EQ(json_string(j, "absent", "t", "y"), "y");
  EXPECT_THROW(json_int(j, "absent", "t"), Error);
  try {
    json_int(j, "s", "config.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "config.json: 's' is \"x\", expected an integer");
  }
  EXPECT_THROW(json_bool(j, "n", "t", false), Error);
  EXPECT_THROW(json_number(j, "s", "t", 0), Error);
  EXPECT_THROW(json_int(parse_json("[1]", "t"), "n", "t"), Error);
}

TEST(Json, OrderedKeepsTheOrderOfKeysAndIsAsStrict) {
  const OrderedJson j = parse_ordered_json(R"({"z": {"b": 1, "a": [2.5]}, "a": null})", "t");
  EXPECT_EQ(j.dump(), R"({"z":{"b":1,"a":[2.5]},"a":null})");
  EXPECT_THROW(parse_ordered_json(R"({"a": 1, "b": {}, "a": 2})", "t"), Error);
  EXPECT_NO_THROW(parse_ordered_json(R"([{"a": {"a": 1}}, {"a": 2}])", "t"));
  EXPECT_THROW(parse_ordered_json(std::string(65, '['), "t"), Error);
  EXPECT_THROW(parse_ordered_json("1e999", "t"), Error);
  try {
    parse_ordered_json("[123456789012345678901]", "t");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "t: integer 123456789012345678901 has more than 64 bits");
  }
}

}  // namespace
}  // namespace quaver
