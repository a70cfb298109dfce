#pragma once
// What a block of your own is made of, where no BlockLayout describes it: modules with parameters
// (Linear, RmsNorm, LayerNorm, mixtures of experts), attention with its caches, and the operations
// on tensors. Derive from Block or Ends, list the members in visit() under their checkpoint names,
// and call every Linear as a function: that is how calibration sees its input.
#include "nn/attention.h"
#include "nn/ends.h"
#include "nn/experts.h"
#include "nn/module.h"
#include "ops/ops.h"
#include "quaver/extend/arch.h"
