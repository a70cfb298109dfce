// quaver-bench-gptq [--threads N] [--rounds R] [--outputs O] [--inputs I]
// The solver alone: one linear, 4 bits in groups of 128, given its Hessian. Every round measures
// the machine's multiply-add rate and each step once. Counted operations: n^2 per token for the
// Hessian, 2/3 n^3 for the factor of its inverse, outputs * n^2 for the walk along the columns.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/host_memory.h"
#include "core/threads.h"
#include "kernels/cpu/limits.h"
#include "ops/ops.h"
#include "quant/gptq.h"

namespace quaver {
namespace {

struct Settings {
  int threads = thread_count(), rounds = 3;
  std::int64_t outputs = 4096, inputs = 4096;
};

Settings settings_of(int count, char** words) {
  Settings s;
  for (int i = 1; i < count; ++i) {
    const std::string name = words[i];
    ensure(i + 1 < count, name, " needs a number");
    const long long value = std::atoll(words[++i]);
    ensure(value > 0 && value <= 65536, name, " ", words[i], ": expected 1 to 65536");
    if (name == "--threads")
      s.threads = static_cast<int>(value);
    else if (name == "--rounds")
      s.rounds = static_cast<int>(value);
    else if (name == "--outputs")
      s.outputs = value;
    else if (name == "--inputs")
      s.inputs = value;
    else
      fail(Fault::bad_argument, "unknown: ", name);
  }
  return s;
}

// [rows, cols], columns of unlike sizes with a part that all of them share: far from white.
Tensor numbers(std::int64_t rows, std::int64_t cols, std::uint32_t seed, float shared) {
  Tensor t = Tensor::raw({rows, cols}, DType::f32);
  float* out = t.data<float>().data();
  const auto next = [&] {
    seed = 1664525u * seed + 1013904223u;
    return static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  };
  for (std::int64_t r = 0; r < rows; ++r) {
    const float common = shared * next();
    for (std::int64_t c = 0; c < cols; ++c)
      out[r * cols + c] = next() * (1 + static_cast<float>(c * 7 % 11)) + common;
  }
  return t;
}

double seconds(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void show(const char* what, double time, double operations, double limit) {
  std::cout << std::left << std::setw(28) << what << std::right << std::fixed
            << std::setprecision(1) << std::setw(9) << time * 1e3 << " ms" << std::setw(8)
            << operations / time / 1e9 << " GFLOP/s  " << std::setprecision(2)
            << operations / time / limit << " of the limit\n";
}

int run(int count, char** words) {
  const Settings s = settings_of(count, words);
  set_thread_count(s.threads);
  set_host_buffer_cache(std::size_t{2} << 30);
  const auto n = static_cast<double>(s.inputs), rows = static_cast<double>(s.outputs);
  constexpr std::int64_t tokens = 2048;
  const Tensor x = numbers(tokens, s.inputs, 1, 2.0f), w = numbers(s.outputs, s.inputs, 2, 0.1f);
  const Scheme scheme{.bits = 4, .group_size = 128, .symmetric = true};
  const GptqSettings plain{.act_group_aware = false, .search = Search::none};
  const Format& format = find_format("gptq");
  double limit = 0, gram = 1e9, factor = 1e9, walk = 1e9;
  for (int round = 0; round < s.rounds; ++round) {
    limit = std::max(limit, 1e9 * cpu::fma_gflops(s.threads));
    Tensor h({s.inputs, s.inputs});
    gram = std::min(gram, seconds([&] { add_gram(h, x); }));
    GptqInputs inputs;
    factor = std::min(factor, seconds([&] { inputs = gptq_inputs(h, scheme, plain); }));
    ensure(inputs.factor.failure.empty(), inputs.factor.failure);
    double loss = 0;
    walk = std::min(walk, seconds([&] { gptq_quantize(w, scheme, format, inputs, plain, &loss); }));
    ensure(std::isfinite(loss) && loss > 0, "the loss is ", loss);
  }
  std::cout << s.outputs << " x " << s.inputs << ", " << thread_count() << " threads, best of "
            << s.rounds << "; multiply-adds " << std::setprecision(4) << limit / 1e9
            << " GFLOP/s\n";
  show("Hessian of 2048 tokens", gram, static_cast<double>(tokens) * n * n, limit);
  show("factor of its inverse", factor, 2 * n * n * n / 3, limit);
  show("columns", walk, rows * n * n, limit);
  show("factor and columns", factor + walk, 2 * n * n * n / 3 + rows * n * n, limit);
  return 0;
}

}  // namespace
}  // namespace quaver

int main(int count, char** words) {
  try {
    return quaver::run(count, words);
  } catch (const std::exception& e) {
    std::cerr << "quaver-bench-gptq: " << e.what() << "\n";
    return 2;
  }
}
