#pragma once
// The BPE model of tokenizer.json.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/pipeline.h"

namespace quaver::tokens {

struct BpeOptions {
  std::optional<std::string> unknown_token;
  std::string continuing_subword_prefix;  // before each character of a word but the first
  std::string end_of_word_suffix;         // after the last one
  bool fuse_unknown = false;              // neighbouring unknown characters become one token
  bool byte_fallback = false;             // unknown characters become tokens <0x00> ... <0xFF>
  bool ignore_merges = false;             // a word that is a token is taken whole
  bool rank_by_result = false;            // a merge's rank is its token's id, not its place
};

using MergeRule = std::pair<std::string_view, std::string_view>;

// A model with these tokens and merges, best first. Throws Error(bad_file) that begins with `where`
// if a merge names a token that the vocabulary lacks.
std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, const std::vector<MergeRule>& rules,
                                BpeOptions options, std::string_view where);

}  // namespace quaver::tokens
