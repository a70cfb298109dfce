// config.json: the JSON parser, the quantization dialects and the model families' settings. Any
// bytes give settings or an Error that is not our own bug.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "io/dialect.h"
#include "models/arch.h"

namespace {

using namespace quaver;

template <class Read>
void attempt(Read&& read) {
  try {
    read();
  } catch (const Error& e) {
    if (e.fault == Fault::internal) std::abort();
  }
}

void read_dialect(const Json& quantization) {
  const Dialect* const dialect = find_dialect(quantization);
  if (!dialect) return;
  attempt([&] { dialect->format(quantization); });
  for (const char* const module : {"model.layers.0.self_attn.q_proj", "lm_head", ""}) {
    attempt([&] {
      const auto scheme = dialect->scheme(quantization, module);
      if (scheme && (scheme->bits < 2 || scheme->bits > 8 || scheme->group_size == 0)) std::abort();
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Json config;
  try {
    config = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const Error& e) {
    if (e.fault != Fault::bad_file) std::abort();
    return 0;
  }
  if (!config.is_object()) return 0;
  attempt([&] { read_dialect(config); });
  if (const auto it = config.find("quantization_config"); it != config.end())
    attempt([&] { read_dialect(*it); });
  attempt([&] { find_arch(config).config(config); });
  return 0;
}
