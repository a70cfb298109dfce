// Reads a SentencePiece model; its normalizer and decoder as sentencepiece 0.2 has them
// (normalizer.cc, sentencepiece_processor.cc).
#include "text/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "text/engine.h"
#include "text/protobuf.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

constexpr std::size_t longest_piece = 4096;  // bytes

// The byte of "<0x41>", or -1. SentencePiece knows no other spelling than upper-case digits.
int byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = 16 * value + digit;
  }
  return value;
}

void read_piece(std::string_view bytes, std::string_view where, SentencePieceModel& model) {
  std::string_view piece;
  float score = 0;
  std::int32_t type = 1;
  ProtoReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->number == 1) piece = proto_bytes(*field, where);
    if (field->number == 2) score = proto_float(*field, where);
    if (field->number == 3) type = proto_int32(*field, where);
  }
  const auto id = static_cast<std::int32_t>(model.types.size());
  ensure_file(id < largest_vocabulary, where, ": more than ", largest_vocabulary, " pieces");
  ensure_file(!piece.empty() && piece.size() <= longest_piece && is_valid_utf8(piece), where,
              ": piece ", id, " of ", piece.size(), " bytes is empty, too long or not UTF-8");
  ensure_file(type >= 1 && type <= 6, where, ": piece ", id, " has type ", type);
  ensure_file(std::isfinite(score), where, ": piece ", id, " has no number as score");
  ensure_file(model.pieces.add(piece, id), where, ": piece '", piece, "' occurs twice");
  model.types.push_back(static_cast<PieceType>(type));
  model.scores.push_back(score);
  if (model.types.back() == PieceType::user_defined) model.user_defined.add(piece, id);
  if (model.types.back() == PieceType::unknown) {
    ensure_file(model.unknown_id < 0, where, ": two unknown pieces, ", model.unknown_id, " and ",
                id);
    model.unknown_id = id;
  }
  if (model.types.back() == PieceType::byte) {
    const int byte = byte_of_piece(piece);
    ensure_file(byte >= 0, where, ": byte piece '", piece, "' is not <0x00> ... <0xFF>");
    model.byte_ids[static_cast<std::size_t>(byte)] = id;
  }
}

void read_trainer(std::string_view bytes, std::string_view where, SentencePieceModel& model) {
  ProtoReader reader(bytes, where);
  while (const auto field = reader.next()) {
    switch (field->number) {
      case 3:
        model.kind = proto_int32(*field, where);
        break;
      case 24:
        model.space_is_suffix = proto_bool(*field, where);
        break;
      case 35:
        model.byte_fallback = proto_bool(*field, where);
        break;
      case 41:
        model.bos_id = proto_int32(*field, where);
        break;
      case 42:
        model.eos_id = proto_int32(*field, where);
        break;
      case 44:
        model.unknown_surface = replaced_invalid(proto_bytes(*field, where));
        break;
      default:
        break;
    }
  }
}

void read_normalizer_spec(std::string_view bytes, std::string_view where,
                          SentencePieceModel& model) {
  ProtoReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->number == 2) model.charsmap = Charsmap(proto_bytes(*field, where), where);
    if (field->number == 3) model.add_dummy_prefix = proto_bool(*field, where);
    if (field->number == 4) model.remove_extra_whitespaces = proto_bool(*field, where);
    if (field->number == 5) model.escape_whitespaces = proto_bool(*field, where);
  }
}

void refuse_denormalizer(std::string_view bytes, std::string_view where) {
  ProtoReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->number == 2 && !proto_bytes(*field, where).empty()) {
      fail(Fault::unsupported, where, ": a denormalizer with a character map; known: none");
    }
  }
}

// Fills model.changes, so that the normalizer can copy what no rule and no symbol begins with.
void find_changes(SentencePieceModel& model) {
  for (int first = 0; first < 256; ++first) {
    const auto lead = static_cast<char>(first);
    Change& change = model.changes[static_cast<std::size_t>(first)];
    if (!model.charsmap.any_begins_with({&lead, 1})) continue;
    bool alone = first >= 0x80 || model.charsmap.longest({&lead, 1}).length > 0;
    for (int second = 0; !alone && second < 128; ++second) {
      const char both[] = {lead, static_cast<char>(second)};
      alone = model.charsmap.any_begins_with({both, 2});
    }
    change = alone ? Change::perhaps : Change::before_others;
  }
  for (std::size_t id = 0; id < model.types.size(); ++id) {
    if (model.types[id] != PieceType::user_defined) continue;
    const auto piece = model.pieces.token(static_cast<std::int32_t>(id));
    model.changes[static_cast<unsigned char>((*piece)[0])] = Change::perhaps;
  }
  model.changes[' '] = Change::perhaps;
}

}  // namespace

