// Tokenizers that are several files: vocab.json and merges.txt (GPT-2's form) or vocab.txt
// (BERT's), with tokenizer_config.json, special_tokens_map.json and added_tokens.json beside them.
// They are written out as one tokenizer.json and read as that.
#include <algorithm>

#include "text/engine.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

Json object_or_empty(std::string_view bytes, std::string_view where, const char* name) {
  if (bytes.empty()) return Json::object();
  const std::string place = text(where, " (", name, ")");
  Json json = parse_json(bytes, place);
  ensure_file(json.is_object(), place, ": not a JSON object");
  return json;
}

// A token as "..." or as {"content": "..."}; nullopt: null or absent.
std::optional<std::string> content_of(const Json& object, const char* key, std::string_view where) {
  if (!object.contains(key) || object[key].is_null()) return std::nullopt;
  const Json& value = object[key];
  if (value.is_string()) return value.get<std::string>();
  ensure_file(value.is_object(), where, ": ", key, " is neither a string nor an object");
  return json_string(value, "content", where);
}

struct Configs {
  Json config, special, added;
};

void add_token(Json& list, const Json& vocabulary, Json token, std::string_view where) {
  const std::string content = json_string(token, "content", where);
  for (const Json& known : list) {
    if (known["content"] == content) return;
  }
  if (!token.contains("id")) {
    if (!vocabulary.contains(content)) return;
    token["id"] = vocabulary[content];
  }
  list.push_back(std::move(token));
}

// The added tokens of the three files, the most telling one first.
Json added_tokens(const Configs& configs, const Json& vocabulary, std::string_view where) {
  Json list = Json::array();
  if (configs.config.contains("added_tokens_decoder")) {
    const Json& known = configs.config["added_tokens_decoder"];
    ensure_file(known.is_object(), where, ": added_tokens_decoder is not an object");
    for (const auto& [id, token] : known.items()) {
      ensure_file(token.is_object() && id.size() <= 8 && !id.empty() &&
                      id.find_first_not_of("0123456789") == std::string::npos,
                  where, ": added_tokens_decoder has no token at '", id, "'");
      Json entry = token;
      entry["id"] = std::stoll(id);
      add_token(list, vocabulary, std::move(entry), where);
    }
  }
  for (const Json* file : {&configs.special, &configs.config}) {
    for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                            "cls_token", "mask_token"}) {
      const auto content = content_of(*file, key, where);
      if (!content) continue;
      Json entry = (*file)[key].is_object() ? (*file)[key] : Json{{"content", *content}};
      entry["special"] = true;
      entry["normalized"] = false;
      if (configs.added.contains(*content)) entry["id"] = configs.added[*content];
      add_token(list, vocabulary, std::move(entry), where);
    }
  }
  for (const auto& [content, id] : configs.added.items()) {
    add_token(list, vocabulary, {{"content", content}, {"id", id}, {"normalized", true}}, where);
  }
  std::stable_sort(list.begin(), list.end(), [](const Json& a, const Json& b) {
    return a["id"].is_number_integer() && b["id"].is_number_integer() && a["id"] < b["id"];
  });
  return list;
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
  for (const Json& token : added) ids[json_string(token, "content", "added token")] = token["id"];
  return ids;
}

}  // namespace

std::shared_ptr<const Engine> read_vocabulary_and_merges(const DirectoryFiles& files,
                                                         std::string_view where) {
  const Configs configs{object_or_empty(files.config, where, "tokenizer_config.json"),
                        object_or_empty(files.special_tokens_map, where, "special_tokens_map.json"),
                        object_or_empty(files.added_tokens, where, "added_tokens.json")};
  const std::string merges_place = text(where, " (merges.txt)");
  const Json vocabulary = object_or_empty(files.vocabulary, where, "vocab.json");
  Json merges = Json::array();
  for (const std::string& line : lines_of(files.merges, merges_place)) {
    if (line.empty() || (merges.empty() && line.rfind("#version", 0) == 0)) continue;
    merges.push_back(line);
  }
  const bool prefix = json_bool(configs.config, "add_prefix_space", where, false);
  const bool roberta =
      json_string(configs.config, "tokenizer_class", where, "").rfind("Roberta", 0) == 0;
  const bool bos = json_bool(configs.config, "add_bos_token", where, false) || roberta;
  const bool eos = json_bool(configs.config, "add_eos_token", where, false) || roberta;
  const auto named = [&](const char* key) {
    const auto token = content_of(configs.config, key, where);
    return token ? token : content_of(configs.special, key, where);
  };
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"use_regex", true}};
  Json document = {{"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}},
                   {"pre_tokenizer", bytes},
                   {"decoder", bytes}};
  document["added_tokens"] = added_tokens(configs, vocabulary, where);
  const Json ids = all_ids(vocabulary, document["added_tokens"]);
  document["post_processor"] = template_of(bos ? named("bos_token") : std::nullopt,
                                           eos ? named("eos_token") : std::nullopt, ids);
  return read_tokenizer_json(document.dump(), where);
}

std::shared_ptr<const Engine> read_vocabulary_list(const DirectoryFiles& files,
                                                   std::string_view where) {
  const Configs configs{object_or_empty(files.config, where, "tokenizer_config.json"),
                        object_or_empty(files.special_tokens_map, where, "special_tokens_map.json"),
                        object_or_empty(files.added_tokens, where, "added_tokens.json")};
  Json vocabulary = Json::object();
  std::int32_t next = 0;
  for (const std::string& line : lines_of(files.vocabulary, where)) vocabulary[line] = next++;
  ensure_file(!vocabulary.empty(), where, ": the vocabulary is empty");
  const auto named = [&](const char* key, const char* fallback) {
    const auto token = content_of(configs.config, key, where);
    return token ? *token : content_of(configs.special, key, where).value_or(fallback);
  };
  const bool lower = json_bool(configs.config, "do_lower_case", where, true);
  Json normalizer = {
      {"type", "BertNormalizer"},
      {"clean_text", true},
      {"handle_chinese_chars", json_bool(configs.config, "tokenize_chinese_chars", where, true)},
      {"lowercase", lower}};
  normalizer["strip_accents"] = json_bool(configs.config, "strip_accents", where, lower);
  Json document = {
      {"model",
       {{"type", "WordPiece"}, {"vocab", vocabulary}, {"unk_token", named("unk_token", "[UNK]")}}},
      {"normalizer", normalizer},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"decoder", {{"type", "WordPiece"}}}};
  Configs complete = configs;
  for (const auto& [key, fallback] :
       {std::pair{"unk_token", "[UNK]"}, std::pair{"sep_token", "[SEP]"},
        std::pair{"pad_token", "[PAD]"}, std::pair{"cls_token", "[CLS]"},
        std::pair{"mask_token", "[MASK]"}}) {
    if (!complete.config.contains(key)) complete.config[key] = named(key, fallback);
  }
  document["added_tokens"] = added_tokens(complete, vocabulary, where);
  document["post_processor"] = template_of(named("cls_token", "[CLS]"), named("sep_token", "[SEP]"),
                                           all_ids(vocabulary, document["added_tokens"]));
  return read_tokenizer_json(document.dump(), where);
}

}  // namespace quaver::tokens
