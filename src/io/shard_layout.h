#pragma once
// How tensors lie in the files of a checkpoint that quaver writes.
#include <string>
#include <vector>

#include "io/safetensors_header.h"

namespace quaver {

inline constexpr std::uint64_t default_shard_bytes = 4'000'000'000;
inline constexpr std::size_t most_shards = 99'999;

// model.safetensors if it is the only file, else model-0000i-of-0000n.safetensors, i from 1.
std::string shard_name(std::size_t i, std::size_t count);
bool is_shard_name(std::string_view name);  // of any checkpoint

// The order in a file: by size of element, largest first, then by name, so that all are aligned.
bool lies_before(const HeaderEntry& a, const HeaderEntry& b);
// Entries in that order, at the places where their data come to lie. Of `begin` and `end` only the
// difference counts.
std::vector<HeaderEntry> placed_in_order(std::vector<HeaderEntry> entries);

}  // namespace quaver
