#pragma once
// Rotary positions (Su et al. 2021) and the ways of stretching them over longer texts.
#include <optional>
#include <vector>

#include "nn/step.h"

namespace quaver {

// How the frequencies of a trained model are changed for contexts beyond its training.
struct RopeScaling {
  // linear: Chen et al. 2023. dynamic: the base grows with the length (NTK-aware). yarn: Peng et
  // al. 2023. longrope: a factor for each frequency (Ding et al. 2024), others for long texts.
  // llama3: as Llama 3.1 does. prompt: NTK-aware too, by the doublings of the trained length that
  // the prompt takes, and constant from there (Qwen).
  enum class Kind { none, linear, dynamic, yarn, longrope, llama3, prompt } kind = Kind::none;
  double factor = 1;
  double original_positions = 0;                     // that the model was trained on
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  bool truncate = true;                              // yarn: whole dimensions
  float attention_factor = 1;                        // of cos and sin (yarn, longrope)
  std::vector<double> short_factor, long_factor;     // longrope: [dim / 2]
};

// Rotary positions of the first `dim` columns of each head.
class Rope {
 public:
  Rope() = default;  // no rotation
  Rope(std::int64_t dim, double theta, bool interleaved = false, RopeScaling scaling = {});

  explicit operator bool() const { return dim_ > 0; }
  // f32 [dim / 2], for a text of `length` tokens: only dynamic, longrope and prompt depend on it.
  Tensor inverse_frequencies(std::int64_t length = 0) const;
  const RopeTables& tables(Step& step) const;

  bool interleaved = false;  // pairs (2i, 2i + 1) instead of (i, i + dim / 2)

 private:
  bool changes_with_length() const;

  std::int64_t dim_ = 0;
  double theta_ = 10000;
  RopeScaling scaling_;
  Tensor fixed_;  // the frequencies, where they do not depend on the length
};

}  // namespace quaver
