#pragma once
// Python's string operations on valid UTF-8. Places and widths count code points.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace quaver::jinja {

std::int64_t count_code_points(std::string_view text);
std::vector<std::string_view> characters(std::string_view text);
// The byte at which code point `place` starts; `place` is in [0, size].
std::size_t byte_of(const Text& text, std::int64_t place);

bool is_space(char32_t value);       // str.isspace, which is also \s
bool is_line_break(char32_t value);  // where splitlines cuts
bool is_printable(char32_t value);
bool is_cased_upper(char32_t value);
bool is_cased_lower(char32_t value);

enum class Side { both, left, right };
// Strips white space, or the characters of `chars`.
std::string_view stripped(std::string_view text, Side side,
                          std::optional<std::string_view> chars = std::nullopt);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text);  // str.title
std::string capitalized(std::string_view text);
std::string swapped_case(std::string_view text);

// True when every character, and at least one, fits.
bool all_of(std::string_view text, bool (*fits)(char32_t));
bool is_alphabetic(char32_t value);
bool is_decimal(char32_t value);
bool is_digit(char32_t value);
bool is_alphanumeric(char32_t value);
bool is_lower_text(std::string_view text);
bool is_upper_text(std::string_view text);
bool is_title_text(std::string_view text);

// `limit` < 0: no limit. Without a separator, runs of white space separate.
std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator,
                               std::int64_t limit);
std::vector<std::string> split_right(std::string_view text,
                                     std::optional<std::string_view> separator, std::int64_t limit);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

std::string replaced(std::string_view text, std::string_view from, std::string_view to,
                     std::int64_t limit, Budget& budget);
// `text` in a field of `width`; left: the text stands left.
std::string padded(const std::string& text, std::int64_t width, std::string_view fill, Side side,
                   Budget& budget);
std::string escaped_html(std::string_view text, Budget& budget);

// text % arguments, and text.format(...).
std::string percent_formatted(const Text& format, const Value& arguments, Budget& budget);
std::string brace_formatted(const Text& format, const std::vector<Value>& positional,
                            const std::vector<Keyword>& keywords, Budget& budget);

struct JsonStyle {
  bool ascii = false;
  bool sorted = false;
  std::optional<std::string> indent;  // one level's
  std::string comma = ", ", colon = ": ";
};
std::string json_text(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace quaver::jinja
