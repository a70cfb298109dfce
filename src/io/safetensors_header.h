#pragma once
// The header of a safetensors file (https://github.com/huggingface/safetensors):
//   u64 little-endian n | n bytes of JSON | data
// read by a strict pull parser: it knows the one shape that the JSON may have, does not recurse and
// allocates nothing that the header's own bytes do not pay for.
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace quaver {

struct StoredDType {  // one element type of the format
  std::string_view name;
  int bits;
  std::optional<DType> dtype;  // absent: DType has no such element
};
const StoredDType* find_stored_dtype(std::string_view name);  // null if the format has none
const StoredDType& stored_dtype(DType dtype);

struct HeaderEntry {
  std::string name;
  const StoredDType* dtype = nullptr;
  Shape shape;
  std::uint64_t begin = 0, end = 0;  // bytes of the data section
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> tensors;  // sorted by name
  std::map<std::string, std::string> metadata;
  std::uint64_t data_begin = 0;  // where the data section begins in the file
};

inline constexpr std::uint64_t max_header_bytes = 100'000'000;
inline constexpr std::size_t max_tensors_in_file = std::size_t{1} << 20;

// `start` is the file from its first byte, at least as far as the header reaches; `file_bytes` its
// whole size. Throws Error(bad_file) that begins with `where`: truncated, trailing, overlapping or
// missing data, duplicate names, sizes that do not fit shapes, anything else that is not the
// format.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> start,
                                           std::uint64_t file_bytes, std::string_view where);

// The inverse: 8 bytes of length and the JSON, padded with spaces to a multiple of 64 bytes, for
// entries in the order of their data.
std::string safetensors_header(std::span<const HeaderEntry> entries);

// `name` in quotes and fit for a terminal: control characters as \x1b, long names cut.
std::string printable(std::string_view name);

bool is_utf8(std::string_view s);

}  // namespace quaver
