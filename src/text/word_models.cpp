#include "text/word_models.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>

#include "text/merges.h"
#include "text/trie.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

// Calls `visit(word)` for each word, in the byte-level alphabet if it waits for that.
template <class Visit>
void for_each_word(const Words& words, Visit visit) {
  std::string spelled;
  for (const Span span : words.spans) {
    const auto word = std::string_view(words.text).substr(span.begin, span.end - span.begin);
    if (!words.as_bytes) {
      visit(word);
      continue;
    }
    spelled.clear();
    for (const char c : word) spelled += byte_character(static_cast<unsigned char>(c));
    visit(std::string_view(spelled));
  }
}

std::vector<Trie::Entry> entries_of(const Vocabulary& vocabulary) {
  std::vector<Trie::Entry> entries;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (const auto token = vocabulary.token(id); token && !token->empty()) {
      entries.emplace_back(*token, id);
    }
  }
  return entries;
}

[[noreturn]] void no_unknown_token(std::string_view word, std::string_view token) {
  fail(Fault::bad_file, "[tokenize] '", word.substr(0, 64),
       "' is not in the vocabulary, nor is the unknown token '", token, "'");
}

// The longest tokens from left to right (Wu et al. 2016, arXiv:1609.08144, section 4.1). A word
// that cannot be made of tokens is the unknown token.
class WordPiece final : public Model {
 public:
  WordPiece(Vocabulary vocabulary, WordPieceOptions options, std::string_view where)
      : vocabulary_(std::move(vocabulary)),
        options_(std::move(options)),
        trie_(entries_of(vocabulary_), where),
        continuing_(trie_.walk(options_.continuing_subword_prefix)),
        unknown_(vocabulary_.find(options_.unknown_token).value_or(-1)) {}

  const Vocabulary& vocabulary() const override { return vocabulary_; }

  void tokenize(const Words& words, std::vector<std::int32_t>& ids) const override {
    for_each_word(words, [&](std::string_view word) {
      const std::size_t before = ids.size();
      if (!too_long(word) && take(word, ids)) return;
      ids.resize(before);
      if (unknown_ < 0) no_unknown_token(word, options_.unknown_token);
      ids.push_back(unknown_);
    });
  }

 private:
  bool too_long(std::string_view word) const {
    const auto limit = static_cast<std::size_t>(options_.max_input_chars_per_word);
    if (word.size() <= limit) return false;
    std::size_t characters = 0;
    for (const char c : word) characters += (c & 0xC0) != 0x80;
    return characters > limit;
  }

  bool take(std::string_view word, std::vector<std::int32_t>& ids) const {
    for (std::size_t at = 0; at < word.size();) {
      Trie::Node node = at == 0 ? 0 : continuing_;
      std::int32_t best = Trie::none;
      std::size_t best_end = at;
      for (std::size_t end = at; node != Trie::dead && end < word.size();) {
        node = trie_.next(node, word[end++]);
        if (node != Trie::dead && trie_.value(node) != Trie::none) {
          best = trie_.value(node);
          best_end = end;
        }
      }
      if (best == Trie::none) return false;
      ids.push_back(best);
      at = best_end;
    }
    return true;
  }

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  Trie trie_;
  Trie::Node continuing_;  // where walks begin inside a word
  std::int32_t unknown_;   // -1: the vocabulary lacks it
};

class WordLevel final : public Model {
 public:
  WordLevel(Vocabulary vocabulary, std::string unknown_token)
      : vocabulary_(std::move(vocabulary)),
        unknown_token_(std::move(unknown_token)),
        unknown_(vocabulary_.find(unknown_token_).value_or(-1)) {}

  const Vocabulary& vocabulary() const override { return vocabulary_; }

  void tokenize(const Words& words, std::vector<std::int32_t>& ids) const override {
    for_each_word(words, [&](std::string_view word) {
      const std::int32_t id = vocabulary_.find(word).value_or(unknown_);
      if (id < 0) no_unknown_token(word, unknown_token_);
      ids.push_back(id);
    });
  }

 private:
  Vocabulary vocabulary_;
  std::string unknown_token_;
  std::int32_t unknown_;  // -1: the vocabulary lacks it
};

constexpr double unknown_penalty = 10.0;  // below the worst score

