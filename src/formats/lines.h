#pragma once
// The CPU's own layout, in memory only: 16 outputs side by side, so that a vector of them meets
// four inputs that are broadcast. 32 inputs (a chunk) of a block of 16 outputs take 64 bytes a bit:
// codes are split into planes of 8, 4, 2 or 1 bits, low bits first (3 = 2 + 1, 5 = 4 + 1, 6 = 4 +
// 2, 7 = 4 + 2 + 1). In a plane of b bits a line of 64 bytes holds 8 / b quads of inputs, the first
// in the lowest bits; byte 4 r + i of it belongs to output r and to input i of its quad.
//   lines  u8  [blocks, chunks * 64 * bits]
//   scales f16 [blocks, groups * 16]
//   zeros  f16 [blocks, groups * 16]        absent where all are 2^(bits-1)
//   order  i32 [chunks * 32]                input at each place, -1: none; absent: 0, 1, 2, ...
// Groups are filled up to whole chunks, and those of more than four chunks are cut into several, so
// that each can have an activation scale of its own.
#include <cstdint>
#include <optional>

#include "formats/format.h"

namespace quaver {

inline constexpr std::int64_t lines_rows = 16, lines_chunk = 32;

struct LinesShape {
  std::int64_t blocks = 0, chunks = 0;
  std::int64_t groups = 0;        // as they are cut
  std::int64_t group_chunks = 0;  // of each group but perhaps the last
  std::int64_t last_chunks = 0;   // of the last
};
LinesShape lines_shape(const Scheme& scheme, std::int64_t rows, std::int64_t cols);

// Not among formats(), since no file has it. pack() throws on groups of unlike sizes.
extern const Format lines;

// The same weight in lines. No value where they cannot hold it as it is: groups of unlike sizes,
// scales or zero points that are no f16 numbers.
std::optional<Packed> in_lines(const Packed& p);

}  // namespace quaver
