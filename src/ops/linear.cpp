// The product with a weight, plain or packed.
#include <algorithm>

#include "ops/dispatch.h"
#include "ops/ops.h"

namespace quaver {
namespace {

// Rows of a packed weight that are decoded at a time where no kernel reads its layout.
constexpr std::int64_t tile_rows = 128;

void gemm(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y, std::int64_t ldy) {
  dispatch<GemmArgs>(
      x.device(), "gemm", &DeviceOps::gemm,
      {.m = x.dim(0),
       .n = w.dim(0),
       .k = x.dim(1),
       .x_row = x.dim(1),
       .w_row = w.dim(1),
       .ldy = ldy,
       .w_type = w.dtype()},
      {{&GemmArgs::x, &x}, {&GemmArgs::w, &w}, {&GemmArgs::bias, &bias}, {&GemmArgs::y, &y, true}});
}

const PackedGemm* kernel_of(const Packed& w, Device device, std::int64_t m) {
  for (const PackedGemm& kernel : backend_of(device).ops(device.index).packed)
    if (kernel.format == w.format->name && kernel.fits(w, m)) return &kernel;
  return nullptr;
}

// The oracle, and the way of a layout without a kernel: decode some rows, multiply, go on.
Tensor decoded_linear(const Tensor& x, const Packed& w, const Tensor& bias) {
  const Tensor host_x = on_host(x), host_bias = on_host(bias);
  const Packed host_w = moved_to(w, Device{});
  Tensor y = Tensor::raw({x.dim(0), w.rows});
  for (std::int64_t row = 0; row < w.rows; row += tile_rows) {
    const std::int64_t count = std::min(tile_rows, w.rows - row);
    const Tensor tile = dequantized(w.format->unpack(host_w, row, count));
    const Tensor tile_bias = host_bias ? host_bias.rows(row, row + count) : Tensor();
    Tensor place = Tensor::wrap(std::shared_ptr<void>(std::shared_ptr<void>(), y.base()),
                                {x.dim(0), count}, DType::f32, Device{},
                                y.offset() + static_cast<std::size_t>(row) * sizeof(float));
    gemm(host_x, tile, tile_bias, place, w.rows);
  }
  return moved_to(y, x.device());
}

Tensor packed_linear(const Tensor& x, const Packed& w, const Tensor& bias) {
  const PackedGemm* kernel = kernel_of(w, x.device(), x.dim(0));
  if (!kernel) return decoded_linear(x, w, bias);
  Tensor y = empty_on(x.device(), {x.dim(0), w.rows});
  PackedArgs args{.x = mem(x), .y = mem(y), .w = &w, .m = x.dim(0)};
  if (bias) args.bias = mem(bias);
  kernel->run(stream_of(x.device()), args);
  return y;
}

}  // namespace

Shape shape_of(const Weight& w) {
  if (const auto* packed = std::get_if<Packed>(&w)) return {packed->rows, packed->cols};
  return std::get<Tensor>(w).shape();
}

Device device_of(const Weight& w) {
  if (const auto* packed = std::get_if<Packed>(&w))
    return packed->parts.empty() ? Device{} : packed->parts.begin()->second.device();
  return std::get<Tensor>(w).device();
}

std::int64_t bytes_of(const Weight& w) {
  std::int64_t bytes = 0;
  if (const auto* packed = std::get_if<Packed>(&w))
    for (const auto& [name, part] : packed->parts) bytes += static_cast<std::int64_t>(part.bytes());
  else
    bytes = static_cast<std::int64_t>(std::get<Tensor>(w).bytes());
  return bytes;
}

Tensor dequantized(const Weight& w) {
  if (const auto* plain = std::get_if<Tensor>(&w)) return to_f32(on_host(*plain));
  const Packed p = moved_to(std::get<Packed>(w), Device{});
  return dequantized(p.format->unpack(p, 0, p.rows));
}

std::string kernel_for(const Weight& w, std::int64_t m) {
  if (const auto* plain = std::get_if<Tensor>(&w)) return text("gemm ", plain->dtype());
  const auto& packed = std::get<Packed>(w);
  const PackedGemm* kernel = kernel_of(packed, device_of(w), m);
  return kernel ? std::string(kernel->name) : "decoded tiles";
}

namespace {

void check_linear(const Tensor& x, const Weight& w, const Tensor& bias) {
  const Shape shape = shape_of(w);
  ensure(
      x.shape().rank() == 2 && x.dtype() == DType::f32 && shape.rank() == 2 && x.dim(1) == shape[1],
      "[linear] x ", x.shape(), " ", x.dtype(), " with a weight of ", shape);
  ensure(!bias || (bias.shape() == Shape({shape[0]}) && bias.dtype() == DType::f32),
         "[linear] bias ", bias.shape(), " ", bias.dtype(), " for ", shape[0], " outputs");
  ensure(device_of(w) == x.device() && (!bias || bias.device() == x.device()),
         "[linear] x lies on device ", int{x.device().backend}, ", the weight on ",
         int{device_of(w).backend});
}

}  // namespace

Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
  check_linear(x, w, bias);
  if (const auto* packed = std::get_if<Packed>(&w)) return packed_linear(x, *packed, bias);
  const std::int64_t outputs = shape_of(w)[0];
  Tensor y = empty_on(x.device(), {x.dim(0), outputs});
  gemm(x, std::get<Tensor>(w), bias, y, outputs);
  return y;
}

std::vector<Tensor> linears(const Tensor& x, std::span<const WeightAndBias> weights) {
  std::vector<Tensor> results;
  std::vector<PackedArgs> all;
  const PackedGemm* kernel = nullptr;
  for (const auto& [weight, bias] : weights) {
    const auto* packed = std::get_if<Packed>(weight);
    const PackedGemm* fits = packed ? kernel_of(*packed, x.device(), x.dim(0)) : nullptr;
    if (!fits || !fits->run_all || (kernel && fits != kernel)) break;
    kernel = fits;
    check_linear(x, *weight, *bias);
    results.push_back(empty_on(x.device(), {x.dim(0), packed->rows}));
    all.push_back({.x = mem(x),
                   .y = mem(results.back()),
                   .bias = *bias ? mem(*bias) : Mem{},
                   .w = packed,
                   .m = x.dim(0)});
  }
  if (!weights.empty() && all.size() == weights.size()) {
    kernel->run_all(stream_of(x.device()), all);
    return results;
  }
  results.clear();
  for (const auto& [weight, bias] : weights) results.push_back(linear(x, *weight, *bias));
  return results;
}

void add_gram(Tensor& h, const Tensor& x) {
  const std::int64_t n = x.dim(1), m = x.dim(0);
  ensure(h.shape() == Shape({n, n}), "[add_gram] h ", h.shape(), " for x ", x.shape());
  const Tensor rows = on_host(x);
  // x^T x as a product of x^T [n, m] with itself: strides do the transposition.
  cpu_backend.ops(0).gemm(Stream{}, {.x = mem(rows),
                                     .w = mem(rows),
                                     .y = mem(h),
                                     .m = n,
                                     .n = n,
                                     .k = m,
                                     .x_row = 1,
                                     .x_col = n,
                                     .w_row = 1,
                                     .w_col = n,
                                     .ldy = n,
                                     .into = GemmArgs::Into::add,
                                     .lower_only = true});
}

}  // namespace quaver
