#pragma once
// How a checkpoint is loaded.
#include <span>
#include <string>

namespace quaver {

struct Arch;  // quaver/extend/arch.h

struct LoadOptions {
  std::string device = "cpu";
  // Model families of this program, searched before the built-in ones. They must outlive whatever
  // is loaded.
  std::span<const Arch* const> archs;
  // A JSON file that describes a relative of a known family (docs/your-own-model.md), searched
  // before all. Empty: quaver_arch.json of the checkpoint directory, if there is one.
  std::string arch_file;
  // Products with packed weights as written, with f32 activations. Otherwise packed weights are
  // laid out anew for the CPU and meet activations of 8 bits with a scale for each group: several
  // times faster, for an error far below that of 4-bit weights (docs/numerics.md).
  bool exact = true;
};

}  // namespace quaver
