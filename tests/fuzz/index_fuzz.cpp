// The reader of model.safetensors.index.json: any bytes give plain file names or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "io/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quaver;
  try {
    const ShardIndex index = parse_shard_index({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (index.files.empty()) std::abort();
    for (const auto& [file, names] : index.files) {
      if (file.find('/') != std::string::npos || file.find('\0') != std::string::npos ||
          file == "." || file == ".." || names.empty())
        std::abort();
    }
    if (parse_shard_index(shard_index_json(index, 0), "again").files != index.files) std::abort();
  } catch (const Error& e) {
    if (e.fault != Fault::bad_file) std::abort();
  }
  return 0;
}
