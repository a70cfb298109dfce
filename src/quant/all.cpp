// The table of quantization methods.
#include <array>

#include "quant/pass.h"

namespace quaver {

namespace {
constinit const std::array<const Method*, 2> all = {&rtn, &gptq};
}

std::span<const Method* const> methods() { return all; }

const Method& find_method(std::string_view name) {
  std::string known;
  for (const Method* method : all) {
    if (method->name == name) return *method;
    known += text(known.empty() ? "" : ", ", method->name);
  }
  fail(Fault::bad_argument, "[quantize] unknown method '", name, "'; known: ", known);
}

}  // namespace quaver
