#pragma once
// Coordinate descent: what GPTQ's one pass leaves is improved, codes and scales in turn.
#include <cstdint>

#include "quant/grid.h"
#include "quant/matrix.h"

namespace quaver {

// Some rows of a weight, transposed: column k is row k of every array, rows are lanes. For each row
// w, with d_k = (codes_k - zero) * scale of k's group, all steps lower (w - d) H (w - d)^T.
struct DescentArgs {
  View h;  // [cols, cols]: symmetric, both triangles valid, positive diagonal
  Grid grid;
  std::int64_t group_size = 0, lanes = 0;
  const float* w = nullptr;       // [cols][lanes]
  std::uint8_t* codes = nullptr;  // [cols][lanes]
  float* scales = nullptr;        // [groups][lanes]; a group is a run of columns
  const float* zeros = nullptr;   // [groups][lanes]
  int rounds = 1;
};

// `rounds` times: the scales that are best for the codes (jointly over the groups of a row, rounded
// to what the format stores, kept only where better), then each code in turn the best for all
// others; at last the scales again.
void descend(const DescentArgs& args);

}  // namespace quaver
