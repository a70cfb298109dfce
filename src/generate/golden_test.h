#pragma once
// For the tests of this folder: the generator of tests/golden/make_generation.py, and settings as
// that script's goldens hold them.
#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "generate/settings.h"

namespace quaver {

// `count` floats in [-4, 4).
inline std::vector<float> golden_numbers(std::uint32_t seed, std::size_t count) {
  std::uint32_t x = seed * 2654435761u + 12345u;
  std::vector<float> out;
  for (std::size_t i = 0; i < count; ++i) {
    x = x * 1664525u + 1013904223u;
    out.push_back(static_cast<float>(static_cast<double>(x >> 8) / 0x1p24 * 8 - 4));
  }
  return out;
}

// Logits of the golden model after `tokens`.
inline std::vector<float> golden_logits(std::span<const std::int32_t> tokens, std::size_t count) {
  const std::int32_t before = tokens.size() > 1 ? tokens[tokens.size() - 2] : 0;
  const auto length = static_cast<std::uint32_t>(tokens.size());
  const std::int32_t mixed = tokens.back() * 31 + before;
  return golden_numbers(static_cast<std::uint32_t>(mixed) * 31 + length, count);
}

inline GenerateSettings golden_settings(const Json& settings) { return resolve({}, settings); }

inline Json golden_cases(const std::string& name) {
  return read_json_file(std::string(QUAVER_TEST_DATA) + "/generation/" + name + ".json");
}

}  // namespace quaver
