#include <algorithm>
#include <string>

#include "core/error.h"
#include "eval/protocol.h"

namespace quaver {
namespace {

void check(std::int64_t tokens, std::int64_t context, std::int64_t least_context,
           std::int64_t least_tokens) {
  ensure(context >= least_context, "[eval] --context ", context, ": expected at least ",
         least_context);
  ensure(tokens >= least_tokens, "[eval] the text has ", tokens, " tokens; windows of ", context,
         " need at least ", least_tokens);
}

// GPTQ's and most papers': whole windows side by side, every token but the first is scored.
std::vector<Window> gptq(std::int64_t tokens, std::int64_t context, std::int64_t) {
  check(tokens, context, 2, context);
  std::vector<Window> windows;
  for (std::int64_t begin = 0; begin + context <= tokens; begin += context)
    windows.push_back({begin, begin + context, begin + 1});
  return windows;
}

// llama.cpp's perplexity program: only the second half of each window is scored, with at least half
// a window of context before it.
std::vector<Window> llamacpp(std::int64_t tokens, std::int64_t context, std::int64_t) {
  check(tokens, context, 4, 2 * context);
  std::vector<Window> windows;
  for (std::int64_t begin = 0; begin + context <= tokens; begin += context)
    windows.push_back({begin, begin + context, begin + context / 2 + 1});
  return windows;
}

// Overlapping windows, every `stride` tokens: each token of the text is scored once, in the first
// window that holds it.
std::vector<Window> strided(std::int64_t tokens, std::int64_t context, std::int64_t stride) {
  check(tokens, context, 2, 2);
  ensure(stride >= 1 && stride <= context, "[eval] --stride ", stride, ": expected 1 to ", context,
         ", the context");
  std::vector<Window> windows;
  std::int64_t scored = 1;  // tokens before this one are done
  for (std::int64_t begin = 0; scored < tokens; begin += stride) {
    const std::int64_t end = std::min(begin + context, tokens);
    const std::int64_t first = std::max(scored, begin + 1);
    if (first < end) windows.push_back({begin, end, first});
    scored = end;
  }
  return windows;
}

constinit const Protocol table[] = {
    {.name = "gptq",
     .summary = "whole windows side by side, all tokens but each first: as papers report it",
     .windows = gptq},
    {.name = "llamacpp",
     .summary = "whole windows, the second half of each: as llama.cpp reports it",
     .windows = llamacpp,
     .starts_with_bos = true},
    {.name = "strided",
     .summary = "overlapping windows, each token scored once",
     .windows = strided,
     .has_stride = true},
};

}  // namespace

std::span<const Protocol> protocols() { return table; }

const Protocol& find_protocol(std::string_view name) {
  std::string known;
  for (const Protocol& p : table) {
    if (p.name == name) return p;
    known += known.empty() ? "" : ", ";
    known += p.name;
  }
  fail(Fault::bad_argument, "[eval] unknown protocol '", name, "'; known: ", known);
}

}  // namespace quaver
