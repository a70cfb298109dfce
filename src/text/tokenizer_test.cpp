// Ids and texts against the reference libraries' (tests/golden/tokenizers), streaming, threads.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/error.h"
#include "core/json.h"
#include "text/golden_hash.h"

namespace quaver {
namespace {

const std::string tokenizers_folder = QUAVER_TEST_DATA "/tokenizers/";

std::string hash_of(const std::vector<std::int32_t>& ids) {
  Hash hash;
  hash.add(ids);
  return hash.hex();
}

const Json& tokenizer_goldens() {
  static const Json json =
      parse_json(read_bytes(tokenizers_folder + "goldens.json"), "goldens.json");
  return json;
}

const std::vector<std::string>& odd_lines() {
  static const std::vector<std::string> lines =
      lines_of(read_bytes(tokenizers_folder + "odd_lines.txt"));
  return lines;
}

std::string decoded_hash(const Tokenizer& tokenizer,
                         const std::vector<std::vector<std::int32_t>>& rows, bool skip) {
  Hash hash;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i > 0) hash.add("\n");
    const std::string text = tokenizer.decode(rows[i], skip);
    hash.add(text);
    TextStream stream(tokenizer, skip);
    std::string streamed;
    for (const std::int32_t id : rows[i]) streamed += stream.push(id);
    streamed += stream.finish();
    EXPECT_EQ(streamed, text) << "row " << i;
  }
  return hash.hex();
}

// What goldens of files and of variants have in common.
void expect_common(const Tokenizer& tokenizer, const Json& golden) {
  EXPECT_EQ(tokenizer.vocab_size(), golden["vocab_size"].get<std::int64_t>());
  std::vector<std::vector<std::int32_t>> rows;
  Hash hash;
  for (const std::string& line : odd_lines()) {
    rows.push_back(tokenizer.encode(line, true));
    hash.add(rows.back());
  }
  EXPECT_EQ(hash.hex(), golden["odd_special"].get<std::string>());
  EXPECT_EQ(decoded_hash(tokenizer, rows, false), golden["decoded"].get<std::string>());
  EXPECT_EQ(decoded_hash(tokenizer, rows, true), golden["decoded_skipping"].get<std::string>());
  const auto noise = tokenizer_goldens()["noise"][std::to_string(tokenizer.vocab_size())]
                         .get<std::vector<std::vector<std::int32_t>>>();
  ASSERT_FALSE(noise.empty());
  EXPECT_EQ(decoded_hash(tokenizer, noise, false), golden["noise_decoded"].get<std::string>());
  EXPECT_EQ(decoded_hash(tokenizer, noise, true),
            golden["noise_decoded_skipping"].get<std::string>());
}

TEST(TokenizerGoldens, OddLines) {
  ASSERT_EQ(odd_lines().size(), 500u);
  for (const Json& golden : tokenizer_goldens()["files"]) {
    const std::string file = golden["file"];
    SCOPED_TRACE(file);
    const Tokenizer tokenizer = Tokenizer::load(tokenizers_folder + file);
    for (std::size_t i = 0; i < odd_lines().size(); ++i) {
      const auto ids = tokenizer.encode(odd_lines()[i], false);
      const Json& expected = golden["odd"][i];
      if (expected.is_array()) {
        EXPECT_EQ(ids, expected.get<std::vector<std::int32_t>>()) << "odd line " << i;
      } else {
        EXPECT_EQ(ids.size(), expected["count"].get<std::size_t>()) << "odd line " << i;
        EXPECT_EQ(hash_of(ids), expected["hash"].get<std::string>()) << "odd line " << i;
      }
    }
    expect_common(tokenizer, golden);
  }
}

TEST(TokenizerGoldens, HeldoutText) {
  const std::string text = read_bytes(QUAVER_TEST_DATA "/text/heldout.txt");
  const std::vector<std::string> lines = lines_of(text);
  for (const Json& golden : tokenizer_goldens()["files"]) {
    SCOPED_TRACE(golden["file"].get<std::string>());
    const Tokenizer tokenizer =
        Tokenizer::load(tokenizers_folder + golden["file"].get<std::string>());
    for (std::size_t begin = 0; begin < lines.size(); begin += 100) {
      Hash hash;
      for (std::size_t i = begin; i < std::min(begin + 100, lines.size()); ++i) {
        hash.add(tokenizer.encode(lines[i], false));
      }
      EXPECT_EQ(hash.hex(), golden["heldout_lines"][begin / 100].get<std::string>())
          << "from line " << begin;
    }
    EXPECT_EQ(hash_of(tokenizer.encode(text, false)), golden["heldout"].get<std::string>());
  }
}

