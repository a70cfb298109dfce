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
};

}  // namespace quaver
