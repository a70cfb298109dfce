#pragma once
// What people read about a quantized checkpoint: OUT/report.html and OUT/README.md.
#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "quaver/quantize.h"

namespace quaver {

struct DescribedFile {
  std::string name, sha256;
  std::uint64_t bytes = 0;
};

struct Description {
  const QuantizeReport& report;
  const QuantizeOptions& options;
  std::string base_model;            // "org/name", or the directory's name
  std::string model_type;            // of config.json
  std::vector<std::string> licence;  // lines of the source's model card: "license: mit"
  std::uint64_t weights_before = 0, weights_after = 0;  // bytes of the weight files
  std::vector<DescribedFile> files;
};

// The command that makes such a checkpoint, with the options that are not the defaults.
std::string command_of(const Description& d);

// One page that needs nothing else: style and pictures are in it, and no script.
std::string report_page(const Description& d);

// The model card, with the front matter that the Hugging Face hub reads.
std::string model_card(const Description& d);

}  // namespace quaver
