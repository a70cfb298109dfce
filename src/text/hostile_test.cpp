// Broken and hostile tokenizer files: an Error that says what is wrong, never a crash.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "text/engine.h"
#include "text/tokenizer.h"

namespace quaver {
namespace {

const std::string data = QUAVER_TEST_DATA "/tokenizers/";

std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The error that `read` ends with; fails the test if there is none.
template <class Read>
std::pair<Fault, std::string> error_of(Read read) {
  try {
    read();
  } catch (const Error& error) {
    return {error.fault, error.what()};
  }
  ADD_FAILURE() << "no error";
  return {Fault::internal, ""};
}

void expect_refused(const std::string& json, const std::string& says,
                    Fault fault = Fault::bad_file) {
  const auto [kind, message] = error_of([&] { Tokenizer::parse_json(json, "given"); });
  EXPECT_EQ(kind, fault) << json.substr(0, 200);
  EXPECT_EQ(message.rfind("given", 0), 0u) << message;
  EXPECT_NE(message.find(says), std::string::npos) << message;
}

// A tokenizer.json around this vocabulary, merges and further members.
std::string document(const std::string& vocab, const std::string& merges,
                     const std::string& rest = "", const std::string& model = "") {
  return R"({"model": {"type": "BPE", "vocab": )" + vocab + R"(, "merges": )" + merges + model +
         "}" + rest + "}";
}

TEST(HostileJson, Syntax) {
  for (const char* bytes :
       {"", "{", "[]", "null", "{\"model\": }", "\xFF\xFE", "{\"a\":\"\\ud800\"}"}) {
    EXPECT_EQ(error_of([&] { Tokenizer::parse_json(bytes, "given"); }).first, Fault::bad_file);
  }
  expect_refused(std::string(5000, '[') + std::string(5000, ']'), "deep");
  std::string deep =
      R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": )";
  for (int i = 0; i < 63; ++i) deep += R"({"type": "Sequence", "normalizers": [)";
  EXPECT_EQ(error_of([&] { Tokenizer::parse_json(deep, "given"); }).first, Fault::bad_file);
}

TEST(HostileJson, Vocabulary) {
  expect_refused("{}", "no object 'model'");
  expect_refused(R"({"model": {"vocab": {"a": 0}}})", "no type");
  expect_refused(document("[]", "[]"), "no object 'vocab'");
  expect_refused(document("{}", "[]"), "empty");
  expect_refused(document(R"({"a": 0})", "{}"), "no list 'merges'");
  expect_refused(document(R"({"a": 0, "b": 0})", "[]"), "occurs twice");
  expect_refused(document(R"({"a": 0, "a": 1})", "[]"), "occurs twice");
  EXPECT_EQ(error_of([] {
              Tokenizer::parse_json(document(R"({"a": 99999999999999999999})", "[]"), "given");
            }).first,
            Fault::bad_file);
  for (const char* id : {"-1", "4294967296", "1.5", "\"1\"", "null", "16777215"}) {
    expect_refused(document(std::string(R"({"a": )") + id + "}", "[]"), "no id in [0, ");
  }
}

TEST(HostileJson, Merges) {
  const std::string vocab = R"({"a": 0, "b": 1, "ab": 2})";
  EXPECT_EQ(Tokenizer::parse_json(document(vocab, R"(["a b"])"), "given").encode("ab", false),
            std::vector<std::int32_t>{2});
  expect_refused(document(vocab, R"(["a c"])"), "'c', which is not in the vocabulary");
  expect_refused(document(vocab, R"(["c a"])"), "'c', which is not in the vocabulary");
  expect_refused(document(vocab, R"([["b", "a"]])"), "makes 'ba'");
  expect_refused(document(vocab, R"(["ab"])"), "not two tokens");
  expect_refused(document(vocab, R"(["a b a"])"), "not two tokens");
  expect_refused(document(vocab, R"([["a"]])"), "neither a string nor a pair");
  expect_refused(document(vocab, R"([["a", 1]])"), "neither a string nor a pair");
  expect_refused(document(vocab, R"(["a b"])", "", R"(, "continuing_subword_prefix": "##")"),
                 "shorter than");
  expect_refused(document(vocab, R"(["a b"])", "", R"(, "dropout": 0.1)"), "dropout",
                 Fault::unsupported);
}

TEST(HostileJson, UnknownTypesAreNamedWithTheKnownOnes) {
  const auto with = [](const std::string& stage) {
    return document(R"({"a": 0})", "[]", ", " + stage);
  };
  const Fault unsupported = Fault::unsupported;
  expect_refused(R"({"model": {"type": "Oracle"}})", "unknown model 'Oracle'; known: BPE",
                 unsupported);
  expect_refused(with(R"("normalizer": {"type": "X"})"),
                 "unknown normalizer 'X'; known: Sequence, Prepend", unsupported);
  expect_refused(with(R"("pre_tokenizer": {"type": "X"})"),
                 "unknown pre_tokenizer 'X'; known: Sequence, ByteLevel", unsupported);
  expect_refused(with(R"("post_processor": {"type": "X"})"),
                 "unknown post_processor 'X'; known: ", unsupported);
  expect_refused(with(R"("decoder": {"type": "X"})"), "unknown decoder 'X'; known: ", unsupported);
  expect_refused(with(R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+b"},
                         "behavior": "Isolated"})"),
                 "regular expression (a+b : an open group at byte 4 is not supported", unsupported);
}

TEST(HostileJson, Stages) {
  const auto with = [](const std::string& stage) {
    return document(R"({"a": 0})", "[]", ", " + stage);
  };
  expect_refused(with(R"("normalizer": {"type": 3})"), "type");
  expect_refused(with(R"("normalizer": [])"), "");
  expect_refused(with(R"("normalizer": {"type": "Sequence"})"), "no list 'normalizers'");
  expect_refused(with(R"("normalizer": {"type": "Sequence", "normalizers": [7]})"), "");
  expect_refused(with(R"("normalizer": {"type": "Replace", "content": ""})"), "no pattern");
  expect_refused(with(R"("normalizer": {"type": "Replace", "pattern": {"String": ""},
                         "content": "x"})"),
                 "empty pattern");
  expect_refused(with(R"("normalizer": {"type": "NFC", "type": "NFC"})"), "duplicate key 'type'");
  expect_refused(with(R"("pre_tokenizer": {"type": "Split", "pattern": {"Glob": "*"},
                         "behavior": "Isolated"})"),
                 "unknown pattern kind 'Glob'");
  expect_refused(with(R"("pre_tokenizer": {"type": "Split", "pattern": {"String": "x"},
                         "behavior": "Sideways"})"),
                 "unknown Split behavior 'Sideways'");
  expect_refused(with(R"("pre_tokenizer": {"type": "Metaspace", "replacement": "__"})"),
                 "not one character");
  expect_refused(with(R"("pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "last"})"),
                 "unknown Metaspace prepend_scheme 'last'");
  expect_refused(with(R"("decoder": {"type": "Strip", "content": "", "start": 1, "stop": 0})"),
                 "not one character");
  expect_refused(with(R"("decoder": {"type": "Strip", "content": " ", "start": -1, "stop": 0})"),
                 "start -1");
  expect_refused(with(R"("decoder": {"type": "Metaspace", "replacement": ""})"),
                 "not one character");
  expect_refused(with(R"("post_processor": {"type": "TemplateProcessing"})"), "no list 'single'");
  expect_refused(with(R"("post_processor": {"type": "TemplateProcessing", "single": []})"),
                 "holds it 0 times");
  expect_refused(with(R"("post_processor": {"type": "TemplateProcessing",
                         "single": [{"SpecialToken": {"id": "<s>"}}]})"),
                 "'<s>' has no ids");
  expect_refused(with(R"("post_processor": {"type": "TemplateProcessing", "single": [3]})"),
                 "a template piece is");
  expect_refused(with(R"("post_processor": {"type": "BertProcessing", "sep": ["x", -1],
                         "cls": ["y", 1]})"),
                 "is not in [0, ");
  expect_refused(with(R"("added_tokens": {})"), "not a list");
  expect_refused(with(R"("added_tokens": [{"id": -5, "content": "x"}])"), "added token id -5");
  expect_refused(with(R"("added_tokens": [{"id": 99999999, "content": "x"}])"), "99999999");
  expect_refused(with(R"("added_tokens": [{"id": 1}])"), "content");
}

