// SentencePiece's precompiled character map. Layout of the blob:
//   u32 bytes of the trie | u32 units of a Darts double array | NUL-terminated strings
// A unit (darts-clone): bits 0-7 label, 8 has a leaf, 9 offset is shifted by 8, 10-30 offset;
// in a leaf, bits 0-30 are the value: where the replacement begins among the strings.
#include "text/charsmap.h"

#include "core/error.h"

namespace quaver::tokens {
namespace {

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  }
  return value;
}

std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view blob, std::string_view where) {
  if (blob.empty()) return;
  ensure_file(blob.size() > 4, where, ": precompiled_charsmap of ", blob.size(), " bytes");
  const std::uint32_t size = little_endian(blob);
  ensure_file(size % 4 == 0 && size >= 4 && size < blob.size() - 4 && blob.back() == '\0', where,
              ": precompiled_charsmap's trie of ", size, " bytes does not fit its ", blob.size());
  for (std::size_t at = 4; at < 4 + std::size_t{size}; at += 4) {
    units_.push_back(little_endian(blob.substr(at, 4)));
  }
  strings_ = blob.substr(4 + std::size_t{size});
}

Charsmap::Replacement Charsmap::longest(std::string_view input) const { return find(input, false); }

Charsmap::Replacement Charsmap::shortest(std::string_view input) const { return find(input, true); }

bool Charsmap::any_begins_with(std::string_view bytes) const {
  if (units_.empty()) return false;
  std::size_t node = offset_of(units_[0]);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    node ^= byte;
    if (node >= units_.size() || (units_[node] & (1u << 31 | 0xFF)) != byte) return false;
    node ^= offset_of(units_[node]);
  }
  return true;
}

Charsmap::Replacement Charsmap::find(std::string_view input, bool first) const {
  Replacement best{0, {}};
  if (units_.empty()) return best;
  std::size_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < input.size(); ++i) {
    const auto byte = static_cast<unsigned char>(input[i]);
    node ^= byte;
    if (node >= units_.size()) break;
    const std::uint32_t unit = units_[node];
    if ((unit & (1u << 31 | 0xFF)) != byte) break;
    node ^= offset_of(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (node >= units_.size()) break;
    const std::size_t begin = units_[node] & 0x7FFFFFFF;
    if (begin >= strings_.size()) break;
    best = {i + 1, std::string_view(strings_.c_str() + begin)};
    if (first) break;
  }
  return best;
}

}  // namespace quaver::tokens
