// The reader of what torch.save writes, archives and the older form: any bytes give tensors that
// lie inside the file, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/error.h"
#include "io/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quaver;
  const auto file = std::as_bytes(std::span<const std::uint8_t>(data, size));
  constexpr std::uint64_t most_copied = 1 << 16;  // of one tensor: time is for the parser
  try {
    for (const TorchTensor& tensor : parse_torch_file(file, "fuzz")) {
      if (tensor.storage_begin > tensor.storage_end || tensor.storage_end > size) std::abort();
      if (tensor.begin < tensor.storage_begin || tensor.begin > tensor.storage_end) std::abort();
      if (tensor.is_dense() && tensor.bytes() > tensor.storage_end - tensor.begin) std::abort();
      // Reads each element: the sanitizer knows where the file ends.
      if (tensor.type->dtype && tensor.bytes() <= most_copied) copied(tensor, file);
    }
  } catch (const Error& e) {
    if (e.fault != Fault::bad_file && e.fault != Fault::unsupported) std::abort();
  }
  return 0;
}
