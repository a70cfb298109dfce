#pragma once
// What the experts of one mixture know together. An expert sees the tokens that the router sends
// it, which may be fewer than its inputs or none: its Hessian is shrunk towards that of the layer,
//   H_e <- (1 - l) H_e + l (n_e / T) H_layer,   l = d / (d + n_e),
// where the H are sums of x x^T over n_e and T tokens of d inputs. With the means that the solvers
// take it reads (1 - l) H_e + l H_layer, and gives H_layer where n_e = 0.
#include <cstdint>

#include "core/tensor.h"
#include "nn/module.h"

namespace quaver {

// Mixes the mean `hessian` of `tokens` rows with `pooled`, the sum over `pooled_tokens` > 0 rows;
// of both the lower triangle is valid. An empty `hessian` stands for none. Returns l.
double shrink(Tensor& hessian, std::int64_t tokens, const Tensor& pooled,
              std::int64_t pooled_tokens);

// Watches the forwards of a block; holds two matrices, however many experts there are.
class PooledGrams final : public Observer {
 public:
  void input_of(const Linear& linear, const Tensor& x) override;
  // shrink() with the statistics of `pool`; 0 and no change where the layer saw no tokens.
  double blend(Pool pool, std::int64_t tokens, Tensor& hessian) const;

 private:
  struct Sum {
    Tensor gram;
    std::int64_t tokens = 0;
  };
  Sum entry_, inner_;
};

}  // namespace quaver
