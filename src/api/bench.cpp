#include "api/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "api/loaded_model.h"
#include "core/error.h"
#include "core/threads.h"
#include "formats/format.h"
#include "formats/lines.h"
#include "generate/session.h"
#include "kernels/cpu/limits.h"
#include "ops/ops.h"

namespace quaver {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Ids that differ from token to token and from sequence to sequence.
std::vector<std::vector<std::int32_t>> some_ids(std::int64_t batch, std::int64_t tokens,
                                                std::int64_t vocabulary) {
  std::vector<std::vector<std::int32_t>> ids(static_cast<std::size_t>(batch));
  std::uint64_t state = 1;
  for (auto& list : ids)
    for (std::int64_t i = 0; i < tokens; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      list.push_back(
          static_cast<std::int32_t>((state >> 33) % static_cast<std::uint64_t>(vocabulary)));
    }
  return ids;
}

void run_once(Decoder& decoder, const BenchCase& what) {
  Session session(decoder, what.batch);
  const std::int64_t vocabulary = decoder.config().vocab;
  if (what.prompt > 0) {
    session.feed(some_ids(what.batch, what.prompt, vocabulary));
    return;
  }
  const auto token = some_ids(what.batch, 1, vocabulary);
  for (std::int64_t i = 0; i < what.generated; ++i) session.feed(token);
}

// What one token takes through the model.
class TokenCost final : public Observer {
 public:
  void input_of(const Linear& linear, const Tensor& x) override {
    if (x.dim(0) == 0) return;  // an expert that the router passed by
    bytes += bytes_of(linear.weight);
    const std::int64_t products = linear.outputs * linear.inputs;
    (in_head ? head_products : products_) += products;
  }
  std::int64_t products() const { return products_; }
  std::int64_t bytes = 0;          // of the weights
  std::int64_t cached = 0;         // bytes of keys and values that it adds
  std::int64_t head_products = 0;  // of the last token alone
  bool in_head = false;

 private:
  std::int64_t products_ = 0;
};

TokenCost cost_of_token(Decoder& decoder) {
  TokenCost cost;
  KvCache cache = decoder.new_cache(1);
  Step step;
  step.sequences.push_back({.rows = 1, .cache = &cache, .mask = {}, .text = 0});
  const std::int32_t zero = 0;
  step.positions = Tensor::of<std::int32_t>({&zero, 1}, {1});
  step.observer = &cost;
  const Tensor normed = decoder.forward(step.positions, step);
  cost.in_head = true;
  decoder.logits(normed, step);
  for (const KvCache::Layer& layer : cache.layers)
    for (const Tensor* t : {&layer.keys, &layer.values})
      if (*t)
        cost.cached += static_cast<std::int64_t>(t->bytes()) / std::max<std::int64_t>(t->dim(0), 1);
  return cost;
}

double share_of_limit(Decoder& decoder, const BenchCase& what, double tokens_per_second) {
  const TokenCost cost = cost_of_token(decoder);
  const int threads = thread_count();
  if (what.prompt > 0) {
    const double head = static_cast<double>(cost.head_products) / static_cast<double>(what.prompt);
    return 2e-9 * (static_cast<double>(cost.products()) + head) * tokens_per_second /
           cpu::fma_gflops(threads);
  }
  const double cached = static_cast<double>(what.batch * cost.cached * what.generated) / 2;
  const double steps = tokens_per_second / static_cast<double>(what.batch);
  return 1e-9 * (static_cast<double>(cost.bytes) + cached) * steps / cpu::read_gbytes(threads);
}

// Deterministic values between -1 and 1.
Tensor some_matrix(std::int64_t rows, std::int64_t cols) {
  Tensor t(Shape{rows, cols});
  std::uint32_t state = 1;
  for (float& v : t.data<float>()) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
  }
  return t;
}

Tensor in_f16(const Tensor& t) {
  Tensor out(t.shape(), DType::f16);
  const auto from = t.data<float>();
  const auto to = out.data<Half>();
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = to_half(from[i]);
  return out;
}

Tensor in_bf16(const Tensor& t) {
  Tensor out(t.shape(), DType::bf16);
  const auto from = t.data<float>();
  const auto to = out.data<BFloat16>();
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = to_bfloat16(from[i]);
  return out;
}

