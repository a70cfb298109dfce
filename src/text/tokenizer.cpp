#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "core/file.h"
#include "text/engine.h"
#include "text/utf8.h"

namespace quaver {

using tokens::Engine;
using tokens::Mark;
using tokens::TokenSink;
using tokens::Words;

namespace {

// The token's string: an added token's, or the model's.
std::optional<std::string_view> token_of(const Engine& engine, std::int32_t id) {
  if (const auto* added = engine.added.token(id)) return added->shown;
  return engine.model->vocabulary().token(id);
}

void pass_token(const Engine& engine, std::int32_t id, bool skip_special, const TokenSink& sink) {
  const auto token = token_of(engine, id);
  if (!token || (skip_special && engine.added.is_special(*token))) return;
  sink(*token, Mark::part);
  sink({}, Mark::token_end);
}

}  // namespace

std::optional<std::filesystem::path> Tokenizer::file_in(const std::filesystem::path& directory) {
  using std::filesystem::exists;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}) {
    if (name == std::string_view("vocab.json") && !exists(directory / "merges.txt")) continue;
    if (exists(directory / name)) return directory / name;
  }
  std::vector<std::filesystem::path> ranks;
  if (std::filesystem::is_directory(directory)) {
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (entry.path().extension() == ".tiktoken") ranks.push_back(entry.path());
    }
  }
  if (ranks.empty()) return std::nullopt;
  return *std::min_element(ranks.begin(), ranks.end());
}

std::optional<Tokenizer> Tokenizer::find(const std::filesystem::path& directory) {
  const auto file = file_in(directory);
  if (!file) return std::nullopt;
  return load(*file);
}

Tokenizer Tokenizer::load(const std::filesystem::path& file) {
  std::string bytes = read_file(file, tokens::largest_tokenizer_file);
  const std::filesystem::path directory = file.parent_path();
  const auto beside = [&](const char* name) -> std::string {
    if (!std::filesystem::exists(directory / name)) return {};
    return read_file(directory / name, tokens::largest_tokenizer_file);
  };
  if (file.extension() == ".tiktoken") return parse_tiktoken(bytes, file.string());
  const bool list = file.filename() == "vocab.txt";
  if (list || file.filename() == "vocab.json") {
    const tokens::DirectoryFiles files{.list = list,
                                       .vocabulary = std::move(bytes),
                                       .merges = beside("merges.txt"),
                                       .config = beside("tokenizer_config.json"),
                                       .special_tokens_map = beside("special_tokens_map.json"),
                                       .added_tokens = beside("added_tokens.json"),
                                       .model = beside("config.json")};
    return parse_vocabulary(files, file.string());
  }
  const std::size_t first = bytes.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  const bool json = first != std::string::npos && bytes[first] == '{';
  if (file.extension() != ".model" && json) return parse_json(bytes, file.string());
  ensure_file(file.extension() != ".json", file.string(), ": not a JSON object");
  return parse_sentencepiece(bytes, file.string(), beside("tokenizer_config.json"));
}

Tokenizer Tokenizer::parse_json(std::string_view bytes, std::string_view where) {
  return Tokenizer(tokens::read_tokenizer_json(bytes, where));
}

Tokenizer Tokenizer::parse_sentencepiece(std::string_view bytes, std::string_view where,
                                         std::string_view config) {
  return Tokenizer(tokens::read_sentencepiece_model(bytes, where, config));
}

Tokenizer Tokenizer::parse_vocabulary(const tokens::DirectoryFiles& files, std::string_view where) {
  return Tokenizer(tokens::read_vocabulary_files(files, where));
}

Tokenizer Tokenizer::parse_tiktoken(std::string_view bytes, std::string_view where) {
  return Tokenizer(tokens::read_tiktoken(bytes, where));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  const Engine& engine = *engine_;
  std::string repaired;
  if (!tokens::is_valid_utf8(text)) text = repaired = tokens::replaced_invalid(text);
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 3);
  const auto add = [&](std::int32_t id) { ids.push_back(id); };
  const char* begin = text.data();
  engine.added.split(
      text, false,
      [&](std::string_view gap) {
        bool at_start = gap.data() == begin;
        std::string normalized(gap);
        if (engine.normalizer) engine.normalizer(normalized);
        const char* normalized_begin = normalized.data();
        engine.added.split(
            normalized, true,
            [&](std::string_view piece) {
              Words words{std::string(piece),
                          {{0, piece.size()}},
                          at_start && piece.data() == normalized_begin,
                          false};
              if (engine.pre_tokenizer) engine.pre_tokenizer(words);
              engine.model->tokenize(words, ids);
            },
            add);
      },
      add);
  if (add_special_tokens && engine.post_processor) engine.post_processor(ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  std::string text;
  const TokenSink sink = engine_->decoder([&text](std::string_view part, Mark) { text += part; });
  for (const std::int32_t id : ids) pass_token(*engine_, id, skip_special_tokens, sink);
  sink({}, Mark::finish);
  return text;
}

std::int64_t Tokenizer::vocab_size() const {
  return std::max(engine_->model->vocabulary().size(), engine_->added.size());
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const auto id = engine_->added.find(token)) return id;
  return engine_->model->vocabulary().find(token);
}

std::optional<std::string> Tokenizer::id_to_token(std::int32_t id) const {
  if (const auto token = token_of(*engine_, id)) return std::string(*token);
  return std::nullopt;
}

struct tokens::TextStreamState {
  std::shared_ptr<const Engine> engine;
  bool skip_special = false;
  std::string ready;  // final, not yet returned
  TokenSink sink;

  void start() {
    sink = engine->decoder([this](std::string_view part, Mark) { ready += part; });
  }
};

TextStream::TextStream(const Tokenizer& tokenizer, bool skip_special_tokens)
    : state_(std::make_unique<tokens::TextStreamState>()) {
  state_->engine = tokenizer.engine_;
  state_->skip_special = skip_special_tokens;
  state_->start();
}
TextStream::~TextStream() = default;
TextStream::TextStream(TextStream&&) noexcept = default;
TextStream& TextStream::operator=(TextStream&&) noexcept = default;

std::string TextStream::push(std::int32_t id) {
  pass_token(*state_->engine, id, state_->skip_special, state_->sink);
  return std::exchange(state_->ready, {});
}

std::string TextStream::finish() {
  state_->sink({}, Mark::finish);
  state_->start();
  return std::exchange(state_->ready, {});
}

}  // namespace quaver
