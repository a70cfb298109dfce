// SentencePiece's BPE: neighbours merge if their joined text is a piece, the best score first, the
// leftmost among equals (bpe_model.cc). Here the pieces' possible halves are listed once, and the
// merging is that of merges.h.
#include <algorithm>
#include <numeric>

#include "text/merges.h"
#include "text/sentencepiece.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

class SentencePieceBpe final : public Model {
 public:
  SentencePieceBpe(std::shared_ptr<const SentencePieceModel> model, std::string_view where)
      : model_(std::move(model)) {
    list_merges(where);
  }

  const Vocabulary& vocabulary() const override { return model_->pieces; }

  void tokenize(const Words& words, std::vector<std::int32_t>& ids) const override {
    ScratchPool::Lease lease(pool_);
    MergeScratch& scratch = *lease;
    scratch.keep_splits = has_unused_;
    scratch.splits.clear();
    Output out{ids, ids.size()};
    for (const Span span : words.spans) {
      const std::string_view text =
          std::string_view(words.text).substr(span.begin, span.end - span.begin);
      std::size_t begin = 0;
      while (cuts_ && begin < text.size()) {
        std::size_t end = begin;
        while (text.substr(end, space_mark.size()) == space_mark) end += space_mark.size();
        end = text.find(space_mark, end);
        if (end == std::string_view::npos) break;
        take(text.substr(begin, end - begin), scratch, out);
        begin = end;
      }
      if (begin < text.size()) take(text.substr(begin), scratch, out);
    }
  }

 private:
  struct Output {
    std::vector<std::int32_t>& ids;
    std::size_t base;  // where this text's ids begin
  };

  bool mergeable(std::int32_t id) const {
    const PieceType type = model_->types[static_cast<std::size_t>(id)];
    return type == PieceType::normal || type == PieceType::unused;
  }

  // The symbol of one half of a piece, -1 if it cannot be one. Any single character can: those that
  // are no pieces get symbols beyond the pieces' ids.
  std::int32_t half(std::string_view text) {
    const bool character = character_length(text[0]) == static_cast<int>(text.size());
    if (const auto id = model_->pieces.find(text)) {
      const PieceType type = model_->types[static_cast<std::size_t>(*id)];
      if (mergeable(*id) || (character && type != PieceType::user_defined)) return *id;
      return -1;
    }
    if (!character) return -1;
    if (const auto id = extra_.find(text)) return *id + first_extra_;
    const auto id = static_cast<std::int32_t>(extra_.count());
    extra_.add(text, id);
    return id + first_extra_;
  }

  void list_merges(std::string_view where) {
    const auto count = static_cast<std::int32_t>(model_->types.size());
    first_extra_ = count;
    std::vector<std::int32_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    const auto score = [&](std::int32_t id) {
      return model_->scores[static_cast<std::size_t>(id)];
    };
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return score(a) != score(b) ? score(a) > score(b) : a < b;
    });
    std::uint32_t rank = 0;
    std::size_t work = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::int32_t id = order[i];
      if (i > 0 && score(id) != score(order[i - 1])) ++rank;
      const std::string_view piece = *model_->pieces.token(id);
      cuts_ = cuts_ && !spans_word_boundary(piece);
      has_unused_ = has_unused_ || model_->types[static_cast<std::size_t>(id)] == PieceType::unused;
      if (!mergeable(id)) continue;
      work += piece.size() * piece.size();
      ensure_file(work <= most_bytes_hashed, where, ": the pieces are too long in all");
      for (std::size_t at = static_cast<std::size_t>(character_length(piece[0])); at < piece.size();
           at += static_cast<std::size_t>(character_length(piece[at]))) {
        const std::int32_t left = half(piece.substr(0, at));
        if (left < 0) continue;
        const std::int32_t right = half(piece.substr(at));
        if (right >= 0) merges_.set(left, right, {rank, id});
      }
    }
    cuts_ = cuts_ && !has_unused_;
  }

  void push(std::int32_t id, const Output& out) const {
    // Neighbouring unknown pieces are one.
    if (id == model_->unknown_id && out.ids.size() > out.base && out.ids.back() == id) return;
    out.ids.push_back(id);
  }

  void take(std::string_view word, MergeScratch& scratch, const Output& out) const {
    if (!has_unused_) {
      if (const auto known = scratch.recall(word)) {
        for (const std::int32_t id : *known) push(id, out);
        return;
      }
    }
    std::vector<std::int32_t> ids;
    scratch.symbols.clear();
    for (std::size_t at = 0; at < word.size();) {
      if (const auto symbol = model_->user_defined.at(word, at)) {
        flush(scratch, ids);  // it merges with nothing
        ids.push_back(symbol->value);
        at = symbol->end;
        continue;
      }
      const auto length = static_cast<std::size_t>(character_length(word[at]));
      const std::string_view character = word.substr(at, length);
      at += length;
      if (const auto id = model_->pieces.find(character)) {
        scratch.symbols.push_back(*id);
      } else if (const auto extra = extra_.find(character)) {
        scratch.symbols.push_back(*extra + first_extra_);
      } else {
        flush(scratch, ids);
        unknown(character, ids);
      }
    }
    flush(scratch, ids);
    if (!has_unused_) scratch.remember(word, ids);
    for (const std::int32_t id : ids) push(id, out);
  }

  // Merges scratch.symbols and moves them to `ids`.
  void flush(MergeScratch& scratch, std::vector<std::int32_t>& ids) const {
    if (scratch.symbols.empty()) return;
    merge_symbols(scratch, merges_);
    for (const std::int32_t symbol : scratch.symbols) resolve(symbol, scratch, ids);
    scratch.symbols.clear();
  }

  // Unused pieces fall apart into what they were merged from.
  void resolve(std::int32_t symbol, const MergeScratch& scratch,
               std::vector<std::int32_t>& ids) const {
    if (symbol >= first_extra_) return unknown(*extra_.token(symbol - first_extra_), ids);
    const PieceType type = model_->types[static_cast<std::size_t>(symbol)];
    if (type == PieceType::unused) {
      const auto split = scratch.splits.find(symbol);
      if (split != scratch.splits.end()) {
        resolve(split->second.first, scratch, ids);
        return resolve(split->second.second, scratch, ids);
      }
    }
    if (type == PieceType::unknown) return unknown(*model_->pieces.token(symbol), ids);
    ids.push_back(symbol);
  }

  void unknown(std::string_view text, std::vector<std::int32_t>& ids) const {
    if (!model_->byte_fallback) return ids.push_back(model_->unknown_id);
    for (const char c : text) {
      ids.push_back(model_->byte_ids[static_cast<unsigned char>(c)]);
    }
  }

  std::shared_ptr<const SentencePieceModel> model_;
  MergeTable merges_;
  Vocabulary extra_;              // characters of pieces that are no pieces themselves
  std::int32_t first_extra_ = 0;  // symbol of extra_'s id 0
  bool cuts_ = true;              // no piece crosses the boundary before a space mark
  bool has_unused_ = false;
  mutable ScratchPool pool_;
};

}  // namespace

std::unique_ptr<Model> sentencepiece_bpe(std::shared_ptr<const SentencePieceModel> model,
                                         std::string_view where) {
  return std::make_unique<SentencePieceBpe>(std::move(model), where);
}

}  // namespace quaver::tokens