Packed in_packed(std::int64_t rows, std::int64_t cols, int bits) {
  const Scheme scheme{.bits = bits, .group_size = 128, .symmetric = true};
  const std::int64_t groups = group_count(scheme, cols);
  Quantized q{.scheme = scheme, .rows = rows, .cols = cols};
  q.codes = Tensor(Shape{rows, cols}, DType::u8);
  q.scales = Tensor(Shape{rows, groups});
  q.zeros = Tensor(Shape{rows, groups});
  std::uint32_t state = 1;
  for (std::uint8_t& code : q.codes.data<std::uint8_t>()) {
    state = state * 1664525u + 1013904223u;
    code = static_cast<std::uint8_t>((state >> 16) & ((1u << bits) - 1));
  }
  for (float& scale : q.scales.data<float>()) scale = 0.01f;
  for (float& zero : q.zeros.data<float>()) zero = static_cast<float>(1 << (bits - 1));
  return find_format(bits == 5 || bits == 6 ? "gptq_p" : "gptq").pack(q);
}

struct Product {
  std::string kernel;
  Weight weight;
};

// Many tokens are bound by arithmetic, one token by reading the weight.
KernelResult measure_product(const Product& product, std::int64_t m, int repetitions, double flops,
                             double bytes) {
  const Shape shape = shape_of(product.weight);
  const Tensor x = some_matrix(m, shape[1]);
  double best = 1e30;
  for (int i = 0; i <= repetitions; ++i) {
    const double seconds = seconds_of([&] { linear(x, product.weight); });
    if (i > 0) best = std::min(best, seconds);
  }
  KernelResult result;
  result.kernel = product.kernel;
  result.shape = text(m, "x", shape[0], "x", shape[1]);
  if (m > 1) {
    result.unit = "GFLOP/s";
    result.value = 2e-9 * static_cast<double>(m) * static_cast<double>(shape[0] * shape[1]) / best;
    result.of_limit = result.value / flops;
  } else {
    result.unit = "GB/s";
    result.value = 1e-9 * static_cast<double>(bytes_of(product.weight)) / best;
    result.of_limit = result.value / bytes;
  }
  return result;
}

}  // namespace

BenchResult measure_model(const Model& model, const BenchCase& what) {
  ensure((what.prompt > 0) != (what.generated > 0),
         "[bench] either prompt or generated must be above 0, got ", what.prompt, " and ",
         what.generated);
  ensure(what.batch >= 1 && what.repetitions >= 1, "[bench] batch ", what.batch,
         " and repetitions ", what.repetitions, " must be at least 1");
  Decoder& decoder = *model.impl().decoder;
  const double tokens = static_cast<double>(what.batch * (what.prompt + what.generated));
  std::vector<double> rates;
  for (int i = 0; i <= what.repetitions; ++i) {
    const double seconds = seconds_of([&] { run_once(decoder, what); });
    if (i > 0) rates.push_back(tokens / seconds);
  }
  double mean = 0, squares = 0;
  for (const double rate : rates) mean += rate / static_cast<double>(rates.size());
  for (const double rate : rates) squares += (rate - mean) * (rate - mean);
  const double n = static_cast<double>(rates.size());
  return {.test = what.prompt > 0 ? text("pp", what.prompt) : text("tg", what.generated),
          .batch = what.batch,
          .threads = thread_count(),
          .tokens_per_second = mean,
          .stddev = n > 1 ? std::sqrt(squares / (n - 1)) : 0,
          .repetitions = what.repetitions,
          .of_limit = share_of_limit(decoder, what, mean)};
}

std::vector<KernelResult> measure_kernels(int repetitions) {
  const int threads = thread_count();
  const double flops = cpu::fma_gflops(threads), bytes = cpu::read_gbytes(threads);
  std::vector<KernelResult> results{{"limit: fma", "-", flops, "GFLOP/s", 1},
                                    {"limit: read", "-", bytes, "GB/s", 1}};
  const auto measure = [&](const Product& product, std::initializer_list<std::int64_t> tokens) {
    for (const std::int64_t m : tokens)
      results.push_back(measure_product(product, m, repetitions, flops, bytes));
  };
  for (const std::int64_t size : {1024, 2048, 4096}) {
    const Tensor w = some_matrix(size, size);
    measure({"f32", w}, {size == 4096 ? 1024 : size, 1});
    if (size != 2048) continue;
    measure({"f16", in_f16(w)}, {512, 1});
    measure({"bf16", in_bf16(w)}, {512, 1});
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      const Packed packed = in_packed(size, size, bits);
      measure({text(packed.format->name, ' ', bits, " bits"), packed}, {512, 1});
      measure({text("lines ", bits, " bits"), *in_lines(packed)}, {512, 1});
    }
  }
  return results;
}

}  // namespace quaver
