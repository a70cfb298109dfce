// Oniguruma's syntax (github.com/kkos/oniguruma, doc/RE, ONIG_SYNTAX_ONIGURUMA) in PCRE2's. What
// differs: classes nest and intersect; \h is a hexadecimal digit; (?m) is about dots; {n,m}+ and
// {n}? repeat again; \s, \w and properties come from other tables.
#include <algorithm>
#include <cctype>
#include <vector>

#include "text/regex.h"
#include "text/utf8.h"

namespace quaver::tokens {
namespace {

constexpr int deepest_group = 100;
constexpr std::size_t longest_translation = std::size_t{1} << 20;  // bytes

struct PropertyName {
  std::string_view name;   // lower case, no blanks, hyphens, underscores
  std::string_view key;    // in the table of extras
  std::string_view items;  // of a PCRE2 class
};

constexpr std::string_view space_items =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view hexadecimal_items = "0-9A-Fa-f";

// "" as a key: all that is in the class with `items` counts; the extras of a group of categories
// are those of its members.
constexpr PropertyName property_names[] = {
    {"letter", "l", R"(\p{L})"},
    {"l", "l", R"(\p{L})"},
    {"uppercaseletter", "lu", R"(\p{Lu})"},
    {"lowercaseletter", "ll", R"(\p{Ll})"},
    {"titlecaseletter", "lt", R"(\p{Lt})"},
    {"casedletter", "lc", R"(\p{Lu}\p{Ll}\p{Lt})"},
    {"lc", "lc", R"(\p{Lu}\p{Ll}\p{Lt})"},
    {"modifierletter", "lm", R"(\p{Lm})"},
    {"otherletter", "lo", R"(\p{Lo})"},
    {"mark", "m", R"(\p{M})"},
    {"combiningmark", "m", R"(\p{M})"},
    {"m", "m", R"(\p{M})"},
    {"nonspacingmark", "mn", R"(\p{Mn})"},
    {"spacingmark", "mc", R"(\p{Mc})"},
    {"enclosingmark", "me", R"(\p{Me})"},
    {"number", "n", R"(\p{N})"},
    {"n", "n", R"(\p{N})"},
    {"decimalnumber", "nd", R"(\p{Nd})"},
    {"digit", "nd", R"(\p{Nd})"},
    {"letternumber", "nl", R"(\p{Nl})"},
    {"othernumber", "no", R"(\p{No})"},
    {"punctuation", "p", R"(\p{P})"},
    {"p", "p", R"(\p{P})"},
    {"connectorpunctuation", "pc", R"(\p{Pc})"},
    {"dashpunctuation", "pd", R"(\p{Pd})"},
    {"openpunctuation", "ps", R"(\p{Ps})"},
    {"closepunctuation", "pe", R"(\p{Pe})"},
    {"initialpunctuation", "pi", R"(\p{Pi})"},
    {"finalpunctuation", "pf", R"(\p{Pf})"},
    {"otherpunctuation", "po", R"(\p{Po})"},
    {"symbol", "s", R"(\p{S})"},
    {"s", "s", R"(\p{S})"},
    {"mathsymbol", "sm", R"(\p{Sm})"},
    {"currencysymbol", "sc", R"(\p{Sc})"},
    {"modifiersymbol", "sk", R"(\p{Sk})"},
    {"othersymbol", "so", R"(\p{So})"},
    {"separator", "", R"(\p{Z})"},
    {"z", "", R"(\p{Z})"},
    {"spaceseparator", "", R"(\p{Zs})"},
    {"zs", "", R"(\p{Zs})"},
    {"lineseparator", "", R"(\p{Zl})"},
    {"zl", "", R"(\p{Zl})"},
    {"paragraphseparator", "", R"(\p{Zp})"},
    {"zp", "", R"(\p{Zp})"},
    {"control", "", R"(\p{Cc})"},
    {"cc", "", R"(\p{Cc})"},
    {"co", "", R"(\p{Co})"},
    {"cntrl", "", R"(\p{Cc})"},
    {"format", "cf", R"(\p{Cf})"},
    {"privateuse", "", R"(\p{Co})"},
    {"any", "", R"(\x{0}-\x{10FFFF})"},
    {"ascii", "", R"(\x{0}-\x{7F})"},
    {"whitespace", "", space_items},
    {"space", "", space_items},
    {"blank", "", R"(\p{Zs}\t)"},
    {"xdigit", "", hexadecimal_items},
    {"alphabetic", "alpha", R"(\p{Alphabetic})"},
    {"alpha", "alpha", R"(\p{Alphabetic})"},
    {"uppercase", "upper", R"(\p{Uppercase})"},
    {"upper", "upper", R"(\p{Uppercase})"},
    {"lowercase", "lower", R"(\p{Lowercase})"},
    {"lower", "lower", R"(\p{Lowercase})"},
    {"alnum", "alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"graph", "graph", R"(\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co})"},
    {"print", "print", R"(\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}\p{Zs})"},
    {"word", "word", R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})"},
    {"emoji", "emoji", R"(\p{Emoji})"},
    {"extendedpictographic", "", R"(\p{Extended_Pictographic})"},
    {"punct", "p", R"(\p{P})"},
};

struct Extra {
  std::string_view key;
  char32_t first, last;
};
// What PCRE2's older tables lack.
constexpr Extra extras[] = {
#include "text/unicode_properties.inl"
};

std::string escaped(char32_t code) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string out = "}";
  do {
    out.insert(out.begin(), digits[code & 15]);
    code >>= 4;
  } while (code != 0);
  return "\\x{" + out;
}

