#pragma once
// For the tests of this folder: the families' tiny checkpoints and golden outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "loading/model.h"

namespace quaver {

// Of every family, in the order of their names.
inline const std::vector<std::string> families = [] {
  std::vector<std::string> names;
  const auto all = std::filesystem::path(QUAVER_TEST_DATA) / "fixtures";
  for (const auto& entry : std::filesystem::directory_iterator(all))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}();

inline std::filesystem::path fixture(const std::string& family) {
  return std::filesystem::path(QUAVER_TEST_DATA) / "fixtures" / family;
}

inline std::unique_ptr<Decoder> fixture_decoder(const std::string& family) {
  return load_decoder(open_model(fixture(family)));
}

inline Tensor golden(const std::string& family, const std::string& name) {
  return open_safetensors(fixture(family) / "golden.safetensors")->read(name);
}

// Whether a text of another length turns the same positions by other angles.
inline bool rotation_depends_on_length(const std::string& family) {
  return family.ends_with("dynamic") || family.ends_with("longrope") || family == "qwen_long";
}

// Row `row` of an i64 matrix.
inline std::vector<std::int32_t> golden_ids(const Tensor& t, std::int64_t row) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < t.dim(1); ++i)
    ids.push_back(static_cast<std::int32_t>(
        t.data<std::int64_t>()[static_cast<std::size_t>(row * t.dim(1) + i)]));
  return ids;
}

// The golden batch's second sequence without its padding, and the first whole.
inline std::vector<std::vector<std::int32_t>> golden_prompts(const std::string& family) {
  const Tensor ids = golden(family, "input_ids"), mask = golden(family, "attention_mask");
  std::vector<std::vector<std::int32_t>> prompts;
  for (std::int64_t row = 0; row < ids.dim(0); ++row) {
    const auto all = golden_ids(ids, row), visible = golden_ids(mask, row);
    prompts.emplace_back();
    for (std::size_t i = 0; i < all.size(); ++i)
      if (visible[i]) prompts.back().push_back(all[i]);
  }
  return prompts;
}

// Largest difference over largest value.
inline double relative_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference = std::max(difference, std::abs(double{a[i]} - double{b[i]}));
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  return difference / largest;
}

}  // namespace quaver
