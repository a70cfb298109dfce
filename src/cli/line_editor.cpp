#include "cli/line_editor.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <span>

#include "cli/terminal.h"
#include "core/error.h"

namespace quaver::cli {
namespace {

constexpr char escape_key = '\x1b';
constexpr char ctrl(char letter) { return static_cast<char>(letter & 0x1f); }
bool continues(char byte) { return (byte & 0xC0) == 0x80; }  // within a UTF-8 character
bool is_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\n'; }

// The terminal without its own line editing, while this lives.
class RawTerminal {
 public:
  RawTerminal() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) fail(Fault::io, "terminal: cannot read its mode");
    termios raw = before_;
    raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0)
      fail(Fault::io, "terminal: cannot set its mode");
    send("\x1b[?2004h");  // bracketed paste
  }
  ~RawTerminal() {
    send("\x1b[?2004l");
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  // Must not throw: the mode is set already. A terminal that is gone is noticed by the next read.
  static void send(std::string_view sequence) {
    [[maybe_unused]] const auto sent = write(STDOUT_FILENO, sequence.data(), sequence.size());
  }

  termios before_{};
};

struct CodeRange {
  std::uint32_t first, last;
  int columns;
};
// Characters that take no column or two; all others take one.
constexpr CodeRange widths[] = {{0x0300, 0x036F, 0}, {0x1100, 0x115F, 2},   {0x200B, 0x200F, 0},
                                {0x2E80, 0xA4CF, 2}, {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2},
                                {0xFE00, 0xFE0F, 0}, {0xFE30, 0xFE6F, 2},   {0xFF00, 0xFF60, 2},
                                {0xFFE0, 0xFFE6, 2}, {0x1F300, 0x1FAFF, 2}, {0x20000, 0x3FFFD, 2}};

struct Cell {
  std::string bytes;
  int columns = 1;
};

// One character of UTF-8 a cell; what a terminal would obey is shown as a sign.
std::vector<Cell> cells(std::string_view text) {
  std::vector<Cell> out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i + 1;
    while (end < text.size() && continues(text[end])) ++end;
    Cell cell{.bytes = std::string(text.substr(i, end - i))};
    const auto lead = static_cast<unsigned char>(text[i]);
    std::uint32_t code = lead < 0x80 ? lead : lead & (0x7Fu >> std::min<std::size_t>(end - i, 6));
    for (std::size_t j = i + 1; j < end; ++j)
      code = code << 6 | (static_cast<unsigned char>(text[j]) & 0x3Fu);
    for (const CodeRange& range : widths)
      if (code >= range.first && code <= range.last) cell.columns = range.columns;
    if (code == '\n') cell.bytes = "\u21b5";
    if (code != '\n' && (code < 0x20 || code == 0x7F)) cell.bytes = "?";
    out.push_back(std::move(cell));
    i = end;
  }
  return out;
}

int columns_of(std::span<const Cell> some) {
  int sum = 0;
  for (const Cell& cell : some) sum += cell.columns;
  return sum;
}

int screen_columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

// --- EditedLine ----------------------------------------------------------------------------------

std::size_t EditedLine::before() const {
  std::size_t at = cursor_;
  while (at > 0 && continues(text_[--at])) {
  }
  return at;
}

std::size_t EditedLine::after() const {
  std::size_t at = std::min(cursor_ + 1, text_.size());
  while (at < text_.size() && continues(text_[at])) ++at;
  return at;
}

std::size_t EditedLine::word_before() const {
  std::size_t at = cursor_;
  while (at > 0 && is_space(text_[at - 1])) --at;
  while (at > 0 && !is_space(text_[at - 1])) --at;
  return at;
}

std::size_t EditedLine::word_after() const {
  std::size_t at = cursor_;
  while (at < text_.size() && is_space(text_[at])) ++at;
  while (at < text_.size() && !is_space(text_[at])) ++at;
  return at;
}

void EditedLine::insert(std::string_view bytes) {
  text_.insert(cursor_, bytes);
  cursor_ += bytes.size();
}

void EditedLine::erase(std::size_t begin, std::size_t end) {
  text_.erase(begin, end - begin);
  cursor_ = begin;
}

// Shows the line of history `step` lines further back.
void EditedLine::recall(int step) {
  if (step < 0 ? back_ == 0 : back_ == history_->size()) return;
  if (back_ == 0) own_ = text_;
  back_ = step < 0 ? back_ - 1 : back_ + 1;
  text_ = back_ == 0 ? own_ : (*history_)[history_->size() - back_];
  cursor_ = text_.size();
}

