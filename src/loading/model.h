#pragma once
// From a checkpoint directory to a decoder with weights: strict about names and shapes.
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "io/checkpoint.h"
#include "models/arch_file.h"
#include "models/decoder.h"

namespace quaver {

// A checkpoint directory, opened and checked against its model family, no weight read yet.
struct Checkpoint {
  std::filesystem::path directory;
  Json config;                // config.json
  Json quantization;          // its quantization_config (or quantize_config.json); null if dense
  std::string_view encoding;  // in which dense weights are stored (io/encoding.h); empty: plain
  const Arch* arch = nullptr;
  std::filesystem::path arch_file;  // that describes it; empty: none
  Config model;
  std::unique_ptr<TensorSource> source;
  // Linears that the file fuses or splits otherwise (loading/regrouped_source.h) -> its name for
  // them, or for the first of their parts.
  std::map<std::string, std::string> stored_modules;
  std::vector<std::string> ignored;  // tensors present that nothing needs (known buffers)
};

// Opens and checks: every tensor the model needs is there with the right shape (all problems in one
// error), nothing else but known buffers. Where `search` names no arch file, one that lies in the
// directory as quaver_arch.json counts.
Checkpoint open_model(const std::filesystem::path& directory, const ArchSearch& search = {});

// Fills the parameters that `visit` shows under `prefix` from the checkpoint. Norms, biases and
// tables that ops read in f32 are converted; linear weights stay as stored (mapped where possible).
void load(const Checkpoint& checkpoint, std::string_view prefix, Block& block);
void load(const Checkpoint& checkpoint, Ends& ends);

// The whole model in memory; not `exact`: with packed weights in lines (formats/lines.h) where
// these can hold them.
std::unique_ptr<Decoder> load_decoder(const Checkpoint& checkpoint, bool exact = true);

// The part of its stacked tensor that a linear's weight is, or with `bias` its bias, as stored.
Tensor stacked_part(const Checkpoint& checkpoint, const std::string& linear, const Linear& l,
                    bool bias);

// How many elements of a host tensor of floats are infinite or not a number; 0 for other types.
std::int64_t count_non_finite(const Tensor& t);

}  // namespace quaver