// tokenizer.json files changed by a merge patch, for stages that the plain ones lack.
TEST(TokenizerGoldens, Variants) {
  for (Json golden : tokenizer_goldens()["variants"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    Json document =
        parse_json(read_bytes(tokenizers_folder + golden["file"].get<std::string>()), "base");
    Json& patch = golden["patch"];
    for (const Json& key : patch.value("$replace", Json::array())) {
      document["model"].erase(key.get<std::string>());
    }
    patch.erase("$replace");
    document.merge_patch(patch);
    const Tokenizer tokenizer = Tokenizer::parse_json(document.dump(), "variant");
    for (std::size_t begin = 0; begin < odd_lines().size(); begin += 25) {
      Hash hash;
      for (std::size_t i = begin; i < begin + 25; ++i) {
        hash.add(tokenizer.encode(odd_lines()[i], false));
      }
      EXPECT_EQ(hash.hex(), golden["odd"][begin / 25].get<std::string>())
          << "from odd line " << begin;
    }
    expect_common(tokenizer, golden);
  }
}

TEST(Tokenizer, FindsTheFileOfADirectory) {
  EXPECT_FALSE(Tokenizer::find(QUAVER_TEST_DATA "/text").has_value());
  const auto found = Tokenizer::find(tokenizers_folder + "llama");
  ASSERT_TRUE(found.has_value());
  // tokenizer.json reads "<s>" in text as the token; tokenizer.model would not.
  EXPECT_EQ(found->encode("<s>", false), std::vector<std::int32_t>{1});
  EXPECT_THROW(Tokenizer::load(tokenizers_folder + "llama/absent.json"), Error);
}

TEST(Tokenizer, KnowsTokensByNameAndId) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizers_folder + "llama/tokenizer.model");
  EXPECT_EQ(tokenizer.vocab_size(), 8192);
  EXPECT_EQ(tokenizer.token_to_id("</s>"), 2);
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(3), "<0x00>");
  EXPECT_EQ(tokenizer.id_to_token(-1), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(8192), std::nullopt);
  // Ids without a token, as padded vocabularies bring them, are passed over.
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{-1, 9000, 2147483647}, false), "");
}

// Equal paths but for the last bit of a sum: scores must be the doubles that serde_json reads,
// which are not always the nearest ones. Ids by tokenizers 0.23.3.
TEST(Tokenizer, ScoresOfUnigramTiesAreTheLibrarys) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizers_folder + "kinds/unigram.json");
  const std::string mark = "\xEF\xBF\xBD";
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(tokenizer.encode(mark + mark + mark + mark, false), (Ids{259, 543, 545}));
  EXPECT_EQ(tokenizer.encode("ऀ" + mark + mark + mark + mark + "म", false),
            (Ids{259, 0, 545, 543, 947}));
}

// A token of white space within what the token before it took along. Ids by tokenizers 0.23.3.
TEST(Tokenizer, StrippingTokensThatOverlap) {
  const Tokenizer tokenizer = Tokenizer::parse_json(
      R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}, "added_tokens": [
          {"id": 2, "content": "<s>", "lstrip": true, "rstrip": true},
          {"id": 3, "content": "\t", "lstrip": true}, {"id": 4, "content": "\n"}]})",
      "given");
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(tokenizer.encode("a<s>\tb", false), (Ids{0, 2, 1}));
  EXPECT_EQ(tokenizer.encode("a<s>\t<s>b", false), (Ids{0, 2, 2, 1}));
  EXPECT_EQ(tokenizer.encode("a<s>\nb", false), (Ids{0, 2, 4, 1}));
  EXPECT_EQ(tokenizer.encode("a<s>\n\nb", false), (Ids{0, 2, 4, 4, 1}));
}

TEST(Tokenizer, ConfigSaysWhatSurroundsASentencePieceText) {
  const std::string bytes = read_bytes(tokenizers_folder + "llama/tokenizer.model");
  const auto special = [&](std::string_view config) {
    const auto tokenizer = Tokenizer::parse_sentencepiece(bytes, "model", config);
    auto ids = tokenizer.encode("a", true);
    const auto plain = tokenizer.encode("a", false);
    std::erase_if(ids, [&](std::int32_t id) { return id == plain.at(0); });
    return ids;
  };
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(special(""), (Ids{1}));
  EXPECT_EQ(special(R"({"add_bos_token": false})"), Ids{});
  EXPECT_EQ(special(R"({"add_eos_token": true})"), (Ids{1, 2}));
  EXPECT_EQ(special(R"({"bos_token": {"content": "</s>"}})"), (Ids{2}));
  EXPECT_THROW(special("[1"), Error);
}

TEST(TextStream, NeverSplitsACharacterAndStartsAnew) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizers_folder + "bloom/tokenizer.json");
  const std::string text = "naïve 😀 你好 👨‍👩‍👧 é";
  const auto ids = tokenizer.encode(text, false);
  TextStream stream(tokenizer, false);
  for (int round = 0; round < 2; ++round) {
    std::string all;
    for (const std::int32_t id : ids) {
      const std::string part = stream.push(id);
      EXPECT_EQ(part.find("\xEF\xBF\xBD"), std::string::npos);
      if (!part.empty()) {
        EXPECT_NE(static_cast<unsigned char>(part[0]) & 0xC0, 0x80);
      }
      all += part;
    }
    EXPECT_EQ(all + stream.finish(), text);
  }
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizers_folder + "llama/tokenizer.json");
  std::vector<std::string> expected;
  for (const std::string& line : odd_lines()) {
    expected.push_back(hash_of(tokenizer.encode(line, true)));
  }
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t n = 0; n < odd_lines().size(); ++n) {
        const std::size_t i = (n * 7 + t * 101) % odd_lines().size();
        wrong[t] += hash_of(tokenizer.encode(odd_lines()[i], true)) != expected[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace quaver