// What follows the escape byte, up to and with the letter that ends it.
void EditedLine::escape(std::string_view sequence) {
  struct Key {
    std::string_view sequence;
    void (*press)(EditedLine&);
  };
  static constexpr auto up = [](EditedLine& l) { l.recall(1); };
  static constexpr auto down = [](EditedLine& l) { l.recall(-1); };
  static constexpr auto right = [](EditedLine& l) { l.cursor_ = l.after(); };
  static constexpr auto left = [](EditedLine& l) { l.cursor_ = l.before(); };
  static constexpr auto home = [](EditedLine& l) { l.cursor_ = 0; };
  static constexpr auto end = [](EditedLine& l) { l.cursor_ = l.text_.size(); };
  static constexpr auto remove = [](EditedLine& l) { l.erase(l.cursor_, l.after()); };
  static constexpr auto word_left = [](EditedLine& l) { l.cursor_ = l.word_before(); };
  static constexpr auto word_right = [](EditedLine& l) { l.cursor_ = l.word_after(); };
  static constexpr Key keys[] = {
      {"[A", up},
      {"OA", up},
      {"[B", down},
      {"OB", down},
      {"[C", right},
      {"OC", right},
      {"[D", left},
      {"OD", left},
      {"[H", home},
      {"OH", home},
      {"[1~", home},
      {"[7~", home},
      {"[F", end},
      {"OF", end},
      {"[4~", end},
      {"[8~", end},
      {"[3~", remove},
      {"[1;5D", word_left},
      {"[1;5C", word_right},
      {"b", word_left},
      {"f", word_right},
      {"[200~", [](EditedLine& l) { l.pasting_ = true; }},
      {"[201~", [](EditedLine& l) { l.pasting_ = false; }},
  };
  for (const Key& key : keys)
    if (key.sequence == sequence) key.press(*this);
}

EditedLine::Outcome EditedLine::control(char byte) {
  switch (byte) {
    case '\r':
    case '\n':
      return Outcome::entered;
    case ctrl('C'):
      return Outcome::cancelled;
    case ctrl('D'):
      if (text_.empty()) return Outcome::ended;
      erase(cursor_, after());
      break;
    case ctrl('A'):
      cursor_ = 0;
      break;
    case ctrl('E'):
      cursor_ = text_.size();
      break;
    case ctrl('B'):
      cursor_ = before();
      break;
    case ctrl('F'):
      cursor_ = after();
      break;
    case ctrl('P'):
      recall(1);
      break;
    case ctrl('N'):
      recall(-1);
      break;
    case ctrl('K'):
      erase(cursor_, text_.size());
      break;
    case ctrl('U'):
      erase(0, cursor_);
      break;
    case ctrl('W'):
      erase(word_before(), cursor_);
      break;
    case ctrl('H'):
    case '\x7f':
      erase(before(), cursor_);
      break;
    default:
      break;
  }
  return Outcome::open;
}

EditedLine::Outcome EditedLine::push(char byte) {
  if (!pending_.empty()) {
    pending_ += byte;
    const bool opens = pending_.size() == 2 && (byte == '[' || byte == 'O');
    const bool inner = pending_.size() > 2 && pending_[1] == '[' && byte >= 0x20 && byte < 0x40;
    if (opens || inner) return Outcome::open;
    const std::string sequence = pending_.substr(1);
    pending_.clear();
    escape(sequence);
  } else if (byte == escape_key) {
    pending_ = byte;
  } else if (pasting_ && (byte == '\r' || byte == '\n')) {
    insert("\n");
  } else if (pasting_ && byte == '\t') {
    insert("\t");
  } else if (static_cast<unsigned char>(byte) >= 0x20 && byte != '\x7f') {
    insert({&byte, 1});
  } else {
    return control(byte);
  }
  return Outcome::open;
}

// --- LineReader ----------------------------------------------------------------------------------

bool LineReader::interactive() {
  const char* const kind = std::getenv("TERM");
  return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind != nullptr &&
         std::string_view(kind) != "dumb";
}

// One row of the screen: a line that is longer shows the part around the cursor.
void LineReader::draw(const EditedLine& line) const {
  const std::vector<Cell> all = cells(line.text());
  const std::size_t cursor = cells(std::string_view(line.text()).substr(0, line.cursor())).size();
  const int prompt = columns_of(cells(prompt_)), room = screen_columns() - prompt - 1;
  const std::span<const Cell> whole(all);
  std::size_t first = 0, last = cursor;
  while (columns_of(whole.subspan(first, cursor - first)) > room) ++first;
  while (last < all.size() && columns_of(whole.subspan(first, last + 1 - first)) <= room) ++last;
  std::string out = "\r" + prompt_;
  for (const Cell& cell : whole.subspan(first, last - first)) out += cell.bytes;
  out += "\x1b[K\r";
  const int column = prompt + columns_of(whole.subspan(first, cursor - first));
  if (column > 0) out += "\x1b[" + std::to_string(column) + "C";
  print(out);
}

std::optional<std::string> LineReader::edited() {
  const RawTerminal raw;
  EditedLine line(history_);
  char byte = 0;
  for (;;) {
    draw(line);
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return std::nullopt;
    switch (line.push(byte)) {
      case EditedLine::Outcome::entered:
        print("\n");
        return line.text();
      case EditedLine::Outcome::cancelled:
        print("^C\n");
        line = EditedLine(history_);
        break;
      case EditedLine::Outcome::ended:
        print("\n");
        return std::nullopt;
      case EditedLine::Outcome::open:
        break;
    }
  }
}

std::optional<std::string> LineReader::read() {
  if (!interactive()) {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  std::optional<std::string> line = edited();
  if (line && !line->empty() && (history_.empty() || history_.back() != *line))
    history_.push_back(*line);
  return line;
}

}  // namespace quaver::cli
