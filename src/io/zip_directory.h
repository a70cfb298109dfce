#pragma once
// The entries of a zip archive (PKWARE's APPNOTE 6.3) whose data lie there as they are, which is
// how PyTorch writes its files:
//   local header, name, extra | data | ... | central directory | zip64 end, locator | end
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

struct ZipEntry {
  std::string name;
  std::uint64_t begin = 0, size = 0;  // of its data, bytes of the file
};

inline constexpr std::size_t max_zip_entries = std::size_t{1} << 20;

// Whether the file begins as an archive does.
bool is_zip(std::span<const std::byte> file);

// Sorted by name. Nothing is unpacked: only stored entries are accepted. Throws Error(bad_file)
// that begins with `where` on sizes or places outside the file, entries that overlap or occur
// twice, headers that contradict each other, names with "..", and Error(unsupported) on
// compression, encryption and archives in several parts.
std::vector<ZipEntry> read_zip_directory(std::span<const std::byte> file, std::string_view where);

}  // namespace quaver
