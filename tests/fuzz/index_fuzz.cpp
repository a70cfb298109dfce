// The readers of model.safetensors.index.json and of quaver-manifest.json: any bytes give file
// names that stay in the directory, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "io/manifest.h"
#include "io/shard_index.h"

namespace {

void read_as_manifest(std::string_view bytes) {
  using namespace quaver;
  try {
    const Manifest manifest = parse_manifest(bytes, "fuzz");
    for (const auto& [file, hash] : manifest.outputs)
      if (file.empty() || file.front() == '/' || file.starts_with("../") ||
          file.find("/../") != std::string::npos || file.ends_with("/..") || file == "..")
        std::abort();
    if (parse_manifest(manifest_json(manifest), "again") != manifest) std::abort();
  } catch (const Error& e) {
    if (e.fault != Fault::bad_file && e.fault != Fault::unsupported) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quaver;
  read_as_manifest({reinterpret_cast<const char*>(data), size});
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
