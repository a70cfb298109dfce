#pragma once
// Checkpoint in, quantized checkpoint out.
#include <filesystem>
#include <functional>

#include "models/arch_file.h"
#include "quaver/quantize.h"

namespace quaver {

// What layers above add to a job, each optional. `made` is the verified output before it is
// published.
struct QuantizeHooks {
  std::function<void(const QuantizeProgress&)> progress;
  // Measures what the report shall say.
  std::function<void(const std::filesystem::path& made, QuantizeReport& report)> evaluate;
  // Adds files for people, when the report is whole.
  std::function<void(const std::filesystem::path& made, QuantizeReport& report)> describe;
};

// The body of quantize(): see there. Peak memory: one block with its statistics, and the hidden
// states of the calibration tokens.
QuantizeReport quantize_checkpoint(const std::string& model, const std::string& out,
                                   const QuantizeOptions& options, const QuantizeHooks& hooks = {},
                                   const ArchSearch& search = {});

QuantizePlan plan_checkpoint(const std::string& model, const QuantizeOptions& options,
                             const ArchSearch& search);

}  // namespace quaver
