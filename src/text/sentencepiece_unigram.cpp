// SentencePiece's models besides BPE: unigram (unigram_model.cc, its optimized encoder, Kudo 2018,
// arXiv:1804.10959), word and char.
#include <algorithm>
#include <limits>

#include "text/sentencepiece.h"
#include "text/trie.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

constexpr float unknown_penalty = 10.0F;  // below the worst score
constexpr float largest_score = 100000.0F;

// Appends ids of one text's pieces, neighbouring unknown ones as one or all as bytes.
class PieceWriter {
 public:
  PieceWriter(const SentencePieceModel& model, std::vector<std::int32_t>& ids)
      : model_(model), ids_(ids) {}

  void add(std::int32_t id, std::string_view piece) {
    const bool unknown = id == model_.unknown_id;
    if (unknown && model_.byte_fallback) {
      for (const char c : piece) ids_.push_back(model_.byte_ids[static_cast<unsigned char>(c)]);
    } else if (!unknown || !after_unknown_) {
      ids_.push_back(id);
    }
    after_unknown_ = unknown;
  }

 private:
  const SentencePieceModel& model_;
  std::vector<std::int32_t>& ids_;
  bool after_unknown_ = false;
};

// The best path, in floats and in the order of the reference's sums, so that ties fall the same
// way.
class SentencePieceUnigram final : public Model {
 public:
  SentencePieceUnigram(std::shared_ptr<const SentencePieceModel> model, std::string_view where)
      : model_(std::move(model)) {
    float worst = std::numeric_limits<float>::max();
    std::vector<Trie::Entry> entries;
    for (std::size_t i = 0; i < model_->types.size(); ++i) {
      const PieceType type = model_->types[i];
      const auto id = static_cast<std::int32_t>(i);
      if (type == PieceType::normal) {
        worst = std::min(worst, model_->scores[i]);
      }
      if (type == PieceType::normal || type == PieceType::user_defined) {
        entries.emplace_back(*model_->pieces.token(id), id);
      }
      scores_.push_back(score_of(id, model_->pieces.token(id)->size()));
    }
    trie_ = Trie(std::move(entries), where);
    unknown_score_ = worst - unknown_penalty;
  }

  const Vocabulary& vocabulary() const override { return model_->pieces; }

  void tokenize(const Words& words, std::vector<std::int32_t>& ids) const override {
    std::vector<Place> places;
    std::vector<std::pair<std::int32_t, std::string_view>> path;
    for (const Span span : words.spans) {
      const auto text = std::string_view(words.text).substr(span.begin, span.end - span.begin);
      find_best_path(text, places);
      path.clear();
      for (std::size_t end = text.size(); end > 0;) {
        const auto begin = static_cast<std::size_t>(places[end].from);
        path.emplace_back(places[end].id, text.substr(begin, end - begin));
        end = begin;
      }
      PieceWriter writer(*model_, ids);
      for (auto piece = path.rbegin(); piece != path.rend(); ++piece) {
        writer.add(piece->first, piece->second);
      }
    }
  }

 private:
  // The best path to a place in the text.
  struct Place {
    float score = 0;
    std::int32_t from = -1;  // -1: no path yet
    std::int32_t id = -1;
  };

  // User-defined pieces get more than any other piece could.
  float score_of(std::int32_t id, std::size_t length) const {
    const auto place = static_cast<std::size_t>(id);
    if (model_->types[place] != PieceType::user_defined) return model_->scores[place];
    return static_cast<float>(0.1 * static_cast<double>(length - 1));
  }

  // Scores of long texts are counted anew from `at` on before they lose their precision.
  static void count_anew(std::size_t at, std::size_t furthest, std::vector<Place>& places) {
    const float offset = places[at].score;
    if (!(offset < -largest_score || offset > largest_score)) return;
    for (std::size_t i = at; i <= furthest; ++i) {
      if (i == at || places[i].from >= 0) places[i].score -= offset;
    }
    places[at].score = 0;
  }

  void find_best_path(std::string_view text, std::vector<Place>& places) const {
    places.assign(text.size() + 1, {});
    std::size_t furthest = 0;  // no path goes beyond it yet
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t after = at + static_cast<std::size_t>(character_length(text[at]));
      count_anew(at, furthest, places);
      const float here = places[at].score;
      const auto reach = [&](std::size_t end, float score, std::int32_t id) {
        furthest = std::max(furthest, end);
        Place& place = places[end];
        if (place.from >= 0 && !(score > place.score)) return;
        place = {score, static_cast<std::int32_t>(at), id};
      };
      bool has_single = false;
      Trie::Node node = 0;
      for (std::size_t end = at; end < text.size();) {
        node = trie_.next(node, text[end++]);
        if (node == Trie::dead) break;
        const std::int32_t id = trie_.value(node);
        if (id == Trie::none) continue;
        reach(end, scores_[static_cast<std::size_t>(id)] + here, id);
        has_single = has_single || end == after;
      }
      if (!has_single) reach(after, unknown_score_ + here, model_->unknown_id);
      at = after;
    }
  }

  std::shared_ptr<const SentencePieceModel> model_;
  Trie trie_;
  std::vector<float> scores_;  // by id
  float unknown_score_ = 0;
};

// Whole words, or single characters and user-defined symbols.
class SentencePieceParts final : public Model {
 public:
  using End = std::size_t (*)(const SentencePieceModel& model, std::string_view text);

  SentencePieceParts(std::shared_ptr<const SentencePieceModel> model, End end)
      : model_(std::move(model)), end_(end) {}

  const Vocabulary& vocabulary() const override { return model_->pieces; }

  void tokenize(const Words& words, std::vector<std::int32_t>& ids) const override {
    for (const Span span : words.spans) {
      PieceWriter writer(*model_, ids);
      auto text = std::string_view(words.text).substr(span.begin, span.end - span.begin);
      while (!text.empty()) {
        const std::string_view piece = text.substr(0, end_(*model_, text));
        writer.add(id_of(piece), piece);
        text.remove_prefix(piece.size());
      }
    }
  }

 private:
  // Control symbols, bytes and unused pieces are not found in text.
  std::int32_t id_of(std::string_view piece) const {
    const std::int32_t id = model_->pieces.find(piece).value_or(model_->unknown_id);
    const PieceType type = model_->types[static_cast<std::size_t>(id)];
    const bool normal = type == PieceType::normal || type == PieceType::user_defined;
    return normal ? id : model_->unknown_id;
  }

  std::shared_ptr<const SentencePieceModel> model_;
  End end_;  // of the first part of a text that is not empty
};

}  // namespace

std::unique_ptr<Model> sentencepiece_unigram(std::shared_ptr<const SentencePieceModel> model,
                                             std::string_view where) {
  return std::make_unique<SentencePieceUnigram>(std::move(model), where);
}

std::unique_ptr<Model> sentencepiece_word(std::shared_ptr<const SentencePieceModel> model,
                                          std::string_view) {
  return std::make_unique<SentencePieceParts>(
      std::move(model), [](const SentencePieceModel&, std::string_view text) {
        return std::min(text.find(space_mark, 1), text.size());
      });
}

std::unique_ptr<Model> sentencepiece_char(std::shared_ptr<const SentencePieceModel> model,
                                          std::string_view) {
  return std::make_unique<SentencePieceParts>(
      std::move(model), [](const SentencePieceModel& given, std::string_view text) {
        if (const auto symbol = given.user_defined.at(text, 0)) return symbol->end;
        return static_cast<std::size_t>(character_length(text[0]));
      });
}

}  // namespace quaver::tokens