TEST(HostileJson, UnknownCharacterWithoutUnknownToken) {
  const Tokenizer tokenizer =
      Tokenizer::parse_json(document(R"({"a": 0})", "[]", "", R"(, "unk_token": "?")"), "given");
  EXPECT_EQ(tokenizer.encode("aa", false), (std::vector<std::int32_t>{0, 0}));
  EXPECT_THROW(tokenizer.encode("b", false), Error);
}

// Protobuf by hand.
std::string varint(std::uint64_t value) {
  std::string out;
  for (; value > 127; value >>= 7) out += static_cast<char>((value & 127) | 128);
  return out + static_cast<char>(value);
}
std::string message(int field, const std::string& bytes) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string number(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
std::string piece(const std::string& text, int type = 1, const std::string& score = "") {
  const std::string bits = score.empty() ? std::string(4, '\0') : score;
  return message(1, message(1, text) + "\x15" + bits + number(3, static_cast<std::uint64_t>(type)));
}
const std::string bpe = message(2, number(3, 2));
const std::string unknown = piece("<unk>", 2);

void expect_model_refused(const std::string& bytes, const std::string& says,
                          Fault fault = Fault::bad_file) {
  const auto [kind, what] = error_of([&] { Tokenizer::parse_sentencepiece(bytes, "given"); });
  EXPECT_EQ(kind, fault);
  EXPECT_EQ(what.rfind("given", 0), 0u) << what;
  EXPECT_NE(what.find(says), std::string::npos) << what;
}

TEST(HostileSentencePiece, WireFormat) {
  EXPECT_EQ(Tokenizer::parse_sentencepiece(bpe + unknown + piece("a"), "given").vocab_size(), 2);
  expect_model_refused("", "no unknown piece");
  expect_model_refused("\x0A", "goes on past the end");
  expect_model_refused(
      "\x0A\x05"
      "ab",
      "field 1 of 5 bytes, 2 left");
  expect_model_refused(std::string("\x0A") + varint(~std::uint64_t{0}) + "x",
                       "of 18446744073709551615 bytes");
  expect_model_refused(std::string(11, '\xFF'), "more than 10 bytes");
  expect_model_refused("\x0B", "wire type 3");
  expect_model_refused("\x0D\x01", "4 bytes expected");
  expect_model_refused(std::string("\x02\x00", 2), "field number 0");
  expect_model_refused(number(1, 5), "expected 2");
}

TEST(HostileSentencePiece, Pieces) {
  expect_model_refused(bpe + piece("a"), "no unknown piece");
  expect_model_refused(bpe + unknown + piece("<u>", 2), "two unknown pieces");
  expect_model_refused(bpe + unknown + piece(""), "empty");
  expect_model_refused(bpe + unknown + piece("\xFF"), "not UTF-8");
  expect_model_refused(bpe + unknown + piece(std::string(5000, 'a')), "too long");
  expect_model_refused(bpe + unknown + piece("a") + piece("a"), "occurs twice");
  expect_model_refused(bpe + unknown + piece("a", 9), "type 9");
  expect_model_refused(bpe + unknown + piece("a", 1, std::string("\0\0\xC0\x7F", 4)), "no number");
  for (const char* name : {"<0x-1>", "<0x1>", "<0xGG>", "<0x100>", "0x00", "<0xab>"}) {
    expect_model_refused(bpe + unknown + piece(name, 6), "is not <0x00> ... <0xFF>");
  }
  expect_model_refused(message(2, number(3, 2) + number(35, 1)) + unknown + piece("<0x00>", 6),
                       "without a piece for byte 1");
  expect_model_refused(message(2, number(3, 5)) + unknown, "model_type 5; known: 1 (unigram)",
                       Fault::unsupported);
  std::string many;
  for (char c = 'a'; c < 'z'; ++c) {
    for (char d = 'a'; d < 'z'; ++d) {
      for (char e = 'a'; e < 'f'; ++e) many += piece(std::string(4000, c) + d + e);
    }
  }
  expect_model_refused(bpe + unknown + many, "too long in all");
}

TEST(HostileSentencePiece, Charsmap) {
  const auto with = [](const std::string& map) {
    return bpe + unknown + piece("a") + message(3, message(2, map));
  };
  expect_model_refused(with("abc"), "precompiled_charsmap of 3 bytes");
  expect_model_refused(with(std::string("\xFF\xFF\xFF\xFF", 4) + std::string(9, '\0')),
                       "does not fit");
  expect_model_refused(with(std::string("\x03\0\0\0", 4) + std::string(9, '\0')), "does not fit");
  // Units that point out of the table and values out of the strings find nothing.
  for (const char fill : {'\xFF', '\x7F', '\x01', '\x61'}) {
    const std::string map =
        std::string("\x10\0\0\0", 4) + std::string(16, fill) + std::string(1, '\0');
    const Tokenizer tokenizer = Tokenizer::parse_sentencepiece(with(map), "given");
    EXPECT_FALSE(tokenizer.encode("a b\x01\xFF", false).empty());
  }
}

// Every cut of a small model, and every byte of its beginning changed: an Error or a tokenizer.
TEST(HostileSentencePiece, CutAndChangedFiles) {
  const std::string bytes = read_bytes(data + "unused.model");
  ASSERT_FALSE(bytes.empty());
  for (std::size_t size = 0; size < bytes.size(); size += 13) {
    try {
      Tokenizer::parse_sentencepiece(bytes.substr(0, size), "cut").encode("Once upon a time", true);
    } catch (const Error&) {
    }
  }
  for (std::size_t at = 0; at < bytes.size(); at += 11) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 8)));
    try {
      const Tokenizer tokenizer = Tokenizer::parse_sentencepiece(changed, "changed");
      tokenizer.decode(tokenizer.encode("Once upon\xFF a time", true), false);
    } catch (const Error&) {
    }
  }
}