std::string with_extras(std::string_view items, std::string_view key) {
  std::string out(items);
  if (key.empty()) return out;
  for (const Extra& extra : extras) {
    // Categories have keys of two letters; one letter is all that begin with it.
    const bool cased = key == "lc" && (extra.key == "lu" || extra.key == "ll" || extra.key == "lt");
    const bool member =
        key.size() == 1 && key != "w" && extra.key.size() == 2 && extra.key[0] == key[0];
    if (extra.key != key && !cased && !member) continue;
    out += escaped(extra.first);
    if (extra.last != extra.first) out += "-" + escaped(extra.last);
  }
  return out;
}

// Outside of classes the library counts the likes of U+00B2 to \w, in classes it does not.
std::string word_items(bool in_class) {
  return with_extras(R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})", in_class ? "word" : "w");
}

// The union of class items and of whole expressions for one character each; intersected with more
// of the same, and negated.
struct Set {
  std::string items;
  std::vector<std::string> others;
  std::vector<std::string> intersected;
  bool negated = false;

  std::string united() const {
    if (others.empty()) return items.empty() ? "(?!)" : "[" + items + "]";
    std::string out = "(?:";
    if (!items.empty()) out += "[" + items + "]|";
    for (std::size_t i = 0; i < others.size(); ++i) (out += i > 0 ? "|" : "") += others[i];
    return out + ")";
  }

  std::string expression() const {
    if (others.empty() && intersected.empty()) {
      if (!negated) return united();
      return items.empty() ? "(?s:.)" : "[^" + items + "]";
    }
    std::string out = united();
    if (!intersected.empty()) {
      std::string all = "(?:";
      for (const std::string& other : intersected) all += "(?=" + other + ")";
      out = all + out + ")";
    }
    return negated ? "(?:(?!" + out + ")(?s:.))" : out;
  }
};

class Translation {
 public:
  Translation(std::string_view source, std::string_view where) : source_(source), where_(where) {}

  std::string run() {
    while (at_ < source_.size()) step();
    if (groups_.size() != 1) refuse("an open group");
    return std::move(out_.append(groups_[0].flag_groups, ')'));
  }

 private:
  struct Group {
    std::size_t begin;            // in out_
    bool extended;                // to come back to
    std::size_t flag_groups = 0;  // of (?i) and the like, which last to the end of this group
  };

  [[noreturn]] void refuse(std::string_view what) const {
    fail(Fault::unsupported, where_, ": regular expression ", source_, " : ", what, " at byte ",
         at_, " is not supported");
  }