SentencePieceModel read_sentencepiece(std::string_view bytes, std::string_view where) {
  SentencePieceModel model;
  model.byte_ids.fill(-1);
  ProtoReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->number == 1) read_piece(proto_bytes(*field, where), where, model);
    if (field->number == 2) read_trainer(proto_bytes(*field, where), where, model);
    if (field->number == 3) read_normalizer_spec(proto_bytes(*field, where), where, model);
    if (field->number == 5) refuse_denormalizer(proto_bytes(*field, where), where);
  }
  ensure_file(model.unknown_id >= 0, where, ": no unknown piece among ", model.types.size(),
              " pieces: not a SentencePiece model?");
  for (int byte = 0; model.byte_fallback && byte < 256; ++byte) {
    ensure_file(model.byte_ids[static_cast<std::size_t>(byte)] >= 0, where,
                ": byte_fallback without a piece for byte ", byte);
  }
  find_changes(model);
  return model;
}

namespace {

struct Prefix {
  std::string_view text;  // what stands for it in normalized text
  std::size_t length;     // bytes of input that it takes
};

// The next unit of `input`: a user-defined symbol, a rule of the charsmap, or a character.
Prefix next_prefix(const SentencePieceModel& model, std::string_view input) {
  if (const auto symbol = model.user_defined.at(input, 0)) {
    return {input.substr(0, symbol->end), symbol->end};
  }
  if (const auto rule = model.charsmap.longest(input); rule.length > 0) {
    return {rule.text, rule.length};
  }
  const auto length = static_cast<std::size_t>(character_length(input[0]));
  return {input.substr(0, length), length};
}

// Bytes at the beginning of `input` that the normalizer copies: no spaces among them.
std::size_t unchanged(const SentencePieceModel& model, std::string_view input) {
  std::size_t end = 0;
  while (end < input.size()) {
    const Change change = model.changes[static_cast<unsigned char>(input[end])];
    if (change == Change::perhaps) break;
    const auto after = end + static_cast<std::size_t>(character_length(input[end]));
    const bool before_other = after < input.size() && (input[after] & 0x80) != 0;
    if (change == Change::before_others && before_other) break;
    end = after;
  }
  return end;
}

std::string normalized(const SentencePieceModel& model, std::string_view input) {
  const std::string_view space = model.escape_whitespaces ? space_mark : " ";
  std::string out;
  if (model.remove_extra_whitespaces) {
    while (!input.empty()) {
      const Prefix prefix = next_prefix(model, input);
      if (prefix.text != " ") break;
      input.remove_prefix(prefix.length);
    }
  }
  if (input.empty()) return out;
  out.reserve(input.size() + input.size() / 2);
  if (!model.space_is_suffix && model.add_dummy_prefix) out += space;
  bool after_space = model.remove_extra_whitespaces;
  while (!input.empty()) {
    if (const std::size_t plain = unchanged(model, input); plain > 0) {
      out += input.substr(0, plain);
      input.remove_prefix(plain);
      after_space = false;
      continue;
    }
    Prefix prefix = next_prefix(model, input);
    input.remove_prefix(prefix.length);
    while (after_space && !prefix.text.empty() && prefix.text[0] == ' ') {
      prefix.text.remove_prefix(1);
    }
    if (!prefix.text.empty()) {
      for (const char c : prefix.text) {
        if (c == ' ') {
          out += space;
        } else {
          out += c;
        }
      }
      after_space = prefix.text.back() == ' ';
    }
    if (!model.remove_extra_whitespaces) after_space = false;
  }
  if (model.remove_extra_whitespaces) {
    while (out.size() >= space.size() &&
           std::string_view(out).substr(out.size() - space.size()) == space) {
      out.resize(out.size() - space.size());
    }
  }
  if (model.space_is_suffix && model.add_dummy_prefix) out += space;
  return out;
}

// Turns pieces into text. The first pieces' spaces are those that the normalizer put there.
class PieceDecoder {
 public:
  PieceDecoder(std::shared_ptr<const SentencePieceModel> model, TokenSink next)
      : model_(std::move(model)), next_(std::move(next)) {}

  void operator()(std::string_view part, Mark mark) {
    if (mark == Mark::finish) {
      flush_bytes(true);
      return next_({}, mark);
    }
    piece_ += part;
    if (mark == Mark::part) return;
    take(std::exchange(piece_, {}));
    next_({}, mark);
  }

 private:
  void emit(std::string_view text) {
    if (text.empty()) return;
    any_text_ = true;
    next_(text, Mark::part);
  }

  // Bytes as UTF-8; each byte that belongs to no character becomes U+FFFD.
  void flush_bytes(bool all) {
    std::string out;
    std::size_t at = 0;
    while (at < bytes_.size()) {
      const CodePoint point = read_code_point(bytes_, at);
      if (point.partial && !all) break;
      const auto length = static_cast<std::size_t>(point.valid ? point.length : 1);
      out += point.valid ? std::string_view(bytes_).substr(at, length) : replacement_character;
      at += length;
    }
    bytes_.erase(0, at);
    emit(out);
  }

