// Where tensors lie: allocation and copies through the backend table.
#include <algorithm>
#include <cstring>

#include "ops/dispatch.h"
#include "ops/ops.h"

namespace quaver {

const Backend& backend_of(Device device) {
  const auto all = backends();
  ensure(device.backend < all.size(), "[device] backend ", int{device.backend}, " of ", all.size());
  return *all[device.backend];
}

Tensor empty_on(Device device, Shape shape, DType dtype) {
  if (device == Device{}) return Tensor::raw(shape, dtype);
  const auto bytes = static_cast<std::size_t>(shape.size()) * size_of(dtype);
  return Tensor::wrap(backend_of(device).allocate(device.index, bytes), shape, dtype, device);
}

Tensor moved_to(const Tensor& t, Device device) {
  if (!t || t.device() == device) return t;
  if (t.device() != Device{} && device != Device{}) return moved_to(on_host(t), device);
  Tensor out = empty_on(device, t.shape(), t.dtype());
  if (t.bytes() == 0) return out;
  if (device == Device{})
    backend_of(t.device()).to_host(stream_of(t.device()), out.host(), mem(t), t.bytes());
  else
    backend_of(device).to_device(stream_of(device), mem(out), t.host(), t.bytes());
  return out;
}

Packed moved_to(const Packed& p, Device device) {
  Packed out = p;
  for (auto& [name, part] : out.parts) part = moved_to(part, device);
  return out;
}

Weight moved_to(const Weight& w, Device device) {
  return std::visit([&](const auto& form) -> Weight { return moved_to(form, device); }, w);
}

Tensor converted(const Tensor& t, DType type) {
  if (t.dtype() == type) return t;
  ensure(t.dtype() == DType::f32 && (type == DType::f16 || type == DType::bf16), "[converted] ",
         t.dtype(), " to ", type, ": expected f32 to f16 or bf16");
  const Tensor from = on_host(t);
  Tensor to = Tensor::raw(t.shape(), type);
  const auto x = from.data<float>();
  if (type == DType::f16)
    std::ranges::transform(x, to.data<Half>().begin(), to_half);
  else
    std::ranges::transform(x, to.data<BFloat16>().begin(), to_bfloat16);
  return moved_to(to, t.device());
}

void copy_rows(Tensor& to, std::int64_t row, const Tensor& from) {
  ensure(to.shape().rank() == 2 && from.shape().rank() == 2 && to.dim(1) == from.dim(1) &&
             to.dtype() == from.dtype() && to.device() == from.device(),
         "[copy_rows] ", from.shape(), " ", from.dtype(), " into ", to.shape(), " ", to.dtype());
  const Tensor place = to.rows(row, row + from.dim(0));
  if (from.bytes() == 0) return;
  if (to.device() == Device{})
    std::memmove(place.host(), from.host(), from.bytes());
  else
    backend_of(to.device()).copy(stream_of(to.device()), mem(place), mem(from), from.bytes());
}

}  // namespace quaver
