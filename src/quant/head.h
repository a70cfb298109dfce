#pragma once
// The output head as one more block behind the last: what enters it are the last block's outputs,
// and its one site is the head's linear.
#include <memory>
#include <string>

#include "loading/model.h"

namespace quaver {

struct HeadSite {
  std::string name;  // "lm_head", "embed_out"
  std::int64_t outputs = 0, inputs = 0;
};

// Throws Error(unsupported) that says why this model's head cannot be quantized.
HeadSite find_head(const Checkpoint& checkpoint);

// Final norm and head with their weights, the head a linear of its own. The block's parameters have
// their full names.
std::unique_ptr<Block> load_head(const Checkpoint& checkpoint);

// The same without weights.
std::unique_ptr<Block> make_head(const Checkpoint& checkpoint);

// Makes a config.json one of a model whose head is not tied to the embedding.
void untie_head(Json& config);

}  // namespace quaver
