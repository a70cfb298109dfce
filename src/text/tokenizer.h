#pragma once
// Text to token ids and back, exactly as the reference libraries do it: Hugging Face `tokenizers`
// for a tokenizer.json, `sentencepiece` for a tokenizer.model.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

namespace tokens {
struct DirectoryFiles;
struct Engine;
struct TextStreamState;
}  // namespace tokens

// What find() did not find, for the errors of those who need one.
inline constexpr std::string_view no_tokenizer =
    "no tokenizer.json, tokenizer.model, vocab.json with merges.txt, vocab.txt or *.tiktoken";

// Cheap to copy; every method is const and safe to call from several threads.
class Tokenizer {
 public:
  // The tokenizer of a checkpoint directory: tokenizer.json, else tokenizer.model, vocab.json with
  // merges.txt, vocab.txt, a file *.tiktoken; nullopt: none is there. Errors are those of `load`.
  static std::optional<Tokenizer> find(const std::filesystem::path& directory);
  // The file that `find` would load.
  static std::optional<std::filesystem::path> file_in(const std::filesystem::path& directory);

  // Reads a tokenizer.json, a *.tiktoken, a vocab.json or vocab.txt with the files beside it, or a
  // SentencePiece model (by the name's ending .model, else by the content); for the latter
  // tokenizer_config.json beside it may say add_bos_token, add_eos_token, bos_token and eos_token.
  // Throws Error: io, bad_file, unsupported.
  static Tokenizer load(const std::filesystem::path& file);

  // Reads a tokenizer file's bytes; `where` stands in the messages. `config` is
  // the text of tokenizer_config.json, or empty; only SentencePiece models look at it.
  static Tokenizer parse_json(std::string_view bytes, std::string_view where);
  static Tokenizer parse_sentencepiece(std::string_view bytes, std::string_view where,
                                       std::string_view config = {});

  // vocab.json with merges.txt or vocab.txt, and what stands beside them (engine.h).
  static Tokenizer parse_vocabulary(const tokens::DirectoryFiles& files, std::string_view where);

  // A tiktoken rank file: the name at the end of `where` or the number of ranks tells its pattern.
  static Tokenizer parse_tiktoken(std::string_view bytes, std::string_view where);

  // Ids of UTF-8 text; each maximal ill-formed subpart counts as U+FFFD. Strings of added tokens
  // (tokenizer.json) and of user-defined symbols (SentencePiece) that stand in the text become
  // these tokens. `add_special_tokens` adds what the file's post-processor does, or for a
  // SentencePiece model what transformers' LlamaTokenizer does: BOS unless the config says no.
  // Truncation and padding settings of the file are not applied.
  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens) const;

  // Text of ids; ids without a token are passed over. `skip_special_tokens` leaves the special
  // added tokens out; SentencePiece models never show control symbols.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const;

  std::int64_t vocab_size() const;  // largest id + 1, added tokens included
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(std::int32_t id) const;

 private:
  friend class TextStream;
  explicit Tokenizer(std::shared_ptr<const tokens::Engine> engine) : engine_(std::move(engine)) {}
  std::shared_ptr<const tokens::Engine> engine_;
};

// Decodes ids one at a time. The texts that `push` and `finish` return, joined, equal `decode` of
// all ids; each is whole UTF-8 characters, and none is taken back later.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, bool skip_special_tokens);
  ~TextStream();
  TextStream(TextStream&&) noexcept;
  TextStream& operator=(TextStream&&) noexcept;

  std::string push(std::int32_t id);  // the text that has become final
  std::string finish();               // the rest; the stream is then as new

 private:
  std::unique_ptr<tokens::TextStreamState> state_;
};

}  // namespace quaver
