// Reads a tokenizer.json: the vocabulary and the merges straight from the parsed document, the
// small rest as Json for the stage tables.
#include <simdjson.h>

#include <charconv>
#include <cmath>

#include "text/bpe.h"
#include "text/engine.h"
#include "text/word_models.h"

namespace quaver::tokens {
namespace {

using Element = simdjson::dom::element;
using Object = simdjson::dom::object;

constexpr int deepest = 64;

Json json_of(Element element, std::string_view where, int depth = 0);

Json json_of(Object object, std::string_view where, int depth) {
  Json out = Json::object();
  for (const auto field : object) {
    const bool fresh =
        out.emplace(std::string(field.key), json_of(field.value, where, depth + 1)).second;
    ensure_file(fresh, where, ": duplicate key '", field.key, "'");
  }
  return out;
}

Json json_of(Element element, std::string_view where, int depth) {
  using simdjson::dom::element_type;
  ensure_file(depth < deepest, where, ": nested deeper than ", deepest, " levels");
  switch (element.type()) {
    case element_type::OBJECT:
      return json_of(Object(element), where, depth);
    case element_type::ARRAY: {
      Json out = Json::array();
      for (const Element item : simdjson::dom::array(element)) {
        out.push_back(json_of(item, where, depth + 1));
      }
      return out;
    }
    case element_type::STRING:
      return std::string(std::string_view(element));
    case element_type::INT64:
      return std::int64_t(element);
    case element_type::UINT64:
      return std::uint64_t(element);
    case element_type::DOUBLE:
      return double(element);
    case element_type::BOOL:
      return bool(element);
    case element_type::NULL_VALUE:
      break;
  }
  return nullptr;
}

// The value of `key`; nullopt where it is missing or null.
std::optional<Element> member(Object object, std::string_view key) {
  Element value;
  if (object.at_key(key).get(value) || value.is_null()) return std::nullopt;
  return value;
}

Vocabulary read_vocabulary(Object entries, std::string_view where) {
  Vocabulary vocabulary;
  const std::size_t count = entries.size();
  vocabulary.reserve(count, 8 * count);
  // Tables are as long as the largest id: it may not be out of proportion.
  const std::int64_t limit =
      std::min(largest_vocabulary, 16 * static_cast<std::int64_t>(count) + 65536);
  for (const auto entry : entries) {
    std::int64_t id = -1;
    ensure_file(!entry.value.get(id) && id >= 0 && id < limit, where, ": token '", entry.key,
                "' has no id in [0, ", limit, ")");
    ensure_file(vocabulary.add(entry.key, static_cast<std::int32_t>(id)), where, ": token '",
                entry.key, "' or its id ", id, " occurs twice");
  }
  ensure_file(count > 0, where, ": the vocabulary is empty");
  return vocabulary;
}

// One merge: "left right", or since tokenizers 0.20 ["left", "right"].
MergeRule read_merge(Element element, std::size_t rank, std::string_view where) {
  std::string_view line;
  if (!element.get(line)) {
    const std::size_t blank = line.find(' ');
    ensure_file(blank != std::string_view::npos && line.find(' ', blank + 1) == line.npos, where,
                ": merge ", rank, " '", line, "' is not two tokens and a space between");
    return {line.substr(0, blank), line.substr(blank + 1)};
  }
  simdjson::dom::array pair;
  std::string_view left, right;
  const bool good =
      !element.get(pair) && pair.size() == 2 && !pair.at(0).get(left) && !pair.at(1).get(right);
  ensure_file(good, where, ": merge ", rank, " is neither a string nor a pair of strings");
  return {left, right};
}

// The model's members but for the long ones.
Json settings_of(Object object, std::string_view where) {
  Json settings = Json::object();
  for (const auto field : object) {
    if (field.key == "vocab" || field.key == "merges") continue;
    settings[std::string(field.key)] = json_of(field.value, where);
  }
  return settings;
}

std::unique_ptr<Model> read_bpe(Object object, std::string_view where) {
  const auto entries = member(object, "vocab"), list = member(object, "merges");
  ensure_file(entries && entries->is_object(), where, ": the BPE model has no object 'vocab'");
  ensure_file(list && list->is_array(), where, ": the BPE model has no list 'merges'");
  const Json settings = settings_of(object, where);
  if (json_number(settings, "dropout", where, 0.0) != 0.0) {
    fail(Fault::unsupported, where, ": BPE dropout makes ids random; set it to null");
  }
  BpeOptions options;
  if (settings.contains("unk_token") && !settings["unk_token"].is_null()) {
    options.unknown_token = json_string(settings, "unk_token", where);
  }
  options.continuing_subword_prefix = json_string(settings, "continuing_subword_prefix", where, "");
  options.end_of_word_suffix = json_string(settings, "end_of_word_suffix", where, "");
  options.fuse_unknown = json_bool(settings, "fuse_unk", where, false);
  options.byte_fallback = json_bool(settings, "byte_fallback", where, false);
  options.ignore_merges = json_bool(settings, "ignore_merges", where, false);
  std::vector<MergeRule> rules;
  for (const Element element : simdjson::dom::array(*list)) {
    std::string_view line;
    if (rules.empty() && !element.get(line) && line.substr(0, 8) == "#version") continue;
    rules.push_back(read_merge(element, rules.size(), where));
  }
  return make_bpe(read_vocabulary(Object(*entries), where), rules, std::move(options), where);
}

// A score as the library has it. Its reader (serde_json) takes the digits for a whole number,
// rounds that to a double and divides by a power of ten: often one bit off the nearest double,
// which is enough to break ties of paths. The digits are taken to be the shortest ones, as both
// Rust and Python write them.
double library_score(double score) {
  char text[40];
  const char* end =
      std::to_chars(text, text + sizeof text, score, std::chars_format::scientific).ptr;
  std::uint64_t digits = 0;
  int exponent = 0;
  const char* at = text;
  for (bool after_point = false; at < end && *at != 'e'; ++at) {
    if (*at == '.') after_point = true;
    if (*at < '0' || *at > '9') continue;
    digits = 10 * digits + static_cast<std::uint64_t>(*at - '0');
    exponent -= after_point;
  }
  if (at == end) return score;  // not finite
  int power = 0;
  at += at[1] == '+' ? 2 : 1;
  std::from_chars(at, end, power);
  exponent += power;
  if (exponent >= 0 || exponent < -300) return score;
  const std::string divisor = "1e" + std::to_string(-exponent);
  double ten = 1;
  std::from_chars(divisor.data(), divisor.data() + divisor.size(), ten);
  return std::copysign(static_cast<double>(digits) / ten, score);
}

std::unique_ptr<Model> read_unigram(Object object, std::string_view where) {
  const auto list = member(object, "vocab");
  ensure_file(list && list->is_array(), where, ": the Unigram model has no list 'vocab'");
  const Json settings = settings_of(object, where);
  Vocabulary vocabulary;
  UnigramOptions options;
  for (const Element entry : simdjson::dom::array(*list)) {
    const auto id = static_cast<std::int32_t>(options.scores.size());
    simdjson::dom::array pair;
    std::string_view piece;
    double score = 0;
    const bool good =
        !entry.get(pair) && pair.size() == 2 && !pair.at(0).get(piece) && !pair.at(1).get(score);
    ensure_file(good, where, ": vocab entry ", id, " is not [piece, score]");
    ensure_file(id < largest_vocabulary, where, ": more than ", largest_vocabulary, " pieces");
    vocabulary.add_again(piece, id);  // the library's trainer writes some pieces twice
    options.scores.push_back(library_score(score));
  }
  ensure_file(!options.scores.empty(), where, ": the vocabulary is empty");
  if (settings.contains("unk_id") && !settings["unk_id"].is_null()) {
    const std::int64_t id = json_int(settings, "unk_id", where);
    ensure_file(id >= 0 && id < vocabulary.count(), where, ": unk_id ", id, " is not in [0, ",
                vocabulary.count(), ")");
    options.unknown = static_cast<std::int32_t>(id);
  }
  options.byte_fallback = json_bool(settings, "byte_fallback", where, false);
  if (json_number(settings, "alpha", where, 0.0) != 0.0) {
    fail(Fault::unsupported, where, ": Unigram alpha makes ids random; set it to null");
  }
  return make_unigram(std::move(vocabulary), std::move(options), where);
}

Vocabulary vocabulary_of(Object object, std::string_view type, std::string_view where) {
  const auto entries = member(object, "vocab");
  ensure_file(entries && entries->is_object(), where, ": the ", type,
              " model has no object 'vocab'");
  return read_vocabulary(Object(*entries), where);
}

std::unique_ptr<Model> read_word_piece(Object object, std::string_view where) {
  const Json settings = settings_of(object, where);
  WordPieceOptions options;
  options.unknown_token = json_string(settings, "unk_token", where, options.unknown_token);
  options.continuing_subword_prefix =
      json_string(settings, "continuing_subword_prefix", where, options.continuing_subword_prefix);
  options.max_input_chars_per_word =
      json_int(settings, "max_input_chars_per_word", where, options.max_input_chars_per_word);
  ensure_file(options.max_input_chars_per_word >= 0, where, ": max_input_chars_per_word ",
              options.max_input_chars_per_word, " is negative");
  return make_word_piece(vocabulary_of(object, "WordPiece", where), std::move(options), where);
}

std::unique_ptr<Model> read_word_level(Object object, std::string_view where) {
  const Json settings = settings_of(object, where);
  return make_word_level(vocabulary_of(object, "WordLevel", where),
                         json_string(settings, "unk_token", where, "<unk>"));
}

struct ModelRow {
  std::string_view type;
  std::unique_ptr<Model> (*read)(Object object, std::string_view where);
};
constexpr ModelRow models[] = {
    {"BPE", read_bpe},
    {"Unigram", read_unigram},
    {"WordPiece", read_word_piece},
    {"WordLevel", read_word_level},
};

std::unique_ptr<Model> read_model(Object object, std::string_view where) {
  std::string type = "BPE";  // early files name no type; then it is BPE if there are merges
  if (const auto named = member(object, "type")) {
    ensure_file(named->is_string(), where, ": the model's type is not a string");
    type = std::string_view(*named);
  } else {
    ensure_file(member(object, "merges").has_value(), where, ": the model has no type");
  }
  for (const ModelRow& row : models) {
    if (row.type == type) return row.read(object, where);
  }
  std::string known;
  for (const ModelRow& row : models) (known += known.empty() ? "" : ", ") += row.type;
  fail(Fault::unsupported, where, ": unknown model '", type, "'; known: ", known);
}

std::vector<AddedToken> read_added(const Json& list, std::string_view where) {
  ensure_file(list.is_array(), where, ": added_tokens is not a list");
  std::vector<AddedToken> out;
  for (const Json& entry : list) {
    const std::int64_t id = json_int(entry, "id", where);
    ensure_file(id >= 0 && id < largest_vocabulary, where, ": added token id ", id,
                " is not in [0, ", largest_vocabulary, ")");
    out.push_back(
        {json_string(entry, "content", where), static_cast<std::int32_t>(id),
         json_bool(entry, "single_word", where, false), json_bool(entry, "lstrip", where, false),
         json_bool(entry, "rstrip", where, false), json_bool(entry, "normalized", where, true),
         json_bool(entry, "special", where, false)});
  }
  return out;
}

std::shared_ptr<const Engine> read_document(Object document, std::string_view where) {
  auto engine = std::make_shared<Engine>();
  const auto model = member(document, "model");
  ensure_file(model && model->is_object(), where, ": no object 'model'");
  engine->model = read_model(Object(*model), where);
  const auto stage = [&](const char* key) -> Json {
    const auto value = member(document, key);
    return value ? json_of(*value, where) : Json();
  };
  if (const Json json = stage("normalizer"); !json.is_null()) {
    engine->normalizer = read_normalizer(json, where);
  }
  if (const Json json = stage("pre_tokenizer"); !json.is_null()) {
    engine->pre_tokenizer = read_pre_tokenizer(json, where);
  }
  if (const Json json = stage("post_processor"); !json.is_null()) {
    engine->post_processor = read_post_processor(json, where);
  }
  const Json decoder = stage("decoder");
  engine->decoder = decoder.is_null() ? joining_decoder() : read_decoder(decoder, where);
  if (const Json json = stage("added_tokens"); !json.is_null()) {
    engine->added.add(read_added(json, where), engine->model->vocabulary(), engine->normalizer);
  }
  return engine;
}

}  // namespace

std::shared_ptr<const Engine> read_tokenizer_json(std::string_view bytes, std::string_view where) {
  ensure_file(bytes.size() <= largest_tokenizer_file, where, ": ", bytes.size(),
              " bytes; a tokenizer has at most ", largest_tokenizer_file);
  simdjson::dom::parser parser;
  auto error = parser.allocate(bytes.size(), deepest);
  Element document;
  const simdjson::padded_string padded(bytes);
  if (!error) error = parser.parse(padded).get(document);
  ensure_file(!error, where, ": ", simdjson::error_message(error));
  ensure_file(document.is_object(), where, ": not a JSON object");
  return read_document(Object(document), where);
}

}  // namespace quaver::tokens
