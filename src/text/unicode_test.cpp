// UTF-8, character classes, and the small containers of the layer.
#include "text/unicode.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "text/matcher.h"
#include "text/merges.h"
#include "text/pipeline.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace quaver::tokens {
namespace {

TEST(Utf8, EveryCodePointAndBack) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string bytes;
    append_code_point(bytes, code);
    const CodePoint point = read_code_point(bytes, 0);
    int length;
    ASSERT_TRUE(point.valid && point.value == code) << static_cast<unsigned>(code);
    ASSERT_EQ(point.length, static_cast<int>(bytes.size()));
    ASSERT_EQ(valid_code_point(bytes.data(), length), code);
    ASSERT_EQ(length, point.length);
    ASSERT_EQ(character_length(bytes[0]), point.length);
  }
}

TEST(Utf8, MaximalSubparts) {
  const std::string r(replacement_character);
  const std::map<std::string, std::string> cases = {
      {"", ""},
      {"a\x80z", "a" + r + "z"},
      {"\xC0\x80", r + r},
      {"\xE0\x80\x80", r + r + r},
      {"\xED\xA0\x80", r + r + r},
      {"\xF4\x90\x80\x80", r + r + r + r},
      {"\xE4\xBD", r},
      {"\xE4\xBD\xE4\xBD\xA0", r + "\xE4\xBD\xA0"},
      {"\xF0\x9F\x98"
       "x",
       r + "x"},
      {"\xC3\xC3\xA9", r + "\xC3\xA9"},
      {"\xFE\xFF", r + r},
      {"12345678\xFF", "12345678" + r},
  };
  for (const auto& [given, expected] : cases) {
    EXPECT_EQ(replaced_invalid(given), expected);
    EXPECT_EQ(is_valid_utf8(given), given == expected);
  }
  EXPECT_TRUE(read_code_point("\xF0\x9F\x98", 0).partial);
  EXPECT_FALSE(read_code_point("\xF0\x9F\x20", 0).partial);
  EXPECT_FALSE(read_code_point("\x80", 0).partial);
}

TEST(Unicode, Classes) {
  const auto is = [](char32_t c, CharacterClass kind) { return (classes_of(c) & kind) != 0; };
  for (char32_t c : {U'a', U'Z', U'é', U'你', U'ا', U'א', U'ʰ', char32_t{0x1D518}}) {
    EXPECT_TRUE(is(c, letter) && is(c, word) && !is(c, number) && !is(c, space));
  }
  for (char32_t c : {U'0', U'٣', U'½', U'Ⅷ', U'②'}) EXPECT_TRUE(is(c, number) && !is(c, letter));
  for (char32_t c : {U' ', U'\t', U'\n', char32_t{0x85}, char32_t{0xA0}, char32_t{0x3000}}) {
    EXPECT_TRUE(is(c, space) && is(c, strip_space));
  }
  EXPECT_FALSE(is(0x200B, space));
  EXPECT_TRUE(is(U'_', word) && !is(U'-', word) && is(0x301, word) && !is(0x301, letter));
  EXPECT_EQ(classes_of(0x10FFFF), 0);
  EXPECT_EQ(classes_of(0x110000), 0);
  EXPECT_EQ(classes_of(0xD800), 0);
}

TEST(Unicode, ByteAlphabetIsABijection) {
  std::map<std::string, int> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string& character = byte_character(static_cast<unsigned char>(byte));
    EXPECT_EQ(seen.count(character), 0u);
    seen[character] = byte;
    EXPECT_EQ(byte_of(read_code_point(character, 0).value), static_cast<unsigned char>(byte));
  }
  EXPECT_EQ(byte_character(' '), "Ġ");
  EXPECT_EQ(byte_of(U' '), std::nullopt);
  EXPECT_EQ(byte_of(0x10FFFF), std::nullopt);
}

TEST(Unicode, NormalizationFormC) {
  std::string text = "e\u0301 A\u030A \u212B \u1100\u1161\u11A8 q\u0307\u0323";
  normalize(text, Form::nfc);
  EXPECT_EQ(text, "é Å Å 각 q\u0323\u0307");
}

