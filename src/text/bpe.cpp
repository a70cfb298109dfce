// The BPE model of tokenizer.json: ids equal those of the `tokenizers` library (models/bpe).
#include "text/bpe.h"

#include <array>
#include <cstdio>

#include "text/merges.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

class Bpe final : public Model {
 public:
  Bpe(Vocabulary vocabulary, const std::vector<MergeRule>& rules, BpeOptions options,
      std::string_view where)
      : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
    read_merges(rules, where);
    if (options_.unknown_token) unknown_ = vocabulary_.find(*options_.unknown_token).value_or(-1);
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
      const auto place = static_cast<std::size_t>(byte);
      fallback_[place] = vocabulary_.find(name).value_or(-1);
      spelled_[place] =
          vocabulary_.find(byte_character(static_cast<unsigned char>(byte))).value_or(-1);
      const char c = static_cast<char>(byte);
      ascii_[place] = byte < 128 ? vocabulary_.find({&c, 1}).value_or(-1) : -1;
      all_spelled_ = all_spelled_ && spelled_[place] >= 0;
    }
    const bool plain =
        options_.continuing_subword_prefix.empty() && options_.end_of_word_suffix.empty();
    all_spelled_ = all_spelled_ && plain;
    // Where unknown characters vanish, what stood beside them meets.
    bool vanish = !options_.byte_fallback;
    for (const std::int32_t id : fallback_) vanish = vanish || id < 0;
    vanish = vanish && !options_.unknown_token;
    cuts_ = cuts_ && plain && !vanish && !options_.ignore_merges &&
            vocabulary_.find(space_mark).has_value();
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }

  void tokenize(const Words& words, std::vector<std::int32_t>& ids) const override {
    ScratchPool::Lease lease(pool_);
    MergeScratch& scratch = *lease;
    for (const Span span : words.spans) {
      const std::string_view word =
          std::string_view(words.text).substr(span.begin, span.end - span.begin);
      if (words.as_bytes) {
        take(word, true, scratch, ids);
        continue;
      }
      std::size_t begin = 0;
      while (cuts_ && begin < word.size()) {
        std::size_t end = begin;
        while (word.substr(end, space_mark.size()) == space_mark) end += space_mark.size();
        end = word.find(space_mark, end);
        if (end == std::string_view::npos) break;
        take(word.substr(begin, end - begin), false, scratch, ids);
        begin = end;
      }
      if (begin < word.size()) take(word.substr(begin), false, scratch, ids);
    }
  }

 private:
  void read_merges(const std::vector<MergeRule>& rules, std::string_view where) {
    merges_.reserve(rules.size());
    std::string joined;
    for (std::size_t rank = 0; rank < rules.size(); ++rank) {
      const auto [left, right] = rules[rank];
      const auto a = vocabulary_.find(left), b = vocabulary_.find(right);
      ensure_file(a.has_value(), where, ": merge ", rank, " names '", left,
                  "', which is not in the vocabulary");
      ensure_file(b.has_value(), where, ": merge ", rank, " names '", right,
                  "', which is not in the vocabulary");
      const std::size_t prefix = options_.continuing_subword_prefix.size();
      ensure_file(right.size() >= prefix, where, ": merge ", rank, " of '", right,
                  "', which is shorter than the continuing_subword_prefix");
      (joined.assign(left)) += right.substr(prefix);
      const auto result = vocabulary_.find(joined);
      ensure_file(result.has_value(), where, ": merge ", rank, " makes '", joined,
                  "', which is not in the vocabulary");
      const auto order = options_.rank_by_result ? static_cast<std::size_t>(*result) : rank;
      merges_.set(*a, *b, {static_cast<std::uint32_t>(order), *result});
      cuts_ = cuts_ && !spans_word_boundary(joined);
    }
  }

  // Appends the ids of one word.
  void take(std::string_view word, bool as_bytes, MergeScratch& scratch,
            std::vector<std::int32_t>& ids) const {
    // Words as bytes and words as characters never meet in one tokenizer's scratch: the
    // pre-tokenizers decide which, once and for all.
    if (const auto known = scratch.recall(word)) {
      ids.insert(ids.end(), known->begin(), known->end());
      return;
    }
    encode(word, as_bytes, scratch);
    scratch.remember(word, scratch.symbols);
    ids.insert(ids.end(), scratch.symbols.begin(), scratch.symbols.end());
  }

  // Leaves the ids of one word in scratch.symbols.
  void encode(std::string_view word, bool as_bytes, MergeScratch& scratch) const {
    scratch.symbols.clear();
    if (as_bytes && (!all_spelled_ || options_.ignore_merges)) {
      scratch.spelled.clear();
      for (const char c : word) scratch.spelled += byte_character(static_cast<unsigned char>(c));
    }
    if (options_.ignore_merges) {
      if (const auto id = vocabulary_.find(as_bytes ? scratch.spelled : word)) {
        scratch.symbols.push_back(*id);
        return;
      }
    }
    if (as_bytes && all_spelled_) {
      for (const char c : word) {
        scratch.symbols.push_back(spelled_[static_cast<unsigned char>(c)]);
      }
    } else {
      characters(as_bytes ? scratch.spelled : word, scratch.symbols);
    }
    merge_symbols(scratch, merges_);
  }

  // The id of the character at `word[at]`, with prefix and suffix; -1: unknown.
  std::int32_t character_id(std::string_view word, std::size_t at, std::size_t length) const {
    const bool first = at == 0, last = at + length == word.size();
    const bool prefixed = !first && !options_.continuing_subword_prefix.empty();
    const bool suffixed = last && !options_.end_of_word_suffix.empty();
    if (!prefixed && !suffixed) {
      if (length == 1) return ascii_[static_cast<unsigned char>(word[at])];
      return vocabulary_.find(word.substr(at, length)).value_or(-1);
    }
    std::string decorated = prefixed ? options_.continuing_subword_prefix : std::string();
    decorated += word.substr(at, length);
    if (suffixed) decorated += options_.end_of_word_suffix;
    return vocabulary_.find(decorated).value_or(-1);
  }

  // The bytes that the library falls back to are those of the decorated character.
  bool fall_back(std::string_view word, std::size_t at, std::size_t length,
                 std::vector<std::int32_t>& symbols) const {
    if (!options_.byte_fallback) return false;
    std::string bytes = at > 0 ? options_.continuing_subword_prefix : std::string();
    bytes += word.substr(at, length);
    if (at + length == word.size()) bytes += options_.end_of_word_suffix;
    for (const char c : bytes) {
      if (fallback_[static_cast<unsigned char>(c)] < 0) return false;
    }
    for (const char c : bytes) symbols.push_back(fallback_[static_cast<unsigned char>(c)]);
    return true;
  }

  void characters(std::string_view word, std::vector<std::int32_t>& symbols) const {
    bool unknown_waits = false;  // an unknown token is due before the next known character
    for (std::size_t at = 0, length; at < word.size(); at += length) {
      length = static_cast<std::size_t>(character_length(word[at]));
      const std::int32_t id = character_id(word, at, length);
      if (id >= 0) {
        if (unknown_waits) symbols.push_back(unknown_);
        unknown_waits = false;
        symbols.push_back(id);
        continue;
      }
      // Bytes do not call for a waiting unknown token: that is the library's order.
      if (fall_back(word, at, length, symbols)) continue;
      if (!options_.unknown_token) continue;
      ensure_file(unknown_ >= 0, "[tokenize] '", word.substr(at, length),
                  "' is not in the vocabulary, nor is the unknown token '", *options_.unknown_token,
                  "'");
      if (unknown_waits && !options_.fuse_unknown) symbols.push_back(unknown_);
      unknown_waits = true;
    }
    if (unknown_waits) symbols.push_back(unknown_);
  }

  Vocabulary vocabulary_;
  BpeOptions options_;
  MergeTable merges_;
  std::int32_t unknown_ = -1;
  std::array<std::int32_t, 256> fallback_{};  // ids of <0x00> ... <0xFF>, or -1
  std::array<std::int32_t, 256> spelled_{};   // ids of the byte-level alphabet, or -1
  std::array<std::int32_t, 256> ascii_{};     // ids of ASCII characters, or -1
  bool all_spelled_ = true;  // every byte has a token: bytes become symbols without a detour
  bool cuts_ = true;         // words may be cut before space marks
  mutable ScratchPool pool_;
};

}  // namespace

std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, const std::vector<MergeRule>& rules,
                                BpeOptions options, std::string_view where) {
  return std::make_unique<Bpe>(std::move(vocabulary), rules, std::move(options), where);
}

}  // namespace quaver::tokens
