#pragma once
// One block under calibration: its inputs are observed and its linears quantized while the
// calibration tokens run through it once.
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/spill.h"
#include "quant/pass.h"

namespace quaver {

// Some whole sequences of the calibration set on their way through the model.
struct CalibrationChunk {
  Tensor hidden;                   // f32 [rows, hidden]: the block's input, then its output
  std::vector<std::int64_t> rows;  // of each sequence
  Tensor exact;  // the same in the model as it was; empty where no method asks for it
  // Holds the chunk's tensors while other chunks run; null: they stay where they are. It is to be
  // entered before they are read, and left afterwards.
  std::shared_ptr<SpillSet> memory = {};

  void enter() const {
    if (memory) memory->enter();
  }
  void leave() const {
    if (memory) memory->leave();
  }
};

struct StagedJob {
  Block* block = nullptr;
  int layer = 0;
  std::vector<Site> sites;
  const Format* format = nullptr;
  std::function<BlockPass&(const Site&)> pass;
  // The same block, never quantized, and its linears, one for each of `sites`; null where no exact
  // stream is asked for.
  Block* exact = nullptr;
  std::vector<const Linear*> exact_linears;
  Needs needs;
  bool sequential = true;    // later linears see the outputs of the quantized earlier ones
  bool wants_output = true;  // false for the last block
  // The packed weight of a site that an earlier run solved; null: it is still to do. Empty: all
  // are.
  std::function<std::optional<Packed>(const Site&)> known;
  // After each site that was solved, while its weight is Packed.
  std::function<void(const Site&, const SiteReport&)> solved;
};

struct StagedResult {
  std::vector<std::vector<std::string>> groups;  // names of sites that share their input
};

// Quantizes the sites; where the pass needs statistics, every chunk's `hidden` becomes the output
// of the quantized block. The linears are left with their dequantized weights.
StagedResult quantize_block(const StagedJob& job, std::vector<CalibrationChunk>& chunks);

// A step for whole sequences without a cache.
Step step_of(const std::vector<std::int64_t>& rows, int layer);

}  // namespace quaver
