#pragma once
// Which instruction sets this machine has, and which one runs.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cpu/kernels.h"

namespace quaver::cpu {

struct Level {
  std::string_view name;  // what QUAVER_CPU calls it
  bool available;         // on this machine
  Kernels table;          // of this level; generic where it is not available
};

std::span<const Level> levels();  // lowest first; the first is generic

std::string selected_isa();                 // the level that kernels() gives
std::vector<std::string> available_isas();  // lowest first

}  // namespace quaver::cpu
