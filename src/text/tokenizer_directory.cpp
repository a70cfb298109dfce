// Tokenizers that are several files: vocab.json and merges.txt (GPT-2's form) or vocab.txt
// (BERT's), with tokenizer_config.json, special_tokens_map.json and added_tokens.json beside them.
// They are written out as one tokenizer.json and read as that. Which tokens are added, and in which
// order those that the vocabulary lacks get ids behind it, follows transformers 5 (_from_pretrained
// and TokenizersBackend).
#include <algorithm>
#include <array>
#include <unordered_map>

#include "text/engine.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

// The special tokens of a configuration, in the order in which they are added.
constexpr std::array<const char*, 7> special_keys = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

// What the classes of transformers differ in.
struct Family {
  std::string_view tokenizer_class;     // how the class's name begins
  std::string_view model_type;          // how the model's type begins, where no class is named
  std::array<const char*, 7> specials;  // by special_keys, where the files say nothing; null: none
  bool nfc = false;
  std::string_view regex = {};  // empty: GPT-2's
};
constexpr const char* end_of_text = "<|endoftext|>";
constexpr Family bert = {"Bert", "bert", {0, 0, "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}};
constexpr Family gpt2 = {"GPT2", "gpt2", {end_of_text, end_of_text, end_of_text}};
constexpr Family families[] = {
    {"Roberta", "roberta", {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"}},
    {"GPTNeoXTokenizer",
     "gpt_neox",
     {end_of_text, end_of_text, end_of_text, nullptr, "<|padding|>"},
     true},
    {"Qwen3_5",
     "qwen3_5",
     {nullptr, end_of_text, end_of_text, nullptr, end_of_text},
     true,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
     R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"Qwen",
     "qwen",
     {nullptr, end_of_text, end_of_text, nullptr, end_of_text},
     true,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"},
};

Json object_or_empty(std::string_view bytes, std::string_view where, const char* name) {
  if (bytes.empty()) return Json::object();
  const std::string place = text(where, " (", name, ")");
  Json json = parse_json(bytes, place);
  ensure_file(json.is_object(), place, ": not a JSON object");
  return json;
}

// The files around the vocabulary.
struct Configs {
  Json config, added, model;
  Json decoder = Json::object();  // added_tokens_decoder: where it is, the older files do not count

  Configs(const DirectoryFiles& files, std::string_view where)
      : config(object_or_empty(files.config, where, "tokenizer_config.json")),
        added(object_or_empty(files.added_tokens, where, "added_tokens.json")),
        model(object_or_empty(files.model, where, "config.json")) {
    const Json older = object_or_empty(files.special_tokens_map, where, "special_tokens_map.json");
    if (config.contains("added_tokens_decoder")) {
      decoder = config["added_tokens_decoder"];
      ensure_file(decoder.is_object(), where, ": added_tokens_decoder is not an object");
      added = Json::object();
    } else {
      config.update(older);
    }
  }

  Family family(std::string_view where) const {
    const std::string name = json_string(config, "tokenizer_class", where, "");
    const std::string type =
        name.empty() ? json_string(model, "model_type", where, "") : std::string();
    for (const Family& row : families) {
      if (name.rfind(row.tokenizer_class, 0) == 0 || type.rfind(row.model_type, 0) == 0) return row;
    }
    return gpt2;
  }
};

// A token as "..." or as {"content": "...", ...}, as an entry of added_tokens.
Json entry_of(const Json& token, std::string_view where, const char* key) {
  Json entry = token.is_string() ? Json{{"content", token}} : token;
  ensure_file(entry.is_object(), where, ": ", key, " is neither a string nor an object");
  entry["content"] = json_string(entry, "content", where);
  entry["normalized"] = json_bool(entry, "normalized", where, false);
  entry["special"] = true;
  return entry;
}

// The special token `special_keys[index]`; null: there is none.
Json special_token(const Configs& configs, const Family& family, std::size_t index,
                   std::string_view where) {
  const char* key = special_keys[index];
  if (configs.config.contains(key)) {
    const Json& given = configs.config[key];
    return given.is_null() ? given : entry_of(given, where, key);
  }
  if (family.specials[index] == nullptr) return nullptr;
  return entry_of(family.specials[index], where, key);
}

// The content of the special token `key`; nullopt: there is none.
std::optional<std::string> named(const Configs& configs, const Family& family, std::string_view key,
                                 std::string_view where) {
  const auto index = static_cast<std::size_t>(
      std::find(special_keys.begin(), special_keys.end(), key) - special_keys.begin());
  const Json token = special_token(configs, family, index, where);
  if (token.is_null()) return std::nullopt;
  return token["content"].get<std::string>();
}

// Tokens in the order in which transformers adds them, once each.
class TokenList {
 public:
  TokenList(const Json& vocabulary, std::string_view where)
      : vocabulary_(vocabulary),
        next_(static_cast<std::int64_t>(vocabulary.size())),
        where_(where) {}

  // A token that was there before becomes a special one at most.
  void add(Json token) {
    const std::string content = json_string(token, "content", where_);
    const bool special = json_bool(token, "special", where_, false);
    const auto [place, first] = places_.emplace(content, list_.size());
    if (!first) {
      if (special) list_[place->second]["special"] = true;
      return;
    }
    const bool fresh = !vocabulary_.contains(content);
    token["id"] = fresh ? Json(next_) : vocabulary_[content];
    next_ += fresh;
    list_.push_back(std::move(token));
  }
  void add_all(std::vector<std::pair<std::int64_t, Json>> tokens) {
    std::stable_sort(tokens.begin(), tokens.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [id, token] : tokens) add(std::move(token));
  }
  Json list() const { return list_; }

 private:
  const Json& vocabulary_;
  Json list_ = Json::array();
  std::unordered_map<std::string, std::size_t> places_;  // in list_, by content
  std::int64_t next_;
  std::string_view where_;
};

// The tokens that the files number.
std::vector<std::pair<std::int64_t, Json>> numbered_tokens(const Configs& configs,
                                                           std::string_view where) {
  std::vector<std::pair<std::int64_t, Json>> tokens;
  for (const auto& [id, token] : configs.decoder.items()) {
    ensure_file(token.is_object() && id.size() <= 8 && !id.empty() &&
                    id.find_first_not_of("0123456789") == std::string::npos,
                where, ": added_tokens_decoder has no token at '", id, "'");
    tokens.emplace_back(std::stoll(id), token);
  }
  for (const auto& [content, id] : configs.added.items()) {
    bool special = false;
    for (const char* key : special_keys) {
      const Json& named = configs.config.contains(key) ? configs.config[key] : Json();
      special = special || (!named.is_null() && entry_of(named, where, key)["content"] == content);
    }
    const Json token = {{"content", content}, {"normalized", !special}, {"special", special}};
    tokens.emplace_back(json_int(configs.added, content.c_str(), where), token);
  }
  return tokens;
}

Json added_tokens(const Configs& configs, const Family& family, const Json& vocabulary,
                  std::string_view where) {
  TokenList tokens(vocabulary, where);
  tokens.add_all(numbered_tokens(configs, where));
  for (std::size_t i = 0; i < special_keys.size(); ++i) {
    Json token = special_token(configs, family, i, where);
    if (!token.is_null()) tokens.add(std::move(token));
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!configs.config.contains(key) || configs.config[key].is_null()) continue;
    const Json& more = configs.config[key];
    ensure_file(more.is_array() || more.is_object(), where, ": ", key, " is not a list");
    for (const Json& token : more) tokens.add(entry_of(token, where, key));
  }
  return tokens.list();
}

std::vector<std::string> lines_of(std::string_view file, std::string_view where) {
  ensure_file(is_valid_utf8(file), where, ": not UTF-8");
  std::vector<std::string> lines;
  while (!file.empty()) {
    const std::size_t end = std::min(file.find('\n'), file.size());
    std::string_view line = file.substr(0, end);
    file.remove_prefix(std::min(end + 1, file.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}

Json template_of(const std::optional<std::string>& before, const std::optional<std::string>& after,
                 const Json& ids) {
  Json single = Json::array(), special = Json::object();
  const auto add = [&](const std::optional<std::string>& token) {
    if (!token || !ids.contains(*token)) return;
    single.push_back({{"SpecialToken", {{"id", *token}, {"type_id", 0}}}});
    special[*token] = {{"id", *token}, {"ids", Json::array({ids[*token]})}};
  };
  add(before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(after);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", special}};
}

// Ids of the vocabulary and of the added tokens.
Json all_ids(const Json& vocabulary, const Json& added) {
  Json ids = vocabulary;
  for (const Json& token : added) ids[token["content"].get<std::string>()] = token["id"];
  return ids;
}

// Byte-level words: by GPT-2's pattern or by the family's own.
Json words_of(const Family& family, bool prefix) {
  const Json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"use_regex", family.regex.empty()}};
  if (family.regex.empty()) return bytes;
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", std::string(family.regex)}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}};
}

Json merges_of(std::string_view file, std::string_view where) {
  Json merges = Json::array();
  for (std::string& line : lines_of(file, where)) {
    if (!line.empty() && line.rfind("#version", 0) != 0) merges.push_back(std::move(line));
  }
  return merges;
}

Json vocabulary_and_merges(const DirectoryFiles& files, std::string_view where) {
  const Configs configs(files, where);
  const Family family = configs.family(where);
  const Json vocabulary = object_or_empty(files.vocabulary, where, "vocab.json");
  const bool prefix = json_bool(configs.config, "add_prefix_space", where, false);
  Json document = {{"model",
                    {{"type", "BPE"},
                     {"vocab", vocabulary},
                     {"merges", merges_of(files.merges, text(where, " (merges.txt)"))}}},
                   {"pre_tokenizer", words_of(family, prefix)},
                   {"decoder", {{"type", "ByteLevel"}}}};
  if (family.nfc) document["normalizer"] = {{"type", "NFC"}};
  document["added_tokens"] = added_tokens(configs, family, vocabulary, where);
  const bool around = family.tokenizer_class == "Roberta";
  const auto token = [&](const char* asked, const char* key) {
    const bool wanted = around || json_bool(configs.config, asked, where, false);
    return wanted ? named(configs, family, key, where) : std::nullopt;
  };
  document["post_processor"] =
      template_of(token("add_bos_token", around ? "cls_token" : "bos_token"),
                  token("add_eos_token", around ? "sep_token" : "eos_token"),
                  all_ids(vocabulary, document["added_tokens"]));
  return document;
}

Json vocabulary_list(const DirectoryFiles& files, std::string_view where) {
  const Configs configs(files, where);
  Json vocabulary = Json::object();
  std::int32_t next = 0;
  for (std::string& line : lines_of(files.vocabulary, where)) {
    while (!line.empty() && (classes_at(line, character_before(line, line.size())) & strip_space)) {
      line.resize(character_before(line, line.size()));  // the library trims the end
    }
    vocabulary[line] = next++;
  }
  ensure_file(!vocabulary.empty(), where, ": the vocabulary is empty");
  const bool lower = json_bool(configs.config, "do_lower_case", where, true);
  Json document = {
      {"model",
       {{"type", "WordPiece"},
        {"vocab", vocabulary},
        {"unk_token", named(configs, bert, "unk_token", where).value_or("[UNK]")}}},
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", true},
        {"handle_chinese_chars", json_bool(configs.config, "tokenize_chinese_chars", where, true)},
        {"lowercase", lower},
        {"strip_accents", json_bool(configs.config, "strip_accents", where, lower)}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"decoder", {{"type", "WordPiece"}}}};
  document["added_tokens"] = added_tokens(configs, bert, vocabulary, where);
  document["post_processor"] = template_of(named(configs, bert, "cls_token", where),
                                           named(configs, bert, "sep_token", where),
                                           all_ids(vocabulary, document["added_tokens"]));
  return document;
}

}  // namespace

std::shared_ptr<const Engine> read_vocabulary_files(const DirectoryFiles& files,
                                                    std::string_view where) {
  const Json document =
      files.list ? vocabulary_list(files, where) : vocabulary_and_merges(files, where);
  return read_tokenizer_json(document.dump(), where);
}

}  // namespace quaver::tokens