TEST(HostileTiktoken, Lines) {
  const auto refused = [](const std::string& bytes, const std::string& says) {
    const auto [kind, what] = error_of([&] { Tokenizer::parse_tiktoken(bytes, "given"); });
    EXPECT_EQ(kind, Fault::bad_file);
    EXPECT_NE(what.find(says), std::string::npos) << what;
  };
  const Tokenizer tokenizer = Tokenizer::parse_tiktoken("YQ== 0\nYg== 1\nYWI= 2\n", "given");
  EXPECT_EQ(tokenizer.encode("aab", false), (std::vector<std::int32_t>{0, 2}));
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{2, 1}, false), "abb");
  refused("", "no ranks");
  refused("YQ==", "line 1 is not base64");
  refused("YQ= 0\n", "line 1 is not base64");
  refused("YQ== 0\nYg== x\n", "line 2 is not base64");
  refused("YQ== 1\n", "line 1 has rank 1, expected 0");
  refused("YQ== 0\nYQ== 1\n", "line 2 has a token that occurs before");
}

TEST(DirectoryTokenizers, VocabularyFiles) {
  const std::filesystem::path place =
      std::filesystem::path(testing::TempDir()) / "quaver_text_directory";
  std::filesystem::create_directories(place);
  const auto write = [&](const char* name, const char* content) {
    std::ofstream(place / name, std::ios::binary) << content;
  };
  using Ids = std::vector<std::int32_t>;
  write("b.tiktoken", "Yg== 0\nYQ== 1\n");
  write("a.tiktoken", "YQ== 0\nYg== 1\n");
  EXPECT_EQ(Tokenizer::file_in(place), place / "a.tiktoken");
  EXPECT_EQ(Tokenizer::find(place)->encode("ab", true), (Ids{0, 1}));
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\nab\xE3\x80\x80\n##c\n");
  // [PAD] and [MASK] follow the vocabulary, as transformers has it.
  EXPECT_EQ(Tokenizer::find(place)->encode("ABC [SEP] x[MASK]", true), (Ids{1, 3, 4, 2, 0, 6, 2}));
  EXPECT_EQ(Tokenizer::file_in(place), place / "vocab.txt");
  write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "</s>": 3})");
  write("merges.txt", "#version: 0.2\na b\n");
  EXPECT_EQ(Tokenizer::file_in(place), place / "vocab.json");
  EXPECT_EQ(Tokenizer::find(place)->encode("ab<|endoftext|></s>", true), (Ids{2, 4}));
  write("added_tokens.json", R"({"<x>": 4})");
  write("tokenizer_config.json", R"({"bos_token": "</s>", "add_bos_token": true})");
  EXPECT_EQ(Tokenizer::find(place)->encode("ab<x>a<|endoftext|>", true), (Ids{3, 2, 4, 0, 5}));
  write("special_tokens_map.json", R"({"pad_token": {"content": "<y>", "lstrip": true}})");
  EXPECT_EQ(Tokenizer::find(place)->encode("b <y>", true), (Ids{3, 1, 6}));
  // Where the configuration lists the tokens, the older files do not count.
  write("tokenizer_config.json", R"({"eos_token": "b", "unk_token": null, "bos_token": null,
      "added_tokens_decoder": {"4": {"content": "<z>"}}, "additional_special_tokens": ["<w>"]})");
  EXPECT_EQ(Tokenizer::find(place)->encode("b<z><w>ab<x>", true), (Ids{1, 4, 5, 0, 1}));
  write("merges.txt", "a c\n");
  EXPECT_NE(error_of([&] { Tokenizer::find(place); }).second.find("'c', which is not in"),
            std::string::npos);
  write("tokenizer_config.json", "[");
  EXPECT_NE(error_of([&] { Tokenizer::find(place); }).second.find("tokenizer_config.json"),
            std::string::npos);
  std::filesystem::remove_all(place);
}

