#pragma once
// The models of tokenizer.json that look words up: Unigram, WordPiece, WordLevel.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/pipeline.h"

namespace quaver::tokens {

struct UnigramOptions {
  std::vector<double> scores;           // by id: logarithms of probabilities
  std::optional<std::int32_t> unknown;  // below the number of scores
  bool byte_fallback = false;
};
std::unique_ptr<Model> make_unigram(Vocabulary vocabulary, UnigramOptions options,
                                    std::string_view where);

struct WordPieceOptions {
  std::string unknown_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  std::int64_t max_input_chars_per_word = 100;
};
std::unique_ptr<Model> make_word_piece(Vocabulary vocabulary, WordPieceOptions options,
                                       std::string_view where);

std::unique_ptr<Model> make_word_level(Vocabulary vocabulary, std::string unknown_token);

}  // namespace quaver::tokens
