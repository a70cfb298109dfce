#pragma once
// What a forward pass carries besides the hidden states.
#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace quaver {

struct Linear;

// Sees the input of every Linear as a block runs: how calibration collects its statistics. It may
// replace the linear's weight before the product is formed.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void input_of(const Linear& linear, const Tensor& x) = 0;
};

// Keys and values of one sequence, all layers. Grows by whole steps.
struct KvCache {
  struct Layer {
    Tensor keys, values;  // [capacity, kv_heads * head_dim]; empty before the first step
  };
  std::int64_t capacity = 0;  // rows that a layer's first tensors get, at least
  DType type = DType::f32;    // of keys and values: f32, f16 or bf16
  std::vector<Layer> layers;
  std::int64_t length = 0;            // tokens held, in every layer once a step has ended
  std::int64_t prompt = 0;            // tokens that the sequence began with; 0: not known
  std::vector<std::uint8_t> visible;  // per held token: 0 is padding; empty: all visible
};

// The rows of one sequence within a step; the sequences of a step lie one after another.
struct SequenceRows {
  std::int64_t rows = 0;
  KvCache* cache = nullptr;  // null: the step's own rows are all there is
  Tensor mask;               // u8 [past + rows], 0 hides a key; empty: all visible
  std::int64_t text = 0;  // tokens of the text, where a step holds a part of it; 0: to the last row
};

struct RopeTables {
  Tensor cos, sin;  // f32 [rows, half]
};

struct Step {
  std::vector<SequenceRows> sequences;
  Tensor positions;  // i32 [rows], host
  Device device;     // where the hidden states lie
  int layer = 0;     // the block that runs
  Observer* observer = nullptr;

  // Tokens of each sequence's text: as it says, else up to its largest position.
  std::vector<std::int64_t> lengths() const;
  // cos and sin of position * frequency, times `attention_factor`, for frequencies f32 [half] of
  // all rows or of each sequence. Blocks usually share them, so they are made on first use and kept
  // in `ropes`.
  const RopeTables& rope(const std::vector<Tensor>& inverse_frequencies, float attention_factor);

  struct CachedRope {
    std::vector<Tensor> frequencies;
    float factor;
    RopeTables tables;
  };
  std::vector<CachedRope> ropes;
};

}  // namespace quaver
