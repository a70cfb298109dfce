#pragma once
// What tests of golden files share: FNV-1a of 64 bits, files, lines.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

inline std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
  }
  return lines;
}

struct Hash {
  std::uint64_t value = 0xCBF29CE484222325;
  void byte(unsigned char b) { value = (value ^ b) * 0x100000001B3; }
  void add(std::string_view text) {
    for (const char c : text) byte(static_cast<unsigned char>(c));
  }
  void add(const std::vector<std::int32_t>& ids) {
    for (const std::int32_t id : ids) {
      for (int shift = 0; shift < 32; shift += 8) byte(static_cast<unsigned char>(id >> shift));
    }
  }
  std::string hex() const {
    char out[17];
    std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(value));
    return out;
  }
};

}  // namespace quaver
