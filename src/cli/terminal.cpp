#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <sstream>

namespace quaver::cli {
namespace {

constexpr double plain_line_seconds = 10, live_line_seconds = 0.1;

volatile std::sig_atomic_t interrupts = 0;

void on_interrupt(int) {
  interrupts = 1;
  std::signal(SIGINT, SIG_DFL);
}

int terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

double seconds_since(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

// Columns of a terminal that UTF-8 text takes, near enough for our own tables.
std::size_t width(std::string_view s) {
  return static_cast<std::size_t>(
      std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool looks_like_number(const std::string& s) {
  return s.empty() || std::isdigit(static_cast<unsigned char>(s[0])) || s == "-" ||
         (s.size() > 1 && s[0] == '-' && std::isdigit(static_cast<unsigned char>(s[1])));
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    fail(Fault::io, "standard output: cannot write");
}

void print_json(const Json& value) {
  print(value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void note(const CommonOptions& common, std::string_view line) {
  if (common.quiet) return;
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

bool live_terminal() {
  const char* const kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) && kind != nullptr && std::string_view(kind) != "dumb";
}

std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  std::vector<bool> numeric;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      if (c == widths.size()) widths.push_back(0), numeric.push_back(true);
      widths[c] = std::max(widths[c], width(rows[r][c]));
      if (r > 0 && !looks_like_number(rows[r][c])) numeric[c] = false;
    }
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - width(row[c]), ' ');
      line += (c == 0 ? "" : "  ") + (numeric[c] ? space + row[c] : row[c] + space);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string in_words(std::int64_t bytes) {
  static constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 999.95 && unit < 5) value /= 1000, ++unit;
  return fixed(value, unit == 0 ? 0 : 1) + " " + units[unit];
}

std::string time_in_words(double seconds) {
  if (seconds < 9.95) return fixed(seconds, 1) + " s";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  const auto two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + " min " + two(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + two(whole / 60 % 60) + " min";
}

std::string speed_in_words(const GenerateResult& r) {
  const auto rate = [](std::int64_t tokens, double seconds) {
    return seconds > 0 ? fixed(static_cast<double>(tokens) / seconds, 1) : "-";
  };
  return text(r.prompt_tokens, " prompt tokens",
              r.reused_tokens > 0 ? text(", ", r.reused_tokens, " of them known,") : "", " in ",
              time_in_words(r.prompt_seconds), " (",
              rate(r.prompt_tokens - r.reused_tokens, r.prompt_seconds), " a second), ",
              r.new_tokens, " new in ", time_in_words(r.new_seconds), " (",
              rate(r.new_tokens, r.new_seconds), " a second)",
              r.drafted_tokens > 0 ? text("; of ", r.drafted_tokens, " tokens looked up ",
                                          r.accepted_tokens, " were right")
                                   : "");
}

std::string with_separators(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (int i = static_cast<int>(digits.size()) - 3; i > (number < 0 ? 1 : 0); i -= 3)
    digits.insert(static_cast<std::size_t>(i), ",");
  return digits;
}

Progress::Progress(const CommonOptions& common)
    : quiet_(common.quiet),
      live_(!common.quiet && live_terminal()),
      start_(std::chrono::steady_clock::now()),
      last_(start_),
      events_path_(common.events) {
  if (events_path_.empty()) return;
  events_.open(events_path_, std::ios::trunc);
  if (!events_) fail(Fault::io, events_path_, ": cannot write events");
}

Progress::~Progress() { clear(); }

void Progress::step(std::string_view what, double done, double total, double left, Json event) {
  this->event(std::move(event));
  if (quiet_) return;
  const bool last_step = done >= total;
  if (seconds_since(last_) < (live_ ? live_line_seconds : plain_line_seconds) && !last_step) return;
  if (!live_ && last_step && seconds_since(last_) < 1) return;
  last_ = std::chrono::steady_clock::now();
  std::ostringstream line;
  line << what << "  " << std::fixed << std::setprecision(0) << done << "/" << total << "  "
       << time_in_words(seconds_since(start_));
  if (left >= 0 && !last_step) line << ", about " << time_in_words(left) << " left";
  draw(line.str());
}

void Progress::draw(const std::string& line) {
  if (!live_) {
    std::fprintf(stderr, "%s\n", line.c_str());
    return;
  }
  const std::string shown = line.substr(0, static_cast<std::size_t>(terminal_columns() - 1));
  std::fprintf(stderr, "\r\033[K%s", shown.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::event(Json event) {
  if (!events_.is_open()) return;
  event["time"] = seconds_since(start_);
  events_ << event.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  if (!events_) fail(Fault::io, events_path_, ": cannot write events");
}

void Progress::clear() {
  if (!drawn_) return;
  std::fprintf(stderr, "\r\033[K");
  std::fflush(stderr);
  drawn_ = false;
}

void catch_interrupts() { std::signal(SIGINT, on_interrupt); }

void catch_all_interrupts() {
  interrupts = 0;
  std::signal(SIGINT, [](int) { interrupts = 1; });
}

void release_interrupts() {
  std::signal(SIGINT, SIG_DFL);
  interrupts = 0;
}

bool interrupted() { return interrupts != 0; }

void stop_if_interrupted() {
  if (interrupted()) fail(Fault::interrupted, "interrupted");
}

}  // namespace quaver::cli