TEST(Vocabulary, BothWays) {
  Vocabulary vocabulary;
  EXPECT_EQ(vocabulary.find("a"), std::nullopt);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(vocabulary.add(text("t", i), 3 * i));
  EXPECT_FALSE(vocabulary.add("t5", 1));
  EXPECT_FALSE(vocabulary.add("new", 3));
  EXPECT_EQ(vocabulary.count(), 1000);
  EXPECT_EQ(vocabulary.size(), 2998);
  EXPECT_EQ(vocabulary.find("t999"), 2997);
  EXPECT_EQ(vocabulary.find("new"), std::nullopt);
  EXPECT_EQ(vocabulary.token(3), "t1");
  EXPECT_EQ(vocabulary.token(1), std::nullopt);
}

TEST(Matcher, LongestAtTheLeftmostPlace) {
  Matcher matcher;
  EXPECT_FALSE(matcher.next("abc", 0).has_value());
  matcher.add("ab", 1);
  matcher.add("abcd", 2);
  matcher.add("bc", 3);
  const auto first = matcher.next("xabce", 0);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->begin, 1u);
  EXPECT_EQ(first->end, 3u);
  EXPECT_EQ(matcher.next("xabcd", 0)->value, 2);
  EXPECT_EQ(matcher.next("xabcd", 2)->value, 3);
  EXPECT_FALSE(matcher.next("xabcd", 3).has_value());
  EXPECT_FALSE(matcher.next("", 0).has_value());
}

// The definition: the best-ranked pair, the leftmost among equals, until none is left.
std::vector<std::int32_t> merged_plainly(std::vector<std::int32_t> symbols,
                                         const MergeTable& merges) {
  while (true) {
    const Merge* best = nullptr;
    std::size_t place = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Merge* merge = merges.find(symbols[i], symbols[i + 1]);
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank))
        best = merge, place = i;
    }
    if (best == nullptr) return symbols;
    symbols[place] = best->result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

TEST(Merges, ScanAndQueueDoWhatTheDefinitionSays) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    MergeTable merges;
    std::int32_t next = 3;
    for (std::uint32_t rank = 0; rank < 40; ++rank) {
      const auto left = static_cast<std::int32_t>(random() % static_cast<unsigned>(next));
      const auto right = static_cast<std::int32_t>(random() % static_cast<unsigned>(next));
      if (merges.find(left, right) == nullptr) merges.set(left, right, {rank / 2, next++});
    }
    for (const std::size_t length : {0, 1, 2, 31, 32, 33, 97}) {
      std::vector<std::int32_t> symbols(length);
      for (auto& symbol : symbols) symbol = static_cast<std::int32_t>(random() % 3);
      const auto expected = merged_plainly(symbols, merges);
      for (const bool queue : {false, true}) {
        MergeScratch scratch;
        scratch.symbols = symbols;
        scratch.keep_splits = queue;  // forces the queue for short words, too
        merge_symbols(scratch, merges);
        EXPECT_EQ(scratch.symbols, expected);
      }
    }
  }
}

TEST(Merges, StoreOfWordsStartsAnewWhenFull) {
  MergeScratch scratch;
  const std::vector<std::int32_t> ids = {1, 2, 3};
  EXPECT_FALSE(scratch.recall("x").has_value());
  for (int i = 0; i < 100000; ++i) {
    const std::string word = text("w", i);
    scratch.remember(word, ids);
    const auto known = scratch.recall(word);
    ASSERT_TRUE(known && known->size() == 3);
  }
  EXPECT_FALSE(scratch.recall("w0").has_value());
  scratch.remember(std::string(65, 'x'), ids);
  EXPECT_FALSE(scratch.recall(std::string(65, 'x')).has_value());
}

// GPT-2's pattern, case by case.
TEST(Gpt2Pattern, Words) {
  const auto words = [](std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0, end; at < text.size(); at = end) {
      end = gpt2_word_end(text, at);
      out.emplace_back(text.substr(at, end - at));
    }
    return out;
  };
  using Words = std::vector<std::string>;
  EXPECT_EQ(words("Hello  world's 12a!?"), (Words{"Hello", " ", " world", "'s", " 12", "a", "!?"}));
  EXPECT_EQ(words(" 's '"), (Words{" '", "s", " '"}));
  EXPECT_EQ(words("a \n b  "), (Words{"a", " \n", " b", "  "}));
  EXPECT_EQ(words("\n\nx"), (Words{"\n", "\n", "x"}));
  EXPECT_EQ(words("'re're'r"), (Words{"'re", "'re", "'", "r"}));
  EXPECT_EQ(words("x\u00A0\u3000y"), (Words{"x", "\u00A0", "\u3000", "y"}));
}

}  // namespace
}  // namespace quaver::tokens
