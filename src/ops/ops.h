#pragma once
// Mathematics on tensors. An op checks shapes, makes its output where its inputs lie, and runs the
// best kernel of that device; where the device has none, the CPU's, with copies.
#include <optional>
#include <span>

#include "core/tensor.h"
#include "formats/format.h"
#include "kernels/backend.h"

namespace quaver {

// --- Placement ---------------------------------------------------------------------------------
Tensor empty_on(Device device, Shape shape, DType dtype = DType::f32);  // not initialized
Tensor moved_to(const Tensor& t, Device device);  // the tensor itself if it lies there already
Packed moved_to(const Packed& p, Device device);
Weight moved_to(const Weight& w, Device device);
inline Tensor on_host(const Tensor& t) { return moved_to(t, Device{}); }
// f32 in another of the types f32, f16 and bf16, rounded to nearest even; on the same device.
Tensor converted(const Tensor& t, DType type);
// Copies `from` (same dtype and row size, same device) over the rows of `to` from `row`.
void copy_rows(Tensor& to, std::int64_t row, const Tensor& from);

// --- Weights -----------------------------------------------------------------------------------
Shape shape_of(const Weight& w);  // [outputs, inputs]
Device device_of(const Weight& w);
std::int64_t bytes_of(const Weight& w);
// f32 [outputs, inputs] on the host, whatever the weight's form.
Tensor dequantized(const Weight& w);
// Which kernel `linear` would run for `m` rows: "gemm f16", "gptq gemv", "decoded tiles", ...
std::string kernel_for(const Weight& w, std::int64_t m);

// --- Layers ------------------------------------------------------------------------------------
// x f32 [m, inputs] -> f32 [m, outputs]: x * w^T + bias. `bias` f32 [outputs] may be empty.
Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias = {});
struct WeightAndBias {
  const Weight* weight = nullptr;
  const Tensor* bias = nullptr;  // may be empty
};
// The same for several weights, in one go where a kernel can: what linear() gives for each.
std::vector<Tensor> linears(const Tensor& x, std::span<const WeightAndBias> weights);
// gain and bias f32 [cols]; bias may be empty, so may the gain.
// `offset` is added to every gain (Gemma stores gains minus 1). A gain [n, cols] has a row for each
// of n rows of x in turn.
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps,
                  float offset = 0);
Tensor rms_norm(const Tensor& x, const Tensor& gain, float eps, float offset = 0);
// index i32 [m] -> f32 [m, cols]; throws on an index outside the table.
Tensor gather(const Tensor& table, const Tensor& index);
// Rotates the first 2 * half columns of each head of x f32 [m, heads * head_dim]; cos, sin f32
// [m, half].
Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, std::int64_t head_dim,
            bool interleaved);

struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t value_dim = 0;  // of a head of v and y; 0: head_dim
  std::int64_t window = 0;     // keys that a query sees, itself included; 0: all
  float scale = 1;
  float soft_cap = 0;  // scores become cap * tanh(score / cap); 0: not

  std::int64_t value_size() const { return value_dim > 0 ? value_dim : head_dim; }
};
// One sequence: q f32 [rows, heads * head_dim] against k [keys, kv_heads * head_dim] and v [keys,
// kv_heads * value_dim], both f32, f16 or bf16; the queries are the last `rows` of the keys'
// positions. mask u8 [keys] (0 hides a key), slopes f32 [heads] (ALiBi) and sinks f32 [heads] (one
// more score of the softmax, without a value) may be empty. Writes f32 [rows, heads * value_dim]
// into `y`.
void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
               const Tensor& slopes, const Tensor& sinks, const AttentionShape& shape, Tensor& y);

Tensor activation(const Tensor& x, Activation function);
Tensor gated(const Tensor& x, Activation function, const Tensor& gate);  // f(x) * gate
Tensor operator+(const Tensor& a, const Tensor& b);
inline Tensor times(const Tensor& a, const Tensor& b) { return gated(a, Activation::identity, b); }
Tensor map(const Tensor& x, Map function, float a);
inline Tensor scaled(const Tensor& x, float factor) {
  return factor == 1 ? x : map(x, Map::scale, factor);
}
// y[index[i], :] += weight[i] * x[i, :] for x f32 [rows, cols], index i32 and weight f32 [rows]
// (both host), y f32 [any, cols]. No index may appear twice.
void scatter_add(const Tensor& x, const Tensor& index, const Tensor& weight, Tensor& y);
// f32 [m, count]: columns begin .. begin + count of x [m, cols].
Tensor columns(const Tensor& x, std::int64_t begin, std::int64_t count);
// Writes all columns of x f32 [m, count] into y f32 [m * repeat, any] from column `begin`, each row
// of x into `repeat` rows of y.
void place_columns(const Tensor& x, Tensor& y, std::int64_t begin, std::int64_t repeat = 1);

// --- Linear algebra of the quantizers (f32, host) ----------------------------------------------
// h [n, n] += x^T x for x [m, n]: the lower triangle only.
void add_gram(Tensor& h, const Tensor& x);

}  // namespace quaver
