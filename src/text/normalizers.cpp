// Normalizers of tokenizer.json.
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "text/pipeline.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {

namespace {

struct Run {
  char32_t first, last;
};
// Marks that the reference library's older tables do not know: they stay where they are.
constexpr Run unknown_marks[] = {
#include "text/nfc_exceptions.inl"
};

bool is_unknown_mark(char32_t code) {
  const Run* run = std::partition_point(std::begin(unknown_marks), std::end(unknown_marks),
                                        [code](const Run& r) { return r.last < code; });
  return run != std::end(unknown_marks) && run->first <= code;
}

void append_composed(std::string_view text, std::string& out) {
  if (text.empty()) return;
  utf8proc_uint8_t* composed = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(composed, std::free);
  if (size < 0) fail(Fault::resource, "[nfc] ", utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(size));
}

}  // namespace

void normalize_nfc(std::string& text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; })) return;
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    int length;
    const char32_t code = valid_code_point(text.data() + at, length);
    const std::size_t end = at + static_cast<std::size_t>(length);
    if (code >= 0x300 && is_unknown_mark(code)) {
      append_composed(std::string_view(text).substr(begin, at - begin), out);
      out.append(text, at, end - at);
      begin = end;
    }
    at = end;
  }
  append_composed(std::string_view(text).substr(begin), out);
  text = std::move(out);
}

namespace {

Normalizer read_sequence(const Json& object, std::string_view where) {
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
    std::size_t at = 0;
    for (std::optional<Span> hit; (hit = find(text, at)); at = hit->end) {
      out.append(text, at, hit->begin - at) += content;
    }
    text = out.append(text, at);
  };
}

Normalizer read_nfc(const Json&, std::string_view) { return normalize_nfc; }

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
    {"Sequence", read_sequence}, {"Prepend", read_prepend}, {"Replace", read_replace},
    {"NFC", read_nfc},           {"Strip", read_strip},
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
