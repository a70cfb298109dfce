#pragma once
// --redo: chosen modules of a finished output are quantized again, with other options and in the
// state in which the first run met them: what comes before them has its packed weights. All others
// keep their bytes, those behind them too.
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "quant/plan.h"
#include "quaver/quantize.h"

namespace quaver {

struct Redo {
  std::set<std::string> chosen;
  Plan plan;    // of the whole output; what it needs and solves is that of the chosen modules
  Json record;  // {"modules": REGEX, "set": {"damp": "0.05"}}
};

// No value: not asked for. Throws Error(bad_argument) on a pattern that matches no module of `plan`
// and on settings that cannot be met.
std::optional<Redo> plan_redo(const Checkpoint& checkpoint, const QuantizeOptions& options,
                              const Plan& plan);

// The output as it was, and what is taken over from it.
struct Kept {
  Checkpoint made;
  QuantizeReport report;
  std::set<std::string> sites;
  int stages = 0;  // blocks up to the last that has a chosen module

  std::map<std::string, Tensor> tensors(const PlannedSite& site, const Format& format) const;
  Packed packed(const PlannedSite& site, const Format& format) const;
  // The reports of all modules in the order of the first run, the new ones in their places.
  std::vector<QuantizedModule> merged(const std::vector<QuantizedModule>& made_anew) const;
};

// Finds the output of `job` that `redo` changes, at `out` or where a kill left it, and takes over
// the schemes of the modules that are kept. Then `job` is that of the changed output.
// Throws Error(bad_argument) where `out` is not an output of `job`, Error(bad_file) where its files
// are not those of its manifest.
Kept take_output(const std::filesystem::path& out, Redo& redo, Json& job,
                 std::span<const Arch* const> own_archs);

}  // namespace quaver
