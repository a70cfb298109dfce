#pragma once
// Text that ends at a stop string, however tokens cut it.
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {}

  // Takes the next piece; returns what certainly stands before any stop string. What may be the
  // beginning of one is held back.
  std::string push(std::string_view piece);
  // The end of the text: what was held back and turned out to be no stop string.
  std::string finish();
  // A stop string was found; it and what follows it is dropped.
  bool found() const { return found_; }

 private:
  std::vector<std::string> strings_;
  std::string held_;
  bool found_ = false;
};

// Where the first stop string in `text` begins; npos: none is there.
std::size_t find_stop(std::string_view text, const std::vector<std::string>& strings);

}  // namespace quaver
