#pragma once
// How config.json describes a quantized checkpoint. A dialect is one file in dialects/ and one row
// of the table in dialects/all.cpp.
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "formats/format.h"

namespace quaver {

// What a description says about a checkpoint.
struct DescribeArgs {
  const Format* format = nullptr;
  Scheme scheme;
  bool desc_act = false;  // columns of a group are not adjacent
  bool static_groups = false, true_sequential = false, lm_head = false;
  double damp_percent = 0;
  // Name endings of the quantized modules of a block, those that share an input together:
  // {{"self_attn.q_proj", "self_attn.k_proj"}, {"self_attn.o_proj"}}.
  std::vector<std::vector<std::string>> modules_in_block;
  std::string block_name;  // "model.layers"; empty: not said
  // Full names of modules that differ from `scheme`; without a value: left unquantized.
  std::map<std::string, std::optional<Scheme>> exceptions;
  std::string quantizer;  // "quaver:0.1.0"
};

struct Dialect {
  std::string_view quant_method;  // quantization_config.quant_method
  // The layout of the packed weights.
  const Format& (*format)(const Json& quantization_config);
  // How the module of this checkpoint name is quantized; no value: the description leaves it out.
  // Whether packed tensors are there for a module that is not left out, the checkpoint itself
  // tells.
  std::optional<Scheme> (*scheme)(const Json& quantization_config, std::string_view module);
  // A quantization_config: what goes to config.json and, the same, to quantize_config.json.
  Json (*describe)(const DescribeArgs& args);
};

extern const Dialect gptq_dialect;  // one per file of dialects/; all.cpp holds the table

std::span<const Dialect* const> dialects();
// By quant_method of what read_quantization gave; null for null. Throws Error(unsupported), listing
// the known ones.
const Dialect* find_dialect(const Json& quantization_config);

// GPTQ files exist whose checkpoint_format says v1 while their zero points are stored as v2 does,
// or the reverse. For a symmetric scheme every field of qzeros is known, so the file tells: "gptq"
// or "gptq_v2", or nothing where the words are neither.
std::optional<std::string_view> stored_zero_convention(const Tensor& qzeros, int bits);

// The zero points of `gptq` (v1) words, as gptq_v2 stores them, where one of them is 0: v1 has no
// field for it, and GPTQModel subtracts 1 from all fields of a word at once, so that one borrows
// from the next (2, 4 and 8 bits), or field by field, modulo 8 (3 bits). No value where no field is
// all ones: then v1 is as it is meant.
std::optional<Tensor> zeros_behind_borrows(const Tensor& qzeros, int bits);

}  // namespace quaver