TEST(DirectoryTokenizers, ClassesOfTransformers) {
  const auto ids = [](const std::string& config, const std::string& model, const char* text) {
    const tokens::DirectoryFiles files{
        .vocabulary = R"({"a": 0, "1": 1, "11": 2, "e": 3, "Ì": 4, "ģ": 5, "Ã": 6, "©": 7})",
        .merges = "1 1\n",
        .config = config,
        .model = model};
    return Tokenizer::parse_vocabulary(files, "given").encode(text, true);
  };
  using Ids = std::vector<std::int32_t>;
  const char* text = "11e\xCC\x81";
  EXPECT_EQ(ids("", "", text), (Ids{2, 3, 4, 5}));
  EXPECT_EQ(ids(R"({"tokenizer_class": "Qwen2TokenizerFast"})", "", text), (Ids{1, 1, 6, 7}));
  EXPECT_EQ(ids("", R"({"model_type": "qwen3_moe"})", text), (Ids{1, 1, 6, 7}));
  EXPECT_EQ(ids(R"({"tokenizer_class": "GPTNeoXTokenizer"})", R"({"model_type": "qwen2"})", text),
            (Ids{2, 6, 7}));
  // cls, eos, unk, sep and pad are not in the vocabulary: <s> 8, </s> 9.
  EXPECT_EQ(ids(R"({"tokenizer_class": "RobertaTokenizer"})", "", "a"), (Ids{8, 0, 9}));
}

TEST(HostileFiles, NamesAndContent) {
  EXPECT_EQ(error_of([] { Tokenizer::load(QUAVER_TEST_DATA "/text/heldout.txt"); }).first,
            Fault::bad_file);
  EXPECT_EQ(error_of([] { Tokenizer::load(QUAVER_TEST_DATA); }).first, Fault::bad_file)
      << "a directory";
  EXPECT_EQ(error_of([] { Tokenizer::load(data + "absent.json"); }).first, Fault::io);
}

}  // namespace
}  // namespace quaver
