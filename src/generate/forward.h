#pragma once
// Logits and hidden states of given token ids, as transformers' model(input_ids, attention_mask).
#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder.h"

namespace quaver {

struct ForwardInput {
  std::vector<std::vector<std::int32_t>> ids;  // one list a sequence, none empty
  // Empty, or for each id 1 (visible) or 0 (padding). Without masks lists of unequal length are
  // padded on the left with id 0, which the masks made for them hide.
  std::vector<std::vector<std::uint8_t>> masks;
};

struct ForwardResult {
  Tensor logits;               // f32 [batch, tokens, vocabulary], host
  std::vector<Tensor> hidden;  // f32 [batch, tokens, hidden]: the embedding, then every block's
                               // output, the last one after the final norm
  std::vector<std::vector<std::uint8_t>> masks;  // as used; empty: all visible
};

// Positions count padding too, except in families that count visible tokens (Arch). Throws Error on
// empty or unequal lists beside masks, and on ids outside the vocabulary.
ForwardResult forward_logits(Decoder& decoder, const ForwardInput& input, bool hidden = false,
                             Device device = {});

}  // namespace quaver
