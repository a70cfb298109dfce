#pragma once
// What the user sees: standard output, notes and progress on standard error, the events file.
#include <chrono>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "core/json.h"
#include "quaver/generate.h"

namespace quaver::cli {

// Writes to standard output; throws Error(io) when that fails.
void print(std::string_view text);
void print_json(const Json& value);  // one value and a newline; invalid UTF-8 becomes U+FFFD

// A note on standard error, unless --quiet.
void note(const CommonOptions& common, std::string_view line);

// Whether standard error is a terminal that understands colours and cursor movements.
bool live_terminal();

// The columns of `rows` aligned, two spaces between them; the first row is the head. Columns whose
// cells are numbers are aligned right.
std::string aligned(const std::vector<std::vector<std::string>>& rows);

std::string fixed(double value, int digits);  // "29.830"
std::string in_words(std::int64_t bytes);     // "11.8 MB"
std::string time_in_words(double seconds);    // "42 s", "3 min 07 s"
std::string speed_in_words(const GenerateResult& r);
std::string with_separators(std::int64_t number);  // "5,955,584"

// Progress of one job: a line that is redrawn on a terminal, a plain line each ten seconds
// elsewhere, nothing with --quiet; every step goes to the --events file.
class Progress {
 public:
  explicit Progress(const CommonOptions& common);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total`; `left` seconds, negative if not known. `event` gets its time added.
  void step(std::string_view what, double done, double total, double left, Json event);
  void event(Json event);  // for the file alone
  void clear();            // takes the live line away

 private:
  void draw(const std::string& line);

  bool quiet_ = false, live_ = false, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
  std::ofstream events_;
  std::string events_path_;
};

// Ctrl-C. The first one sets a flag, which the running job sees at its next step; the second ends
// the process at once.
void catch_interrupts();
// For a program that goes on: every Ctrl-C sets the flag, until release_interrupts() forgets it and
// gives Ctrl-C its usual meaning again.
void catch_all_interrupts();
void release_interrupts();
bool interrupted();
void stop_if_interrupted();  // throws Error(interrupted)

}  // namespace quaver::cli
