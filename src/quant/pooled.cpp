#include "quant/pooled.h"

#include <algorithm>

#include "core/error.h"
#include "core/spill.h"
#include "core/threads.h"

namespace quaver {

double shrink(Tensor& hessian, std::int64_t tokens, const Tensor& pooled,
              std::int64_t pooled_tokens) {
  const std::int64_t n = pooled.dim(0);
  ensure(pooled_tokens > 0 && (!hessian || hessian.shape() == pooled.shape()),
         "[quantize] pooled statistics of shape ", pooled.shape(), " from ", pooled_tokens,
         " tokens");
  if (!hessian) hessian = Tensor({n, n});
  const double share = static_cast<double>(n) / static_cast<double>(n + tokens);
  const double kept = tokens > 0 ? 1 - share : 0;
  const double added = share / static_cast<double>(pooled_tokens);
  float* h = hessian.data<float>().data();
  const float* all = pooled.data<float>().data();
  parallel_for(n, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t i = r * n; i <= r * n + r; ++i)
        h[i] = static_cast<float>(kept * h[i] + added * all[i]);
  });
  return share;
}

void PooledGrams::input_of(const Linear& linear, const Tensor& x) {
  // What enters the experts is counted at the router, once a token: each goes to equally many.
  if (linear.pool == Pool::none || linear.routed != (linear.pool == Pool::inner)) return;
  if (x.dim(0) == 0) return;
  const SpillSet::Scope all_chunks(nullptr);  // whose statistics these are
  Sum& sum = linear.pool == Pool::entry ? entry_ : inner_;
  if (!sum.gram) sum.gram = Tensor({x.dim(1), x.dim(1)});
  add_gram(sum.gram, x);
  sum.tokens += x.dim(0);
}

double PooledGrams::blend(Pool pool, std::int64_t tokens, Tensor& hessian) const {
  const Sum& sum = pool == Pool::entry ? entry_ : inner_;
  if (pool == Pool::none || sum.tokens == 0) return 0;
  return shrink(hessian, tokens, sum.gram, sum.tokens);
}

}  // namespace quaver
