// The reader of safetensors headers: any bytes give a consistent listing or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/error.h"
#include "io/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quaver;
  try {
    const auto header = parse_safetensors_header(
        std::as_bytes(std::span<const std::uint8_t>(data, size)), size, "fuzz");
    if (header.data_begin > size) std::abort();
    std::uint64_t covered = 0;
    for (const HeaderEntry& entry : header.tensors) {
      if (entry.begin > entry.end || entry.end > size - header.data_begin) std::abort();
      if (static_cast<std::uint64_t>(entry.shape.size()) * entry.dtype->bits / 8 !=
          entry.end - entry.begin)
        std::abort();
      if (printable(entry.name).size() > 200) std::abort();
      covered += entry.end - entry.begin;
    }
    if (covered != size - header.data_begin) std::abort();
  } catch (const Error& e) {
    if (e.fault != Fault::bad_file) std::abort();
  }
  return 0;
}
