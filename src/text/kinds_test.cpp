// Every kind of tokenizer against the reference libraries, by hashes of mixed text
// (tests/golden/tokenizers/make_tokenizers.py), and regular expressions that must not be trusted.
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"
#include "text/golden_hash.h"
#include "text/regex.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace quaver {
namespace {

const std::string kinds_folder = QUAVER_TEST_DATA "/tokenizers/";

Json patched(const std::string& file, Json patch) {
  Json document = parse_json(read_bytes(kinds_folder + "kinds/" + file), file);
  for (const Json& key : patch.value("$replace", Json::array())) {
    document["model"].erase(key.get<std::string>());
  }
  patch.erase("$replace");
  document.merge_patch(patch);
  return document;
}

Tokenizer tokenizer_of(const Json& golden) {
  const std::string file = golden["file"];
  if (!golden.contains("patch")) return Tokenizer::load(kinds_folder + "kinds/" + file);
  return Tokenizer::parse_json(patched(file, golden["patch"]).dump(), "kind");
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  TextStream stream(tokenizer, false);
  std::string text;
  for (const std::int32_t id : ids) text += stream.push(id);
  return text + stream.finish();
}

TEST(TokenizerKinds, MixedText) {
  const Json goldens = parse_json(read_bytes(kinds_folder + "kinds/goldens.json"), "goldens.json");
  const std::vector<std::string> lines = lines_of(read_bytes(kinds_folder + "mixed.txt"));
  ASSERT_EQ(lines.size(), 3000u);
  ASSERT_GT(goldens["kinds"].size(), 150u);
  for (const Json& golden : goldens["kinds"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const Tokenizer tokenizer = tokenizer_of(golden);
    EXPECT_EQ(tokenizer.vocab_size(), golden["vocab_size"].get<std::int64_t>());
    for (std::size_t begin = 0; begin < lines.size(); begin += 1000) {
      Hash ids_hash, decoded, skipping;
      for (std::size_t i = begin; i < begin + 1000; ++i) {
        const auto ids = tokenizer.encode(lines[i], true);
        ids_hash.add(ids);
        const std::string text = tokenizer.decode(ids, false);
        if (i % 10 == 0) {
          ASSERT_EQ(streamed(tokenizer, ids), text) << "line " << i;
        }
        decoded.add(i > begin ? "\n" + text : text);
        skipping.add((i > begin ? "\n" : "") + tokenizer.decode(ids, true));
      }
      EXPECT_EQ(ids_hash.hex(), golden["ids"][begin / 1000]) << "from line " << begin;
      EXPECT_EQ(decoded.hex(), golden["decoded"][begin / 1000]) << "from line " << begin;
      EXPECT_EQ(skipping.hex(), golden["skipping"][begin / 1000]) << "from line " << begin;
    }
  }
}

// The patterns that are written out by hand find what PCRE2 finds.
TEST(KnownPatterns, AgreeWithPcre2) {
  const Json goldens = parse_json(read_bytes(kinds_folder + "kinds/goldens.json"), "goldens.json");
  const std::string text =
      tokens::replaced_invalid(read_bytes(kinds_folder + "mixed.txt").substr(0, 60000));
  int known = 0;
  for (const Json& golden : goldens["kinds"]) {
    const Json::json_pointer pattern("/patch/pre_tokenizer/pretokenizers/0/pattern/Regex");
    if (!golden.contains(pattern)) continue;
    const std::string regex = golden[pattern];
    const tokens::WordFinder find = tokens::known_finder(regex);
    if (find == nullptr) continue;
    ++known;
    const tokens::Regex compiled(regex, "regex");
    for (std::size_t at = 0; at <= text.size();) {
      const auto ours = find(text, at), theirs = compiled.find(text, at);
      ASSERT_EQ(ours.has_value(), theirs.has_value()) << regex << " at " << at;
      if (!ours) break;
      ASSERT_EQ(ours->begin, theirs->begin) << regex << " at " << at;
      ASSERT_EQ(ours->end, theirs->end) << regex << " at " << at;
      at = ours->end;
    }
  }
  EXPECT_GE(known, 9);
}

TEST(Regex, RefusesWhatItCannotDo) {
  const auto refused = [](const std::string& pattern, const std::string& says) {
    try {
      tokens::Regex(pattern, "given");
      ADD_FAILURE() << pattern << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault, Fault::unsupported);
      EXPECT_EQ(std::string(error.what()).rfind("given: regular expression ", 0), 0u);
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  };
  refused("(a", "an open group");
  refused("a)", "a ) without (");
  refused("[a", "a class without end");
  refused("a\\", "a \\ at the end");
  refused("(*LIMIT_MATCH=1)a", "a verb (*");
  refused("(?R)", "a group (?R");
  refused("\\p{Klingon}", "unknown property");
  refused("\\p{L", "a property without end");
  refused("[z-a]", "backwards");
  refused("\\xFF", "a byte of UTF-8");
  refused("\\x{110000}", "a number of a character");
  refused("(?<=a+)b", "lookbehind");
  refused("*a", "quantifier");
  refused(std::string(200, '('), "too many groups");
  refused(std::string(200, '['), "too many classes");
  std::string words;
  for (int i = 0; i < 2000; ++i) words += "\\b";
  refused(words, "so long an expression");
}

// A match may be as long as the text, whatever the compiled pattern keeps of its way there.
TEST(Regex, FindsLongMatches) {
  std::string words;
  while (words.size() < 200000) words += "word ß 你好, ";
  for (const char* pattern : {"\\d+|\\D+", "[\\p{L}\\p{P}[\\s]]+", "(?:\\S|\\s)+"}) {
    const auto found = tokens::Regex(pattern, "given").find(words, 0);
    ASSERT_TRUE(found.has_value()) << pattern;
    EXPECT_EQ(found->end, words.size()) << pattern;
  }
}

// Exponential search ends with an error, not with the patience of the user.
TEST(Regex, GivesUpOnCatastrophicSearches) {
  const tokens::Regex regex("(a+)+$", "given");
  EXPECT_TRUE(regex.find("aaaa", 0).has_value());
  try {
    regex.find(std::string(5000, 'a') + "b", 0);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::resource);
    EXPECT_NE(std::string(error.what()).find("gave up"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace quaver
