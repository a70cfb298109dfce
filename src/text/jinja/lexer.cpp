// The rules are those of jinja2/lexer.py, written as a scanner: where it has a regular expression,
// a comment here tells its meaning.
#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "core/error.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace quaver::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// Line ends become \n, and one at the very end goes.
std::string with_plain_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_lines(source)), text_(source_) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) read_data();
    push(Token::Kind::end);
    return std::move(tokens_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Fault::bad_file, "line ", line_, ": ", parts...);
  }

  Token& push(Token::Kind kind, std::string text = {}) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
    return tokens_.back();
  }

  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool starts(std::string_view with) const { return text_.substr(at_).starts_with(with); }

  // Goes on to `end`, counting lines.
  void advance(std::size_t end) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    if (end > at_) line_starting_ = text_[end - 1] == '\n';
    at_ = end;
  }

  std::size_t after_spaces(std::size_t at) const {
    while (at < text_.size()) {
      int length = 0;
      if (!is_space(tokens::valid_code_point(text_.data() + at, length))) break;
      at += static_cast<std::size_t>(length);
    }
    return at;
  }

  // Where `mark` (-, + or neither) and `close` stand at `at`: the end of the tag, with what
  // white-space control takes after it. npos: they do not stand there.
  std::size_t tag_end(std::size_t at, std::string_view close, bool trims, bool plus) const {
    const char sign = at < text_.size() ? text_[at] : '\0';
    const std::string_view rest = text_.substr(std::min(at + 1, text_.size()));
    if (sign == '-' && rest.starts_with(close)) return after_spaces(at + 1 + close.size());
    if (plus && sign == '+' && rest.starts_with(close)) return at + 1 + close.size();
    if (!text_.substr(std::min(at, text_.size())).starts_with(close)) return std::string::npos;
    const std::size_t end = at + close.size();
    return trims && end < text_.size() && text_[end] == '\n' ? end + 1 : end;
  }

  // The text before a tag, after what the tag's sign or lstrip_blocks take from it.
  std::string_view before_tag(std::string_view data, char sign, bool variable) const {
    if (sign == '-') return stripped(data, Side::right);
    if (sign == '+' || variable) return data;
    const std::size_t line = data.rfind('\n') == std::string_view::npos ? 0 : data.rfind('\n') + 1;
    if (line == 0 && !line_starting_) return data;
    return stripped(data.substr(line), Side::right).empty() ? data.substr(0, line) : data;
  }

  // Takes the text up to the opening of a tag at `open` (two characters and a sign).
  char take_data(std::size_t open, bool variable) {
    const char next = open + 2 < text_.size() ? text_[open + 2] : '\0';
    const char sign = next == '-' || next == '+' ? next : '\0';
    const std::string_view data = before_tag(text_.substr(at_, open - at_), sign, variable);
    if (!data.empty()) push(Token::Kind::data, std::string(data));
    advance(open + (sign ? 3 : 2));
    return sign;
  }

  std::size_t next_tag() const {
    for (std::size_t open = text_.find('{', at_); open != std::string_view::npos;
         open = text_.find('{', open + 1)) {
      const char kind = open + 1 < text_.size() ? text_[open + 1] : '\0';
      if (kind == '%' || kind == '{' || kind == '#') return open;
    }
    return std::string_view::npos;
  }

  void read_data() {
    const std::size_t open = next_tag();
    if (open == std::string_view::npos) {
      push(Token::Kind::data, std::string(text_.substr(at_)));
      return advance(text_.size());
    }
    const char kind = text_[open + 1];
    take_data(open, kind == '{');
    if (kind == '#') return skip_comment();
    if (kind == '%' && read_raw()) return;
    const bool variable = kind == '{';
    push(variable ? Token::Kind::variable_begin : Token::Kind::block_begin);
    read_tag(variable ? "}}" : "%}", variable);
    push(variable ? Token::Kind::variable_end : Token::Kind::block_end);
    advance(pending_end_);
  }

  void skip_comment() {
    const std::size_t close = text_.find("#}", at_);
    if (close == std::string_view::npos) refuse("Missing end of comment tag");
    const bool sign = close > at_ && (text_[close - 1] == '-' || text_[close - 1] == '+');
    advance(tag_end(sign ? close - 1 : close, "#}", true, true));
  }

  // {% raw %} ... {% endraw %}; false when the tag at hand is another.
  bool read_raw() {
    std::size_t at = after_spaces(at_);
    if (!text_.substr(at).starts_with("raw")) return false;
    const std::size_t begin = tag_end(after_spaces(at + 3), "%}", false, false);
    if (begin == std::string::npos) return false;
    advance(begin);
    for (std::size_t open = text_.find("{%", at_); open != std::string_view::npos;
         open = text_.find("{%", open + 1)) {
      const char sign = open + 2 < text_.size() ? text_[open + 2] : '\0';
      at = after_spaces(open + (sign == '-' || sign == '+' ? 3 : 2));
      if (!text_.substr(at).starts_with("endraw")) continue;
      const std::size_t end = tag_end(after_spaces(at + 6), "%}", true, true);
      if (end == std::string::npos) continue;
      take_data(open, false);
      advance(end);
      return true;
    }
    refuse("Missing end of raw directive");
  }

  void read_tag(std::string_view close, bool variable) {
    std::string open_brackets;
    for (;;) {
      if (open_brackets.empty()) {
        pending_end_ = tag_end(at_, close, !variable, !variable);
        if (pending_end_ != std::string::npos) return;
      }
      if (at_ >= text_.size()) refuse("unexpected end of template inside a tag");
      const std::size_t spaces = after_spaces(at_);
      if (spaces > at_)
        advance(spaces);
      else if (!read_number() && !read_name() && !read_string())
        read_operator(open_brackets);
    }
  }

  // Digits with single underscores between them; the place after them.
  std::size_t digits_end(std::size_t at, std::string_view allowed) const {
    const auto fits = [&](std::size_t i) {
      return i < text_.size() && allowed.find(text_[i]) != std::string_view::npos;
    };
    while (fits(at) || (at < text_.size() && text_[at] == '_' && fits(at + 1))) ++at;
    return at;
  }

  static std::string without_underscores(std::string_view written) {
    std::string out(written);
    out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
    return out;
  }

  bool read_number() {
    if (!is_ascii_digit(peek())) return false;
    static constexpr std::string_view decimal = "0123456789";
    const std::size_t whole = digits_end(at_, decimal);
    std::size_t end = whole;
    if (at_ == 0 || text_[at_ - 1] != '.') {  // in a.0.1 the numbers are indices
      if (end + 1 < text_.size() && text_[end] == '.' && is_ascii_digit(text_[end + 1]))
        end = digits_end(end + 1, decimal);
      if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
        std::size_t exponent = end + 1;
        if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-'))
          ++exponent;
        if (exponent < text_.size() && is_ascii_digit(text_[exponent]))
          end = digits_end(exponent, decimal);
      }
    }
    if (end > whole) {
      const std::string written = without_underscores(text_.substr(at_, end - at_));
      double value = 0;
      const auto read = std::from_chars(written.data(), written.data() + written.size(), value);
      if (read.ec != std::errc()) refuse("number ", written, " is out of range");
      push(Token::Kind::real).real = value;
      advance(end);
      return true;
    }
    read_integer(whole);
    return true;
  }

  void read_integer(std::size_t whole) {
    static constexpr struct {
      char letter;
      int base;
      std::string_view digits;
    } bases[] = {{'b', 2, "01"}, {'o', 8, "01234567"}, {'x', 16, "0123456789abcdefABCDEF"}};
    std::size_t end = whole, skip = 0;
    int base = 10;
    for (const auto& entry : bases) {
      if (peek() == '0' && (peek(1) | 0x20) == entry.letter &&
          digits_end(at_ + 2, entry.digits) > at_ + 2) {
        end = digits_end(at_ + 2, entry.digits);
        base = entry.base;
        skip = 2;
      }
    }
    if (base == 10 && peek() == '0') {  // 0 is no prefix: 007 is 00 and 7, an error to the parser
      end = digits_end(at_, "0");
    }
    const std::string written = without_underscores(text_.substr(at_ + skip, end - at_ - skip));
    std::int64_t value = 0;
    const auto read = std::from_chars(written.data(), written.data() + written.size(), value, base);
    if (read.ec != std::errc()) refuse("integer ", written, " has more than 64 bits");
    push(Token::Kind::integer).integer = value;
    advance(end);
  }

  bool read_name() {
    std::size_t end = at_;
    while (end < text_.size()) {
      int length = 0;
      const char32_t value = tokens::valid_code_point(text_.data() + end, length);
      const bool fits = value < 128 ? (value == '_' || is_ascii_digit(static_cast<char>(value)) ||
                                       ((value | 0x20) >= 'a' && (value | 0x20) <= 'z'))
                                    : (tokens::classes_of(value) & tokens::word) != 0;
      if (!fits) break;
      end += static_cast<std::size_t>(length);
    }
    if (end == at_) return false;
    push(Token::Kind::name, std::string(text_.substr(at_, end - at_)));
    advance(end);
    return true;
  }

  bool read_string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return false;
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) refuse("unexpected char ", quote, ": a string that does not end");
    std::string value = unescaped(text_.substr(at_ + 1, end - at_ - 1));
    push(Token::Kind::string, std::move(value));
    advance(end + 1);
    return true;
  }

  std::string unescaped(std::string_view written) const {
    std::string out;
    for (std::size_t at = 0; at < written.size(); ++at) {
      if (written[at] != '\\') {
        out += written[at];
        continue;
      }
      at = append_escaped(out, written, at + 1);
    }
    return out;
  }

  // Reads the escape whose letter stands at `at`; returns the place of its last character.
  std::size_t append_escaped(std::string& out, std::string_view written, std::size_t at) const {
    static constexpr std::string_view letters = "\\'\"abfnrtv", values = "\\'\"\a\b\f\n\r\t\v";
    const char letter = written[at];
    if (const std::size_t place = letters.find(letter); place != std::string_view::npos) {
      out += values[place];
      return at;
    }
    if (letter == '\n') return at;  // an escaped line end is nothing
    if (letter >= '0' && letter <= '7') {
      char32_t value = 0;
      std::size_t end = at;
      for (; end < at + 3 && end < written.size() && written[end] >= '0' && written[end] <= '7';
           ++end)
        value = value * 8 + static_cast<char32_t>(written[end] - '0');
      tokens::append_code_point(out, value);
      return end - 1;
    }
    const std::size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    if (digits == 0) {
      if (letter == 'N') refuse("escapes by character name are not supported");
      out += '\\';  // unknown escapes stay as they are
      out += letter;
      return at;
    }
    std::uint32_t value = 0;
    const char* begin = written.data() + at + 1;
    const bool fits = at + digits < written.size();
    const auto read = fits ? std::from_chars(begin, begin + digits, value, 16)
                           : std::from_chars_result{begin, std::errc::invalid_argument};
    if (read.ec != std::errc() || read.ptr != begin + digits)
      refuse("truncated \\", letter, " escape");
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
      refuse("escape of a code point that is no character");
    tokens::append_code_point(out, value);
    return at + digits;
  }

  void read_operator(std::string& open_brackets) {
    static constexpr std::array<std::string_view, 25> operators = {
        "//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ","};
    for (const std::string_view op : operators) {
      if (!starts(op)) continue;
      const std::size_t opening = std::string_view("([{").find(op[0]);
      if (op.size() == 1 && opening != std::string_view::npos) open_brackets += ")]}"[opening];
      if (op == ")" || op == "]" || op == "}") {
        if (open_brackets.empty()) refuse("unexpected '", op, "'");
        if (open_brackets.back() != op[0])
          refuse("unexpected '", op, "', expected '", open_brackets.back(), "'");
        open_brackets.pop_back();
      }
      push(Token::Kind::op, std::string(op));
      return advance(at_ + op.size());
    }
    refuse("unexpected char '",
           text_.substr(at_, static_cast<std::size_t>(tokens::character_length(peek()))), "'");
  }

  std::string source_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t pending_end_ = 0;  // where the tag just read ends
  int line_ = 1;
  bool line_starting_ = true;  // what was read last ends a line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace quaver::jinja
