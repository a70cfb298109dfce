#pragma once
// What a job will do, decided and checked before any work.
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "core/json.h"
#include "loading/model.h"
#include "quant/pass.h"
#include "quaver/quantize.h"

namespace quaver {

struct PlannedSite {
  std::string name;
  int layer = 0;  // the model's number of layers: the output head
  std::int64_t outputs = 0, inputs = 0;
  Pool pool = Pool::none;  // of a routed linear
  bool stacked = false;    // in the checkpoint a part of a tensor that holds several linears
  Scheme scheme;
  const Method* method = nullptr;
};

struct Plan {
  const Method* method = nullptr;  // of the sites that no rule gives another
  const Format* format = nullptr;
  Json method_options;
  Scheme scheme;
  std::vector<PlannedSite> sites;                           // in the order of the model
  std::map<std::string, std::optional<Scheme>> exceptions;  // by rule; no value: left alone
  std::uint64_t shard_bytes = 0;
  Needs needs;            // of all methods together
  bool has_head = false;  // the last of `sites` is the output head, its layer behind the last
  const PlannedSite* head() const { return has_head ? &sites.back() : nullptr; }
};

// Throws Error(bad_argument, unsupported) on options that cannot be met, naming the linear.
Plan make_plan(const Checkpoint& checkpoint, const QuantizeOptions& options);

// Pages of mapped files that a job reads before it drops them.
inline constexpr std::size_t most_mapped_bytes = std::size_t{64} << 20;

// A regular expression for names of modules, matched without exponential search. Throws
// Error(bad_argument) that names `flag`.
std::regex module_pattern(const std::string& flag, const std::string& pattern);

// The rows of a tensor in turn, so many at a time that little of a mapped file is in memory.
void for_slices(const Tensor& t, const std::function<void(const Tensor&)>& work);

// Reads all weights: a digest of their bytes. Throws Error(bad_file) that names the tensors with
// infinite or undefined values, and how many.
std::uint64_t checked_weights(const Checkpoint& checkpoint);

// "5G", "300MB", "1000000"; decimal units. Throws Error(bad_argument) that names `flag`.
std::uint64_t parse_size(const char* flag, const std::string& word);

}  // namespace quaver
