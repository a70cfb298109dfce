#pragma once
// Checkpoint in, quantized checkpoint out.
#include "models/arch_file.h"
#include "quaver/quantize.h"

namespace quaver {

// The body of quantize(): see there. Peak memory: one block with its statistics, and the hidden
// states of the calibration tokens.
QuantizeReport quantize_checkpoint(
    const std::string& model, const std::string& out, const QuantizeOptions& options,
    const std::function<void(const QuantizeProgress&)>& progress = {},
    const ArchSearch& search = {});

}  // namespace quaver
