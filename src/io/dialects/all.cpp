// The table of dialects.
#include <array>

#include "core/error.h"
#include "io/dialect.h"
#include "io/encoding.h"
#include "io/safetensors_header.h"

namespace quaver {

namespace {
constinit const std::array<const Dialect*, 1> all = {&gptq_dialect};
}

std::span<const Dialect* const> dialects() { return all; }

const Dialect* find_dialect(const Json& quantization_config) {
  if (quantization_config.is_null()) return nullptr;
  const std::string method =
      json_string(quantization_config, "quant_method", "quantization_config");
  std::string known;
  for (const Dialect* dialect : all) {
    if (dialect->quant_method == method) return dialect;
    known += text(known.empty() ? "" : ", ", dialect->quant_method);
  }
  for (const Encoding* encoding : encodings()) known += text(", ", encoding->quant_method);
  fail(Fault::unsupported, "quantization_config: unknown quant_method ", printable(method),
       "; known: ", known);
}

}  // namespace quaver
