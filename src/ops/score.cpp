#include "ops/score.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/threads.h"
#include "kernels/cpu/kernels.h"
#include "ops/ops.h"

namespace quaver {
namespace {

constexpr std::int64_t rows_a_task = 16;

struct Row {
  const float* values;
  std::int64_t size, argmax;
  double log_sum;  // log of the sum of exp(values)
};

Row summarize(const float* values, std::int64_t size) {
  const auto argmax = std::max_element(values, values + size) - values;
  const float top = values[argmax];
  return {values, size, argmax, top + std::log(cpu::kernels().sum_exp(values, size, top))};
}

void check(const Tensor& logits, std::size_t rows) {
  ensure(logits.shape().rank() == 2 && logits.dim(1) > 0 &&
             logits.dim(0) == static_cast<std::int64_t>(rows),
         "[score] logits ", logits.shape(), " for ", rows, " rows");
}

}  // namespace

void score_rows(const Tensor& logits, std::span<const std::int32_t> targets,
                std::span<RowScore> out) {
  check(logits, targets.size());
  check(logits, out.size());
  const Tensor host = on_host(logits);
  const std::int64_t vocab = host.dim(1);
  for (const std::int32_t target : targets)
    ensure(target >= 0 && target < vocab, "[score] target ", target, " of ", vocab);
  const float* values = host.data<float>().data();
  parallel_for(host.dim(0), rows_a_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Row row = summarize(values + i * vocab, vocab);
      const auto at = static_cast<std::size_t>(i);
      out[at] = {row.log_sum - row.values[targets[at]], static_cast<std::int32_t>(row.argmax)};
    }
  });
}

void kl_rows(const Tensor& reference, const Tensor& model, std::span<double> kl,
             std::span<std::uint8_t> same_top) {
  check(reference, kl.size());
  check(model, same_top.size());
  ensure(reference.shape() == model.shape(), "[kl] logits ", reference.shape(), " against ",
         model.shape());
  const Tensor p_host = on_host(reference), q_host = on_host(model);
  const std::int64_t vocab = p_host.dim(1);
  const float *p_values = p_host.data<float>().data(), *q_values = q_host.data<float>().data();
  parallel_for(p_host.dim(0), rows_a_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Row p = summarize(p_values + i * vocab, vocab);
      const Row q = summarize(q_values + i * vocab, vocab);
      double sum = 0;
      for (std::int64_t v = 0; v < vocab; ++v) {
        const double log_p = p.values[v] - p.log_sum;
        sum += std::exp(static_cast<float>(log_p)) * (log_p - (q.values[v] - q.log_sum));
      }
      kl[static_cast<std::size_t>(i)] = sum;
      same_top[static_cast<std::size_t>(i)] = p.argmax == q.argmax;
    }
  });
}

}  // namespace quaver
