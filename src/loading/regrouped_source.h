#pragma once
// Checkpoints that hold linears in one tensor where the family has several, or the reverse: q, k
// and v, gate and up.
#include <map>
#include <memory>
#include <string>

#include "io/checkpoint.h"

namespace quaver {

struct Regrouped {
  std::unique_ptr<TensorSource> source;  // under the family's names
  // The family's module -> the module of the file that holds it, or the first of several. Empty:
  // `source` is the one that was given.
  std::map<std::string, std::string> stored;
};

// `outputs` are the linears of the model by their names, with their numbers of outputs. Packed
// weights stay packed: their columns are cut and joined. Throws Error(bad_file) where a cut would
// go through a word, Error(unsupported) where the parts of a joined linear differ in more than
// their numbers of outputs.
Regrouped regrouped(std::unique_ptr<TensorSource> source,
                    const std::map<std::string, std::int64_t>& outputs);

}  // namespace quaver