// The best path through the pieces (Kudo 2018, arXiv:1804.10959), in doubles and in the order of
// the library's sums, so that ties fall the same way.
class Unigram final : public Model {
 public:
  Unigram(Vocabulary vocabulary, UnigramOptions options, std::string_view where)
      : vocabulary_(std::move(vocabulary)),
        options_(std::move(options)),
        trie_(entries_of(vocabulary_), where) {
    double worst = std::numeric_limits<double>::infinity();
    for (const double score : options_.scores) worst = std::min(worst, score);
    unknown_score_ = worst - unknown_penalty;
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
      bytes_[static_cast<std::size_t>(byte)] = vocabulary_.find(name).value_or(-1);
    }
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }

  void tokenize(const Words& words, std::vector<std::int32_t>& ids) const override {
    ScratchPool::Lease lease(pool_);
    std::vector<Place> places;
    for_each_word(words, [&](std::string_view word) {
      if (const auto known = (*lease).recall(word)) {
        ids.insert(ids.end(), known->begin(), known->end());
        return;
      }
      const std::size_t before = ids.size();
      find_best_path(word, places);
      follow(word, places, ids);
      (*lease).remember(word, std::span<const std::int32_t>(ids).subspan(before));
    });
  }

 private:
  // The best path to a place in the word. Ids below 0: no path yet, or an unknown character.
  struct Place {
    double score = 0;
    std::int32_t from = -1;
    std::int32_t id = -1;
  };

  void find_best_path(std::string_view word, std::vector<Place>& places) const {
    places.assign(word.size() + 1, {});
    const std::int32_t unknown = options_.unknown.value_or(-1);
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t after = at + static_cast<std::size_t>(character_length(word[at]));
      const double here = places[at].score;
      const auto reach = [&](std::size_t end, double score, std::int32_t id) {
        Place& place = places[end];
        if (place.from >= 0 && !(here + score > place.score)) return;
        place = {here + score, static_cast<std::int32_t>(at), id};
      };
      bool has_single = false;
      Trie::Node node = 0;
      for (std::size_t end = at; end < word.size();) {
        node = trie_.next(node, word[end++]);
        if (node == Trie::dead) break;
        const std::int32_t id = trie_.value(node);
        if (id == Trie::none) continue;
        reach(end, options_.scores[static_cast<std::size_t>(id)], id);
        has_single = has_single || end == after;
      }
      if (!has_single) reach(after, unknown_score_, unknown);
      at = after;
    }
  }

  // Appends the ids of the best path; neighbouring unknown pieces are one.
  void follow(std::string_view word, const std::vector<Place>& places,
              std::vector<std::int32_t>& ids) const {
    const auto first = static_cast<std::ptrdiff_t>(ids.size());
    std::size_t end = word.size();
    while (end > 0) {
      const Place& place = places[end];
      auto begin = static_cast<std::size_t>(place.from);
      if (place.id != options_.unknown.value_or(-1)) {
        ids.push_back(place.id);
        end = begin;
        continue;
      }
      if (!options_.unknown) {
        fail(Fault::bad_file, "[tokenize] '", word.substr(begin, end - begin),
             "' is not in the vocabulary, and the Unigram model has no unk_id");
      }
      while (begin > 0 && places[begin].id == *options_.unknown) {
        begin = static_cast<std::size_t>(places[begin].from);
      }
      unknown(word.substr(begin, end - begin), ids);
      end = begin;
    }
    std::reverse(ids.begin() + first, ids.end());
  }

  // Appends the ids, the last first.
  void unknown(std::string_view text, std::vector<std::int32_t>& ids) const {
    if (const auto id = vocabulary_.find(text)) return ids.push_back(*id);
    bool all = options_.byte_fallback;
    for (const char c : text) all = all && bytes_[static_cast<unsigned char>(c)] >= 0;
    if (!all) return ids.push_back(*options_.unknown);
    for (auto c = text.rbegin(); c != text.rend(); ++c) {
      ids.push_back(bytes_[static_cast<unsigned char>(*c)]);
    }
  }

  Vocabulary vocabulary_;
  UnigramOptions options_;
  Trie trie_;
  double unknown_score_ = 0;
  std::array<std::int32_t, 256> bytes_{};  // ids of <0x00> ... <0xFF>, or -1
  mutable ScratchPool pool_;
};

}  // namespace

std::unique_ptr<Model> make_unigram(Vocabulary vocabulary, UnigramOptions options,
                                    std::string_view where) {
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(options), where);
}

std::unique_ptr<Model> make_word_piece(Vocabulary vocabulary, WordPieceOptions options,
                                       std::string_view where) {
  return std::make_unique<WordPiece>(std::move(vocabulary), std::move(options), where);
}

std::unique_ptr<Model> make_word_level(Vocabulary vocabulary, std::string unknown_token) {
  return std::make_unique<WordLevel>(std::move(vocabulary), std::move(unknown_token));
}

}  // namespace quaver::tokens
