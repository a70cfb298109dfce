// Reads tiktoken's rank files: a line is base64 of a token's bytes, a space, its rank. Words are
// merged by the rank of what a pair becomes. Patterns and special tokens are not in such a file:
// they follow from the published file that has as many ranks.
#include <algorithm>
#include <charconv>

#include "text/base64.h"
#include "text/bpe.h"
#include "text/engine.h"

namespace quaver::tokens {
namespace {

constexpr std::size_t longest_token = 4096;  // bytes

constexpr std::string_view gpt2_regex =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view llama3_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view o200k_regex =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct Published {
  std::string_view name;  // in the file's name
  std::size_t ranks;
  std::string_view regex;
  bool nfc;
};
// What is not listed splits as cl100k does.
constexpr Published published[] = {
    {"qwen", 151643, qwen_regex, true},      {"o200k", 199998, o200k_regex, false},
    {"cl100k", 100256, llama3_regex, false}, {"llama", 128000, llama3_regex, false},
    {"r50k", 50256, gpt2_regex, false},      {"p50k", 50280, gpt2_regex, false},
};

Published published_as(std::string_view file, std::size_t ranks) {
  for (const Published& row : published) {
    if (file.find(row.name) != std::string_view::npos) return row;
  }
  for (const Published& row : published) {
    if (row.ranks == ranks) return row;
  }
  return {"", ranks, llama3_regex, false};
}

std::string spelled(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += byte_character(static_cast<unsigned char>(c));
  return out;
}

struct Ranks {
  Vocabulary vocabulary;  // of tokens in the byte-level alphabet
  std::vector<std::string> tokens;
};

Ranks read_ranks(std::string_view file, std::string_view where) {
  Ranks out;
  for (std::size_t line = 1; !file.empty(); ++line) {
    const std::size_t end = std::min(file.find('\n'), file.size());
    std::string_view text = file.substr(0, end);
    file.remove_prefix(std::min(end + 1, file.size()));
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    if (text.empty()) continue;
    const std::size_t blank = text.find(' ');
    const auto bytes = base64_decoded(text.substr(0, blank));
    std::int64_t rank = -1;
    const std::string_view number = blank == std::string_view::npos ? "" : text.substr(blank + 1);
    const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), rank);
    const bool good = bytes && !bytes->empty() && bytes->size() <= longest_token &&
                      error == std::errc() && stop == number.data() + number.size();
    ensure_file(good, where, ": line ", line, " is not base64 of a token, a space and its rank");
    ensure_file(rank == static_cast<std::int64_t>(out.tokens.size()) && rank < largest_vocabulary,
                where, ": line ", line, " has rank ", rank, ", expected ", out.tokens.size());
    out.tokens.push_back(spelled(*bytes));
    ensure_file(out.vocabulary.add(out.tokens.back(), static_cast<std::int32_t>(rank)), where,
                ": line ", line, " has a token that occurs before");
  }
  ensure_file(!out.tokens.empty(), where, ": no ranks");
  return out;
}

// Every pair of tokens that makes a token, the best rank first.
std::vector<MergeRule> merge_rules(const Ranks& ranks, std::string_view where) {
  std::vector<MergeRule> rules;
  std::size_t work = 0;
  for (const std::string& token : ranks.tokens) {
    const std::string_view whole = token;
    work += token.size() * token.size();
    ensure_file(work <= most_bytes_hashed, where, ": the tokens are too long in all");
    for (std::size_t at = 1; at < whole.size(); ++at) {
      if ((whole[at] & 0xC0) == 0x80) continue;
      if (ranks.vocabulary.find(whole.substr(0, at)) && ranks.vocabulary.find(whole.substr(at))) {
        rules.emplace_back(whole.substr(0, at), whole.substr(at));
      }
    }
  }
  return rules;
}

// Qwen's first generation: three tokens of conversations and 205 to spare.
std::vector<AddedToken> qwen_tokens(std::int32_t next) {
  std::vector<std::string> names = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  for (int i = 0; i < 205; ++i) names.push_back("<|extra_" + std::to_string(i) + "|>");
  std::vector<AddedToken> out;
  for (const std::string& name : names) {
    out.push_back({.content = name, .id = next++, .special = true});
  }
  return out;
}

}  // namespace

std::shared_ptr<const Engine> read_tiktoken(std::string_view bytes, std::string_view where) {
  ensure_file(bytes.size() <= largest_tokenizer_file, where, ": ", bytes.size(),
              " bytes; a tokenizer has at most ", largest_tokenizer_file);
  Ranks ranks = read_ranks(bytes, where);
  const Published kind =
      published_as(where.substr(where.find_last_of('/') + 1), ranks.tokens.size());
  const auto rules = merge_rules(ranks, where);
  auto engine = std::make_shared<Engine>();
  engine->model =
      make_bpe(ranks.vocabulary, rules, {.ignore_merges = true, .rank_by_result = true}, where);
  const Json bytes_stage = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", std::string(kind.regex)}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  if (kind.nfc) engine->normalizer = read_normalizer({{"type", "NFC"}}, where);
  engine->pre_tokenizer = read_pre_tokenizer(
      {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes_stage})}}, where);
  engine->decoder = read_decoder(bytes_stage, where);
  if (kind.name == "qwen") {
    engine->added.add(qwen_tokens(static_cast<std::int32_t>(ranks.tokens.size())),
                      engine->model->vocabulary(), engine->normalizer);
  }
  return engine;
}

}  // namespace quaver::tokens
