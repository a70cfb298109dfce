// Normalization forms and grapheme clusters by utf8proc, corrected to the tables of `tokenizers`.
#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "core/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

struct Run {
  char32_t first, last;
};
// Characters that the reference library's older tables do not know: they stay as they are, and
// where they are.
constexpr Run unknown_characters[] = {
#include "text/normalization_exceptions.inl"
};

bool is_unknown(char32_t code) {
  const Run* run =
      std::partition_point(std::begin(unknown_characters), std::end(unknown_characters),
                           [code](const Run& r) { return r.last < code; });
  return run != std::end(unknown_characters) && run->first <= code;
}

utf8proc_option_t options_of(Form form) {
  const bool composes = form == Form::nfc || form == Form::nfkc;
  const bool compatible = form == Form::nfkc || form == Form::nfkd;
  return static_cast<utf8proc_option_t>(UTF8PROC_STABLE |
                                        (composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                        (compatible ? UTF8PROC_COMPAT : 0));
}

// Appends the form of stretches of text, with one buffer for all of them.
class Stretches {
 public:
  explicit Stretches(Form form) : options_(options_of(form)) {}

  void append(std::string_view text, std::string& out) {
    if (text.empty()) return;
    auto size = decompose(text);
    if (size > static_cast<utf8proc_ssize_t>(buffer_.size())) {
      buffer_.resize(static_cast<std::size_t>(size));
      size = decompose(text);
    }
    if (size >= 0) size = utf8proc_normalize_utf32(buffer_.data(), size, options_);
    if (size < 0) fail(Fault::resource, "[normalize] ", utf8proc_errmsg(size));
    for (utf8proc_ssize_t i = 0; i < size; ++i) {
      append_code_point(out, static_cast<char32_t>(buffer_[static_cast<std::size_t>(i)]));
    }
  }

 private:
  utf8proc_ssize_t decompose(std::string_view text) {
    return utf8proc_decompose(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), buffer_.data(),
                              static_cast<utf8proc_ssize_t>(buffer_.size()), options_);
  }

  utf8proc_option_t options_;
  std::vector<utf8proc_int32_t> buffer_ = std::vector<utf8proc_int32_t>(256);
};

}  // namespace

// Characters below `plain` stay as they are and begin a new stretch: they never combine with what
// stands before them. So only stretches that go beyond them are handed to utf8proc.
void normalize(std::string& text, Form form) {
  const char32_t plain = form == Form::nfc ? 0x300 : 0x80;
  Stretches stretches(form);
  std::string out;
  std::size_t done = 0, stretch = 0;  // what is before `done` is in `out`
  bool beyond = false;                // the stretch holds more than its first, plain character
  const auto end_stretch = [&](std::size_t at) {
    if (!beyond) return;
    out.append(text, done, stretch - done);
    stretches.append(std::string_view(text).substr(stretch, at - stretch), out);
    done = at;
    beyond = false;
  };
  for (std::size_t at = 0; at < text.size();) {
    int length;
    const char32_t code = valid_code_point(text.data() + at, length);
    if (code < plain) {
      end_stretch(at);
      stretch = at;
    } else if (is_unknown(code)) {
      end_stretch(at);
      stretch = at + static_cast<std::size_t>(length);
    } else {
      beyond = true;
    }
    at += static_cast<std::size_t>(length);
  }
  if (done == 0 && !beyond) return;
  end_stretch(text.size());
  text = std::move(out.append(text, done));
}

std::size_t grapheme_end(std::string_view text, std::size_t at) {
  int length;
  utf8proc_int32_t state = 0;
  auto before = static_cast<utf8proc_int32_t>(valid_code_point(text.data() + at, length));
  for (at += static_cast<std::size_t>(length); at < text.size();
       at += static_cast<std::size_t>(length)) {
    const auto next = static_cast<utf8proc_int32_t>(valid_code_point(text.data() + at, length));
    if (utf8proc_grapheme_break_stateful(before, next, &state)) break;
    before = next;
  }
  return at;
}

}  // namespace quaver::tokens
