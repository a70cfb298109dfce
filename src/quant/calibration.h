#pragma once
// The token ids that quantizers look at.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/arch.h"
#include "quaver/quantize.h"

namespace quaver {

struct Calibration {
  std::vector<std::vector<std::int32_t>> windows;
  std::string remark;  // what the user should know: less text than asked for; empty: nothing
};

// Each document's ids without special tokens, joined in order, cut into windows of `seqlen` (at
// most the model's context); the first `samples` of them, or with a seed as many at random places.
// Documents: a .txt file, the lines of a .jsonl file, a .json list (or list of lists) of ids, the
// input_ids of a .safetensors file; the built-in text where options.calibration is empty. Throws
// Error: bad_file, bad_argument (no tokenizer for text, no ids at all), io.
Calibration read_calibration(const QuantizeOptions& options, const std::filesystem::path& model,
                             const Config& config);

}  // namespace quaver
