#pragma once
// A SentencePiece model file (sentencepiece_model.proto): its content, its normalizer and its
// decoder. The models themselves are in sentencepiece_bpe.cpp and sentencepiece_unigram.cpp.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "text/charsmap.h"
#include "text/matcher.h"
#include "text/pipeline.h"

namespace quaver::tokens {

enum class PieceType {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

// What the normalizer may do to a character that begins with some byte.
enum class Change : unsigned char {
  never,
  before_others,  // an ASCII character, but only if the next one is not ASCII
  perhaps
};

struct SentencePieceModel {
  Vocabulary pieces;
  std::vector<PieceType> types;  // by id
  std::vector<float> scores;     // by id
  Matcher user_defined;
  std::array<std::int32_t, 256> byte_ids{};  // of byte pieces; -1: none
  std::int32_t unknown_id = -1, bos_id = 1, eos_id = 2;
  std::int32_t kind = 1;  // trainer_spec.model_type: 1 unigram, 2 BPE, 3 word, 4 char
  bool byte_fallback = false;
  bool space_is_suffix = false;
  std::string unknown_surface = " \xE2\x81\x87 ";

  Charsmap charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::array<Change, 256> changes{};  // by the first byte; a space counts as changed
};

SentencePieceModel read_sentencepiece(std::string_view bytes, std::string_view where);

Normalizer sentencepiece_normalizer(std::shared_ptr<const SentencePieceModel> model);
Decoder sentencepiece_decoder(std::shared_ptr<const SentencePieceModel> model);
// The models by trainer_spec.model_type.
std::unique_ptr<Model> sentencepiece_unigram(std::shared_ptr<const SentencePieceModel> model,
                                             std::string_view where);
std::unique_ptr<Model> sentencepiece_bpe(std::shared_ptr<const SentencePieceModel> model,
                                         std::string_view where);
std::unique_ptr<Model> sentencepiece_word(std::shared_ptr<const SentencePieceModel> model,
                                          std::string_view where);
std::unique_ptr<Model> sentencepiece_char(std::shared_ptr<const SentencePieceModel> model,
                                          std::string_view where);

}  // namespace quaver::tokens
