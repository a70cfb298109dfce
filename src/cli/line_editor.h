#pragma once
// Reading lines from a person: editing and history on a terminal, plain lines elsewhere.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quaver::cli {

// The line being edited: UTF-8, and the byte at which the cursor stands. The keys are those of
// readline's Emacs mode.
class EditedLine {
 public:
  enum class Outcome { open, entered, cancelled, ended };

  // `history`: earlier lines, the latest last; it must outlive the line.
  explicit EditedLine(const std::vector<std::string>& history) : history_(&history) {}

  // Takes the next byte of what the terminal sends.
  Outcome push(char byte);
  const std::string& text() const { return text_; }
  std::size_t cursor() const { return cursor_; }

 private:
  Outcome control(char byte);
  void escape(std::string_view sequence);
  void insert(std::string_view bytes);
  void erase(std::size_t begin, std::size_t end);
  void recall(int step);
  std::size_t before() const;  // the character before the cursor
  std::size_t after() const;   // behind the character at the cursor
  std::size_t word_before() const;
  std::size_t word_after() const;

  const std::vector<std::string>* history_;
  std::string text_, own_, pending_;  // own_: what stood there before history was looked at
  std::size_t cursor_ = 0, back_ = 0;
  bool pasting_ = false;  // between the marks of bracketed paste, line ends are text
};

class LineReader {
 public:
  // `prompt` is shown on a terminal only.
  explicit LineReader(std::string prompt) : prompt_(std::move(prompt)) {}

  // Whether lines come from a person at a terminal that understands cursor movements.
  static bool interactive();

  // The next line without its end; nothing at the end of input. Ctrl-C drops the line and begins a
  // new one.
  std::optional<std::string> read();

 private:
  std::optional<std::string> edited();
  void draw(const EditedLine& line) const;

  std::string prompt_;
  std::vector<std::string> history_;
};

}  // namespace quaver::cli
