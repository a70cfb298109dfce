// Normalizers of tokenizer.json.
#include "text/normalizers.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {

namespace {

Normalizer read_normalizers(const Json& object, std::string_view where) {
  std::vector<Normalizer> steps;
  for (const Json& step : stage_list(object, "normalizers", where)) {
    steps.push_back(read_normalizer(step, where));
  }
  return [steps](std::string& text) {
    for (const Normalizer& step : steps) step(text);
  };
}

Normalizer read_prepend(const Json& object, std::string_view where) {
  return [prefix = json_string(object, "prepend", where)](std::string& text) {
    if (!text.empty()) text.insert(0, prefix);
  };
}

Normalizer read_replace(const Json& object, std::string_view where) {
  ensure_file(object.contains("pattern"), where, ": Replace has no pattern");
  const Finder find = finder_of(read_pattern(object["pattern"], where), where);
  return [find, content = json_string(object, "content", where)](std::string& text) {
    std::string out;
    std::size_t done = 0;
    for_each_match(find, text, [&](Span hit) {
      out.append(text, done, hit.begin - done) += content;
      done = hit.end;
    });
    text = std::move(out.append(text, done));
  };
}

// White space off the ends.
Normalizer read_strip(const Json& object, std::string_view where) {
  const bool left = json_bool(object, "strip_left", where, true);
  const bool right = json_bool(object, "strip_right", where, true);
  return [left, right](std::string& text) {
    std::size_t begin = 0, end = text.size();
    while (left && begin < end) {
      int length;
      if (!(classes_of(valid_code_point(text.data() + begin, length)) & strip_space)) break;
      begin += static_cast<std::size_t>(length);
    }
    while (right && end > begin) {
      std::size_t last = end - 1;
      while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
      int length;
      if (!(classes_of(valid_code_point(text.data() + last, length)) & strip_space)) break;
      end = last;
    }
    text = text.substr(begin, end - begin);
  };
}

constexpr StageRow<Normalizer> normalizers[] = {
    {"Sequence", read_normalizers},
    {"Prepend", read_prepend},
    {"Replace", read_replace},
    {"NFC", read_nfc},
    {"NFD", read_nfd},
    {"NFKC", read_nfkc},
    {"NFKD", read_nfkd},
    {"Strip", read_strip},
    {"StripAccents", read_strip_accents},
    {"Lowercase", read_lowercase},
    {"BertNormalizer", read_bert_normalizer},
    {"Nmt", read_nmt},
    {"Precompiled", read_precompiled},
    {"ByteLevel", read_byte_level_normalizer},
};

}  // namespace

const Json& stage_list(const Json& object, const char* key, std::string_view where) {
  ensure_file(object.contains(key) && object[key].is_array(), where, ": a Sequence has no list '",
              key, "'");
  return object[key];
}

Normalizer read_normalizer(const Json& object, std::string_view where) {
  return read_by_type(normalizers, "normalizer", object, where);
}

}  // namespace quaver::tokens
