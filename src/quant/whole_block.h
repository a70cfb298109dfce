#pragma once
// Methods that look at a block as a whole.
#include "quant/staged.h"

namespace quaver {

// Each pass runs once with all its sites of the block and a BlockView; then the chunks go through
// the block with its quantized weights. What an earlier run solved whole is taken; a block that it
// left half done is quantized again, since such a method's choices belong together.
StagedResult quantize_whole_block(const StagedJob& job, std::vector<CalibrationChunk>& chunks);

}  // namespace quaver
