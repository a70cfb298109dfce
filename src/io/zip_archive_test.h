#pragma once
// For the tests of this folder: zip archives made by hand, so that they can be made wrong.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace quaver {

struct ZipPart {
  std::string name, data;
  std::uint16_t method = 0, flags = 0;
};

inline std::string little(std::uint64_t value, int width) {
  std::string bytes;
  for (; width > 0; --width, value >>= 8) bytes += static_cast<char>(value & 255);
  return bytes;
}

inline std::string zip_of(const std::vector<ZipPart>& parts) {
  std::string file, directory;
  for (const ZipPart& part : parts) {
    const std::string shared = little(part.flags, 2) + little(part.method, 2) + little(0, 8) +
                               little(part.data.size(), 4) + little(part.data.size(), 4) +
                               little(part.name.size(), 2) + little(0, 2);
    directory += "PK\1\2" + little(20, 2) + little(20, 2) + shared + little(0, 2) + little(0, 2) +
                 little(0, 2) + little(0, 4) + little(file.size(), 4) + part.name;
    file += "PK\3\4" + little(20, 2) + shared + part.name + part.data;
  }
  const std::size_t begin = file.size();
  return file + directory + "PK\5\6" + little(0, 4) + little(parts.size(), 2) +
         little(parts.size(), 2) + little(directory.size(), 4) + little(begin, 4) + little(0, 2);
}

// Writes a number over the bytes `skip` behind the n-th occurrence (from 0) of `mark`.
inline void poke(std::string& bytes, const std::string& mark, std::size_t n, std::size_t skip,
                 std::uint64_t value, int width) {
  std::size_t at = bytes.find(mark);
  for (; n > 0; --n) at = bytes.find(mark, at + 1);
  ASSERT_LE(at, bytes.size() - skip) << "nothing to write over";
  bytes.replace(at + skip, static_cast<std::size_t>(width), little(value, width));
}

}  // namespace quaver
