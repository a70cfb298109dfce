#pragma once
// Logits of given token ids, from file to file.
#include <cstdint>
#include <string>

#include "quaver/model.h"

namespace quaver {

struct ForwardSummary {
  std::int64_t batch = 0, tokens = 0, vocabulary = 0;
  std::int64_t hidden = 0;  // hidden states written
  double seconds = 0;
};

// Reads ids from `ids_path`: .json, a list or a list of lists (shorter ones are padded and
// masked on the left), or .safetensors with `input_ids` and perhaps `attention_mask`, i32 or i64
// [batch, tokens]. Writes `out_path`, safetensors: `logits` f32 [batch, tokens, vocabulary] and, if
// asked for, `hidden.i` f32 [batch, tokens, hidden].
ForwardSummary forward_file(const Model& model, const std::string& ids_path,
                            const std::string& out_path, bool hidden);

}  // namespace quaver
