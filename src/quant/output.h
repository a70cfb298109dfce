#pragma once
// Which tensors an output holds, told before any of them is made.
#include <optional>
#include <string>
#include <vector>

#include "io/placed_shards.h"
#include "quant/plan.h"
#include "quant/unstacked.h"

namespace quaver {

struct OutputTensor {
  TensorPlan plan;
  const PlannedSite* site = nullptr;  // of whose packed weight it is a part; null: of none
  std::optional<UnstackedPart> part;  // it is taken out of a stacked tensor; else a copy
};

// In the order in which they go to shards: blocks with their packed weights first in each, then
// everything else of the checkpoint. Points into `plan`.
std::vector<OutputTensor> planned_output(const Checkpoint& checkpoint, const Plan& plan);

std::vector<TensorPlan> plans_of(const std::vector<OutputTensor>& output);

}  // namespace quaver
