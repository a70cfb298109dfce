#pragma once
// The files of a Hugging Face checkpoint directory that are not weights.
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace quaver {

// config.json, an object. Throws Error.
Json read_config(const std::filesystem::path& directory);

// How the checkpoint is quantized: `quantization_config` of `config`, else quantize_config.json,
// else quant_config.json of the directory; null if there is none of them. quantize_config.json of
// early AutoGPTQ names no method: "gptq" is filled in. Where 'dynamic' has several patterns,
// 'dynamic_order' lists them as they are written.
Json read_quantization(const std::filesystem::path& directory, const Json& config);

// Whether a file of a checkpoint goes along unchanged when its weights are quantized: tokenizer,
// generation settings, chat templates, licence. Not: weights, their indexes, config.json,
// quantization settings, README, Python code (which quaver never runs).
bool is_side_file(const std::string& name);

// Copies the side files of `from` to the existing directory `to`, additional_chat_templates/*.jinja
// included; returns their names, sorted. Symbolic links that leave the checkpoint are not followed,
// except into the blobs of the Hugging Face cache; such files, files above 256 MB and Python files
// are left out, with a warning.
std::vector<std::string> copy_side_files(const std::filesystem::path& from,
                                         const std::filesystem::path& to);

// Bytes of the files that copy_side_files copies, to a first view.
std::uint64_t side_file_bytes(const std::filesystem::path& from);

}  // namespace quaver
