// The table of encodings.
#include <algorithm>
#include <iterator>

#include "io/encoding.h"

namespace quaver {

extern const Encoding fp8_encoding, mxfp4_encoding;  // one per file
static constexpr const Encoding* all_encodings[] = {&fp8_encoding, &mxfp4_encoding};

std::span<const Encoding* const> encodings() { return all_encodings; }

const Encoding* find_encoding(const Json& quantization_config) {
  if (!quantization_config.is_object()) return nullptr;
  const std::string method =
      json_string(quantization_config, "quant_method", "quantization_config", "");
  const auto it = std::ranges::find(all_encodings, method, &Encoding::quant_method);
  return it == std::end(all_encodings) ? nullptr : *it;
}

}  // namespace quaver
