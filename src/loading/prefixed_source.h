#pragma once
// Checkpoints that were written from the inner model alone: their names lack its prefix.
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint.h"

namespace quaver {

// The tensors of `source`, each under `prefix` + its name, but for those whose names start with one
// of `unchanged`.
std::unique_ptr<TensorSource> with_prefix(std::unique_ptr<TensorSource> source, std::string prefix,
                                          std::vector<std::string> unchanged);

}  // namespace quaver
