#pragma once
// How a text becomes windows, and which of their tokens are scored. One protocol is one row of the
// table in protocols.cpp. Perplexities of different protocols cannot be compared.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace quaver {

// Tokens [begin, end) of the text, alone in the model; those from first_scored on are predicted
// from the ones before them in the window. first_scored > begin.
struct Window {
  std::int64_t begin = 0, end = 0, first_scored = 0;
  std::int64_t scored() const { return end - first_scored; }
  bool operator==(const Window&) const = default;
};

struct Protocol {
  std::string_view name;
  std::string_view summary;
  // The windows of a text of `tokens` tokens. Throws Error where the text is too short or context
  // or stride cannot be.
  std::vector<Window> (*windows)(std::int64_t tokens, std::int64_t context, std::int64_t stride);
  bool has_stride = false;
  bool starts_with_bos = false;  // a window's first token is overwritten by the model's BOS, if it
                                 // has one
};

std::span<const Protocol> protocols();
// Throws Error that lists the known ones.
const Protocol& find_protocol(std::string_view name);

}  // namespace quaver
