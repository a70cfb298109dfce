#pragma once
// How an op reaches a kernel: on the device of its inputs, or on the CPU with copies.
#include <initializer_list>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "ops/ops.h"

namespace quaver {

const Backend& backend_of(Device device);
inline Stream stream_of(Device device) { return {.device = device.index}; }
inline Mem mem(const Tensor& t) { return {t.base(), t.offset()}; }

// One tensor of a kernel's arguments: which tensor, and where its place stands in the arguments.
template <class Args>
struct Operand {
  Mem Args::*slot;
  const Tensor* tensor;  // may be empty: the slot stays null
  bool written = false;
};

// Says once per entry and process that a device leaves an op to the CPU.
void note_fallback(const Backend& backend, std::string_view entry);

// Runs `entry` of the device's table with the operands' places filled in, or the CPU's on copies.
template <class Args>
void dispatch(Device device, std::string_view name, void (*DeviceOps::*entry)(Stream, const Args&),
              Args args, std::initializer_list<Operand<Args>> operands) {
  const Backend& backend = backend_of(device);
  if (const auto run = backend.ops(device.index).*entry) {
    for (const Operand<Args>& o : operands)
      if (*o.tensor) args.*o.slot = mem(*o.tensor);
    run(stream_of(device), args);
    return;
  }
  note_fallback(backend, name);
  std::vector<Tensor> copies;
  copies.reserve(operands.size());
  for (const Operand<Args>& o : operands) {
    copies.push_back(on_host(*o.tensor));
    if (copies.back()) args.*o.slot = mem(copies.back());
  }
  (cpu_backend.ops(0).*entry)(Stream{}, args);
  std::size_t i = 0;
  for (const Operand<Args>& o : operands) {
    const Tensor& copy = copies[i++];
    if (o.written && copy.bytes() > 0)
      backend.to_device(stream_of(device), mem(*o.tensor), copy.host(), copy.bytes());
  }
}

}  // namespace quaver
