#pragma once
// Checkpoints that stack the weights of all experts in one tensor, taken apart: every linear under
// its own name, as the readers of GPTQ files expect those families.
#include <string>
#include <vector>

#include "loading/model.h"

namespace quaver {

// The weight or the bias of one linear.
struct UnstackedPart {
  std::string name;    // "model.layers.0.mlp.experts.3.up_proj.weight"
  std::string linear;  // without its last part
  std::string stack;   // the tensor of the checkpoint that holds it
  bool is_bias = false;
  Linear shape;  // of the linear, without a weight

  Tensor read(const Checkpoint& checkpoint) const;
};

// Of all stacked tensors of a block, in the order of the model.
std::vector<UnstackedPart> unstacked_parts(const Checkpoint& checkpoint, int layer);

}  // namespace quaver