  bool next_is(std::string_view text) const {
    return source_.substr(std::min(at_, source_.size()), text.size()) == text;
  }
  bool skip(std::string_view text) {
    if (!next_is(text)) return false;
    at_ += text.size();
    return true;
  }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }

  void atom(std::string_view expression) {
    if (out_.size() > longest_translation) refuse("so long an expression");
    atom_begin_ = out_.size();
    out_ += expression;
  }

  void step() {
    const char c = source_[at_];
    if (c == '[') {
      ++at_;
      atom(set(0).expression());
    } else if (c == '\\') {
      ++at_;
      escape();
    } else if (c == '(') {
      open_group();
    } else if (c == ')') {
      close_group();
    } else if (c == '{' && interval()) {
      return;
    } else if (extended_ && c == '#') {
      while (at_ < source_.size() && source_[at_] != '\n') ++at_;
    } else if (extended_ && std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++at_;
    } else if (c == '*' || c == '+' || c == '?' || c == '|' || c == '^' || c == '$' || c == '.') {
      if (c == '.') atom_begin_ = out_.size();
      out_ += c;
      ++at_;
    } else {
      atom(literal());
    }
  }

  // The character at at_, which may be several bytes, for use outside of classes.
  std::string literal() {
    const auto length = static_cast<std::size_t>(character_length(source_[at_]));
    std::string out(source_.substr(at_, length));
    at_ += length;
    if (length == 1 && std::isalnum(static_cast<unsigned char>(out[0])) == 0) {
      return escaped(static_cast<unsigned char>(out[0]));
    }
    return out;
  }

  void open_group() {
    if (groups_.size() >= deepest_group) refuse("a group in too many groups");
    if (next_is("(*")) refuse("a verb (*");
    if (skip("(?#")) {
      while (at_ < source_.size() && source_[at_] != ')') at_ += peek() == '\\' ? 2 : 1;
      ++at_;
      return;
    }
    if (next_is("(?") && flags()) return;
    groups_.push_back({out_.size(), extended_});
    for (const std::string_view head : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (skip(head)) {
        out_ += head;
        return;
      }
    }
    if (next_is("(?<") || next_is("(?'")) return named_group();
    if (next_is("(?")) refuse("a group (?" + std::string(1, peek(2)));
    out_ += '(';
    ++at_;
  }

  void named_group() {
    const char end = peek(2) == '<' ? '>' : '\'';
    const std::size_t close = source_.find(end, at_ + 3);
    const std::string_view name = source_.substr(at_ + 3, close - (at_ + 3));
    const bool good = close != std::string_view::npos && !name.empty() &&
                      std::all_of(name.begin(), name.end(),
                                  [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    if (!good) refuse("the name of a group");
    (out_ += "(?<") += name;
    out_ += '>';
    at_ = close + 1;
  }

  // (?imx-imx) and (?imx-imx:...): m is about dots, and so PCRE2's s.
  bool flags() {
    std::size_t end = at_ + 2;
    bool extended = extended_, off = false;
    std::string letters;
    for (; end < source_.size() && source_[end] != ')' && source_[end] != ':'; ++end) {
      const char c = source_[end];
      if (c == '-') {
        off = true;
      } else if (c == 'x') {
        extended = !off;
        continue;  // what it means is done here
      } else if (c != 'i' && c != 'm') {
        return false;
      }
      letters += c == 'm' ? 's' : c;
    }
    if (end >= source_.size() || end == at_ + 2) return false;
    if (letters == "-") letters.clear();
    if (source_[end] == ':') {
      groups_.push_back({out_.size(), extended_});
      out_ += "(?" + letters + ":";
    } else if (!letters.empty()) {
      out_ += "(?" + letters + ":";
      ++groups_.back().flag_groups;
    }
    extended_ = extended;
    at_ = end + 1;
    return true;
  }

  void close_group() {
    if (groups_.size() == 1) refuse("a ) without (");
    extended_ = groups_.back().extended;
    atom_begin_ = groups_.back().begin;
    out_.append(groups_.back().flag_groups, ')');
    groups_.pop_back();
    out_ += ')';
    ++at_;
  }

  // {n}, {n,}, {,m}, {n,m}; a + or ? after it repeats the whole but for {n,m}?, which is lazy.
  bool interval() {
    std::size_t end = at_ + 1;
    const auto digits = [&] {
      const std::size_t begin = end;
      while (end < source_.size() && std::isdigit(static_cast<unsigned char>(source_[end])) != 0) {
        ++end;
      }
      return source_.substr(begin, end - begin);
    };
    const std::string_view low = digits();
    const bool comma = end < source_.size() && source_[end] == ',';
    if (comma) ++end;
    const std::string_view high = comma ? digits() : low;
    const bool good = end < source_.size() && source_[end] == '}' && !(low.empty() && high.empty());
    if (!good || low.size() > 5 || high.size() > 5) return false;
    at_ = end + 1;
    out_ += '{';
    (out_ += low.empty() ? "0" : low);
    if (comma) (out_ += ',') += high;
    out_ += '}';
    const bool again = peek() == '+' || (peek() == '?' && !comma);
    if (!again) return true;
    out_.insert(atom_begin_, "(?:");
    (out_ += ')') += peek();
    ++at_;
    return true;
  }

  void escape() {
    if (at_ >= source_.size()) refuse("a \\ at the end");
    const char c = source_[at_];
    Set found;
    if (class_escape(found, false)) return atom(found.expression());
    const std::string word = "[" + word_items(false) + "]";
    switch (c) {
      case 'b':
        atom("(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))");
        break;
      case 'B':
        atom("(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))");
        break;
      case 'A':
      case 'z':
      case 'Z':
      case 'G':
      case 'K':
      case 'R':
      case 'N':
        atom(std::string("\\") + c);
        break;
      case 'O':
        atom("(?s:.)");
        break;
      case 'k':
      case 'g':
        return reference();
      case 'X':
      case 'y':
      case 'Y':
        refuse(std::string("\\") + c);
      default:
        if (c >= '1' && c <= '9') return number_reference();
        return atom(escaped(character_escape()));
    }
    ++at_;
  }

  void number_reference() {
    std::string number;
    while (std::isdigit(static_cast<unsigned char>(peek())) != 0) number += source_[at_++];
    if (number.size() > 3) refuse("a back reference");
    atom("\\g{" + number + "}");
  }

  // \k<name>, \g<name>
  void reference() {
    const std::size_t close = source_.find(peek(1) == '<' ? '>' : '\'', at_ + 2);
    if ((peek(1) != '<' && peek(1) != '\'') || close == std::string_view::npos) {
      refuse("a reference");
    }
    const std::string_view name = source_.substr(at_ + 2, close - (at_ + 2));
    for (const char c : name) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '-') {
        refuse("a reference");
      }
    }
    atom("\\" + std::string(1, peek()) + "<" + std::string(name) + ">");
    at_ = close + 1;
  }

  // \t, \x41, \x{1F600}, \u00e9, \012 and characters that stand for themselves: at_ is after the \.
  char32_t character_escape() {
    constexpr std::pair<char, char> controls[] = {{'t', '\t'},  {'n', '\n'}, {'r', '\r'},
                                                  {'f', '\f'},  {'v', '\v'}, {'a', '\a'},
                                                  {'e', '\x1B'}};
    for (const auto& [letter, control] : controls) {
      if (peek() == letter) {
        ++at_;
        return static_cast<unsigned char>(control);
      }
    }
    if (peek() == 'x') return hexadecimal();
    if (skip("u")) return digits_of(16, 4, 4);
    if (peek() == '0') return digits_of(8, 1, 3);
    if (peek() == 'c' || peek() == 'C' || peek() == 'M') refuse("a control escape");
    int length;
    const char32_t code = valid_code_point(source_.data() + at_, length);
    at_ += static_cast<std::size_t>(length);
    return code;
  }

  char32_t hexadecimal() {
    ++at_;
    if (!skip("{")) {
      const char32_t code = digits_of(16, 1, 2);
      if (code >= 0x80) refuse("a byte of UTF-8 by its number");
      return code;
    }
    const char32_t code = digits_of(16, 1, 8);
    if (!skip("}") || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      refuse("a code point");
    }
    return code;
  }

  char32_t digits_of(int base, int least, int most) {
    char32_t value = 0;
    int count = 0;
    for (; count < most; ++count) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : 99;
      if (digit >= base) break;
      value = value * static_cast<char32_t>(base) + static_cast<char32_t>(digit);
      ++at_;
    }
    if (count < least || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      refuse("a number of a character");
    }
    return value;
  }

  // \s, \w, \d, \h, \p{...} and their opposites, added to `set`. at_ is after the \.
  bool class_escape(Set& set, bool in_class) {
    const char c = peek();
    std::string items;
    switch (c) {
      case 's':
      case 'S':
        items = space_items;
        break;
      case 'w':
      case 'W':
        items = word_items(in_class);
        break;
      case 'd':
      case 'D':
        items = with_extras(R"(\p{Nd})", "nd");
        break;
      case 'h':
      case 'H':
        items = hexadecimal_items;
        break;
      case 'p':
      case 'P':
        if (peek(1) != '{') refuse("a property without braces");
        property(set);
        return true;
      default:
        return false;
    }
    ++at_;
    add(set, items, c >= 'A' && c <= 'Z');
    return true;
  }

  static void add(Set& set, const std::string& items, bool negated) {
    if (negated) {
      set.others.push_back("[^" + items + "]");
    } else {
      set.items += items;
    }
  }

  void property(Set& set) {
    bool negated = peek() == 'P';
    at_ += 2;
    if (skip("^")) negated = !negated;
    const std::size_t close = source_.find('}', at_);
    if (close == std::string_view::npos) refuse("a property without end");
    const std::string_view name = source_.substr(at_, close - at_);
    at_ = close + 1;
    add(set, items_of(name, false), negated);
  }

  // Class items of a property, or of a POSIX bracket.
  std::string items_of(std::string_view name, bool posix) {
    std::string plain;
    for (const char c : name) {
      if (c == ' ' || c == '_' || c == '-') continue;
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) refuse("a property's name");
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (posix && plain == "punct") return with_extras(R"(\p{P}\p{S})", "punct");
    for (const PropertyName& row : property_names) {
      if (row.name == plain || (row.key == plain && plain != "w")) {
        return with_extras(row.items, row.key);
      }
    }
    if (posix || plain.size() < 3) refuse("the property " + std::string(name));
    // Scripts: PCRE2 means the extended ones unless told.
    return with_extras("\\p{sc:" + std::string(name) + "}", plain);
  }

  // One end of a range, or a single character; false: what came was a class and is in `set`.
  bool member(Set& set, char32_t& code) {
    if (!skip("\\")) {
      int length;
      code = valid_code_point(source_.data() + at_, length);
      at_ += static_cast<std::size_t>(length);
      return true;
    }
    if (at_ >= source_.size()) refuse("a \\ at the end");
    if (class_escape(set, true)) return false;
    if (skip("b")) {
      code = '\b';
      return true;
    }
    code = character_escape();
    return true;
  }

  bool posix_bracket(Set& set) {
    if (!next_is("[:")) return false;
    const std::size_t close = source_.find(":]", at_ + 2);
    if (close == std::string_view::npos || close > at_ + 20) return false;
    at_ += 2;
    const bool negated = skip("^");
    add(set, items_of(source_.substr(at_, close - at_), true), negated);
    at_ = close + 2;
    return true;
  }

  // A class whose [ has been read.
  Set set(int depth) {
    if (depth > deepest_group) refuse("a class in too many classes");
    Set result, part;  // part: between two &&
    result.negated = skip("^");
    std::vector<std::string> parts;
    bool first = true;
    for (; !next_is("]") || first; first = false) {
      if (at_ >= source_.size()) refuse("a class without end");
      if (posix_bracket(part)) continue;
      if (skip("[")) {
        part.others.push_back(set(depth + 1).expression());
        continue;
      }
      if (skip("&&")) {
        parts.push_back(part.united());
        part = {};
        continue;
      }
      char32_t low = 0, high = 0;
      if (!member(part, low)) continue;
      high = low;
      if (peek() == '-' && peek(1) != ']' && peek(1) != '\0' && peek(1) != '[') {
        ++at_;
        if (!member(part, high)) {
          part.items += escaped('-');
          high = low;
        }
      }
      if (high < low) refuse("a range that runs backwards");
      part.items += escaped(low);
      if (high > low) part.items += "-" + escaped(high);
    }
    ++at_;
    result.items = std::move(part.items);
    result.others = std::move(part.others);
    result.intersected = std::move(parts);
    return result;
  }

  std::string_view source_, where_;
  std::size_t at_ = 0;
  std::string out_;
  std::size_t atom_begin_ = 0;  // of the last atom in out_, which a quantifier repeats
  std::vector<Group> groups_ = {{0, false}};  // the whole, and the open ones
  bool extended_ = false;
};

}  // namespace

std::string pcre2_pattern(std::string_view oniguruma, std::string_view where) {
  ensure_file(is_valid_utf8(oniguruma), where, ": a regular expression is not UTF-8");
  return Translation(oniguruma, where).run();
}

}  // namespace quaver::tokens
