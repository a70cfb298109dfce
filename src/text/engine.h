#pragma once
// A loaded tokenizer: its stages in their order. Built by one reader for each kind of file.
#include <memory>
#include <string_view>

#include "text/added_tokens.h"
#include "text/pipeline.h"

namespace quaver::tokens {

struct Engine {
  AddedTokens added;
  Normalizer normalizer;         // null: none
  PreTokenizer pre_tokenizer;    // null: none
  std::unique_ptr<Model> model;  // never null
  PostProcessor post_processor;  // null: adds nothing
  Decoder decoder;               // never null
};

constexpr std::size_t largest_tokenizer_file = std::size_t{1} << 28;  // bytes

// Readers of tokenizer files. They throw Error(bad_file | unsupported) that begins with `where`.
std::shared_ptr<const Engine> read_tokenizer_json(std::string_view bytes, std::string_view where);
// `config`: the text of tokenizer_config.json, or empty.
std::shared_ptr<const Engine> read_sentencepiece_model(std::string_view bytes,
                                                       std::string_view where,
                                                       std::string_view config);

// A tiktoken rank file; the name at the end of `where` tells Qwen's, o200k's and others' apart.
std::shared_ptr<const Engine> read_tiktoken(std::string_view bytes, std::string_view where);

// The contents of the files of a directory; empty: the file is not there.
struct DirectoryFiles {
  bool list = false;       // vocab.txt (BERT's form), not vocab.json and merges.txt (GPT-2's)
  std::string vocabulary;  // vocab.json or vocab.txt
  std::string merges;      // merges.txt
  std::string config;      // tokenizer_config.json
  std::string special_tokens_map, added_tokens;  // .json
  std::string model;                             // config.json
};
std::shared_ptr<const Engine> read_vocabulary_files(const DirectoryFiles& files,
                                                    std::string_view where);

}  // namespace quaver::tokens