  void take(const std::string& piece) {
    const std::int32_t id = model_->pieces.find(piece).value_or(model_->unknown_id);
    const PieceType type = model_->types[static_cast<std::size_t>(id)];
    if (type == PieceType::byte) {
      bytes_.push_back(static_cast<char>(byte_of_piece(piece)));
      return flush_bytes(false);
    }
    flush_bytes(true);
    if (prefix_seen_ || any_text_) at_start_ = false;
    prefix_seen_ = false;
    if (type == PieceType::control) return;
    if (type == PieceType::unknown) return emit(model_->unknown_surface);
    std::string_view rest = piece;
    const bool strips = model_->add_dummy_prefix || model_->remove_extra_whitespaces;
    if (at_start_ && strips && rest.substr(0, space_mark.size()) == space_mark) {
      rest.remove_prefix(space_mark.size());
      // Where white space is trimmed, the next piece loses its space, too, while there is no text.
      prefix_seen_ = !model_->remove_extra_whitespaces;
    }
    emit(replaced_all(rest, space_mark, " "));
  }

  std::shared_ptr<const SentencePieceModel> model_;
  TokenSink next_;
  std::string piece_, bytes_;
  bool any_text_ = false, prefix_seen_ = false, at_start_ = true;
};

struct Surroundings {
  std::vector<std::int32_t> before, after;
};

// What transformers' LlamaTokenizer adds around a text, by tokenizer_config.json.
Surroundings surroundings(const SentencePieceModel& model, std::string_view config,
                          std::string_view where) {
  const std::string place = text(where, " (tokenizer_config.json)");
  const Json json = config.empty() ? Json::object() : parse_json(config, place);
  const auto token = [&](const char* key, std::int32_t fallback) -> std::int32_t {
    if (json.is_object() && json.contains(key)) {
      const Json& value = json[key];
      const std::string content = value.is_string()   ? value.get<std::string>()
                                  : value.is_object() ? json_string(value, "content", place, "")
                                                      : "";
      if (const auto id = model.pieces.find(content)) return *id;
    }
    return fallback < static_cast<std::int32_t>(model.types.size()) ? fallback : -1;
  };
  Surroundings out;
  const std::int32_t bos = token("bos_token", model.bos_id);
  const std::int32_t eos = token("eos_token", model.eos_id);
  if (json_bool(json, "add_bos_token", place, true) && bos >= 0) out.before.push_back(bos);
  if (json_bool(json, "add_eos_token", place, false) && eos >= 0) out.after.push_back(eos);
  return out;
}

struct KindRow {
  std::int32_t number;  // trainer_spec.model_type
  std::unique_ptr<Model> (*make)(std::shared_ptr<const SentencePieceModel>, std::string_view);
};
constexpr KindRow kinds[] = {
    {1, sentencepiece_unigram},
    {2, sentencepiece_bpe},
    {3, sentencepiece_word},
    {4, sentencepiece_char},
};

}  // namespace

Normalizer sentencepiece_normalizer(std::shared_ptr<const SentencePieceModel> model) {
  return [model = std::move(model)](std::string& text) { text = normalized(*model, text); };
}

Decoder sentencepiece_decoder(std::shared_ptr<const SentencePieceModel> model) {
  return [model = std::move(model)](TokenSink next) -> TokenSink {
    return PieceDecoder(model, std::move(next));
  };
}

std::shared_ptr<const Engine> read_sentencepiece_model(std::string_view bytes,
                                                       std::string_view where,
                                                       std::string_view config) {
  ensure_file(bytes.size() <= largest_tokenizer_file, where, ": ", bytes.size(),
              " bytes; a tokenizer has at most ", largest_tokenizer_file);
  auto model = std::make_shared<const SentencePieceModel>(read_sentencepiece(bytes, where));
  const auto row = std::find_if(std::begin(kinds), std::end(kinds),
                                [&](const KindRow& kind) { return kind.number == model->kind; });
  if (row == std::end(kinds)) {
    fail(Fault::unsupported, where, ": SentencePiece model_type ", model->kind,
         "; known: 1 (unigram), 2 (BPE), 3 (word), 4 (char)");
  }
  auto engine = std::make_shared<Engine>();
  engine->normalizer = sentencepiece_normalizer(model);
  engine->model = row->make(model, where);
  engine->decoder = sentencepiece_decoder(model);
  engine->post_processor =
      [around = surroundings(*model, config, where)](std::vector<std::int32_t>& ids) {
        ids.insert(ids.begin(), around.before.begin(), around.before.end());
        ids.insert(ids.end(), around.after.begin(), around.after.end());
      };
  return engine;
}

}  // namespace quaver::tokens
