#pragma once
// Speed of a model and of the kernels.
#include <cstdint>
#include <string>
#include <vector>

#include "quaver/model.h"

namespace quaver {

struct BenchCase {
  std::int64_t prompt = 0;     // tokens to read in one step, or
  std::int64_t generated = 0;  // tokens to run one by one from an empty cache
  std::int64_t batch = 1;      // sequences side by side
  int repetitions = 5;         // after one that does not count
};

struct BenchResult {
  std::string test;  // "pp512", "tg128"
  std::int64_t batch = 1;
  int threads = 1;
  double tokens_per_second = 0, stddev = 0;  // of all sequences together
  int repetitions = 0;
  // Of what the machine can do, measured in the same run: where tokens are generated, bytes of
  // weights and cache that a step reads in a second, of the rate of plain reading; for prompts
  // multiply-adds of the linears, of the rate in f32 (more than 1 with whole numbers).
  double of_limit = 0;
};

// With the present number of threads.
BenchResult measure_model(const Model& model, const BenchCase& what);

struct KernelResult {
  std::string kernel, shape;
  double value = 0;  // the best of the repetitions
  std::string unit;  // "GFLOP/s" or "GB/s"
  double of_limit = 0;
};

// The machine's own limits (FMA rate, read rate), then matrix products in f32, f16, bf16, packed as
// in files and in lines, with the present number of threads. `of_limit` is 1 for the limits.
std::vector<KernelResult> measure_kernels(int repetitions);

}  // namespace quaver
