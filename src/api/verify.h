#pragma once
// Whether programs that read a checkpoint directory will read it, and read it right.
#include <string>

#include "core/json.h"

namespace quaver {

struct VerifyOptions {
  std::string arch_file;  // LoadOptions::arch_file
  std::string inputs;     // directory of the manifest's inputs; empty: they are not hashed again
};

// {"directory", "errors", "warnings", "notes", "findings": [{"severity": "error", "warning" or
// "note", "check", "subject", "more", "problem", "expected", "readers"}], "tensor_parallel":
// [{"linears", "count", "shape", "split": "outputs" or "inputs", "ranks", "reason"}], "checks":
// [{"name", "summary"}]}. `more` counts further subjects with the same problem; "expected" and
// "readers" (whom it affects) may be empty. Findings come errors first. Throws Error where
// `directory` is no directory; everything that is wrong in it is a finding.
Json verify_checkpoint(const std::string& directory, const VerifyOptions& options);

}  // namespace quaver
