// The CPU as a backend: row 0 of the table, and complete.
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/host_memory.h"
#include "kernels/cpu/drivers.h"

namespace quaver {
namespace cpu {
namespace {

constexpr std::int64_t task_floats = 16 << 10;  // of an element-wise task

std::int64_t rows_a_task(std::int64_t cols) {
  return std::max<std::int64_t>(1, task_floats / std::max<std::int64_t>(1, cols));
}

// The gains with the offset added, in `room` where there is one.
const float* shifted_gain(const NormArgs& a, Workspace& room) {
  const auto* gain = host<const float>(a.gain);
  if (!gain || a.gain_offset == 0) return gain;
  const std::int64_t size = a.cols * a.gain_rows;
  room = Workspace(size);
  for (std::int64_t i = 0; i < size; ++i) room.floats()[i] = gain[i] + a.gain_offset;
  return room.floats();
}

void layer_norm(Stream, const NormArgs& a) {
  const auto *x = host<const float>(a.x), *bias = host<const float>(a.bias);
  Workspace room;
  const float* gain = shifted_gain(a, room);
  auto* y = host<float>(a.y);
  parallel(a.rows, rows_a_task(a.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      kernels().layer_norm(x + r * a.cols, gain ? gain + r % a.gain_rows * a.cols : nullptr, bias,
                           y + r * a.cols, a.cols, a.eps);
  });
}

void rms_norm(Stream, const NormArgs& a) {
  const auto* x = host<const float>(a.x);
  Workspace room;
  const float* gain = shifted_gain(a, room);
  auto* y = host<float>(a.y);
  parallel(a.rows, rows_a_task(a.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      kernels().rms_norm(x + r * a.cols, gain ? gain + r % a.gain_rows * a.cols : nullptr,
                         y + r * a.cols, a.cols, a.eps);
  });
}

void gather(Stream, const GatherArgs& a) {
  const auto* table = host<const std::byte>(a.table);
  const auto* index = host<const std::int32_t>(a.index);
  auto* y = host<float>(a.y);
  const auto row_bytes = static_cast<std::int64_t>(size_of(a.type)) * a.cols;
  parallel(a.rows, rows_a_task(a.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      kernels().to_f32(table + index[r] * row_bytes, element_of(a.type), a.cols, y + r * a.cols);
  });
}

void rope(Stream, const RopeArgs& a) {
  const auto *x = host<const float>(a.x), *cos = host<const float>(a.cos),
             *sin = host<const float>(a.sin);
  auto* y = host<float>(a.y);
  const std::int64_t cols = a.heads * a.head_dim, rest = a.head_dim - 2 * a.half;
  parallel(a.rows, rows_a_task(cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t h = 0; h < a.heads; ++h) {
        const std::int64_t at = r * cols + h * a.head_dim;
        kernels().rope(x + at, cos + r * a.half, sin + r * a.half, y + at, a.half, a.interleaved);
        if (x != y) std::copy_n(x + at + 2 * a.half, rest, y + at + 2 * a.half);
      }
  });
}

Curve curve_of(Activation function) {
  switch (function) {
    case Activation::relu:
      return Curve::relu;
    case Activation::gelu:
      return Curve::gelu;
    case Activation::gelu_tanh:
      return Curve::gelu_tanh;
    case Activation::relu_squared:
      return Curve::relu_squared;
    case Activation::gelu_quick:
      return Curve::gelu_quick;
    case Activation::identity:
      return Curve::identity;
    default:
      return Curve::silu;
  }
}

void activation(Stream, const ActivationArgs& a) {
  const auto *x = host<const float>(a.x), *gate = host<const float>(a.gate);
  auto* y = host<float>(a.y);
  parallel(a.size, task_floats, [&](std::int64_t begin, std::int64_t end) {
    kernels().activation(curve_of(a.function), x + begin, gate ? gate + begin : nullptr, y + begin,
                         end - begin);
  });
}

void add(Stream, const AddArgs& args) {
  const auto *a = host<const float>(args.a), *b = host<const float>(args.b);
  auto* y = host<float>(args.y);
  parallel(args.size, task_floats, [&](std::int64_t begin, std::int64_t end) {
    kernels().add(a + begin, b + begin, y + begin, end - begin);
  });
}

void columns(Stream, const ColumnsArgs& a) {
  const auto* x = host<const float>(a.x);
  auto* y = host<float>(a.y);
  parallel(a.rows, rows_a_task(a.count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      std::copy_n(x + r / a.repeat * a.cols + a.begin, a.count, y + r * a.y_cols + a.y_begin);
  });
}

void map(Stream, const MapArgs& m) {
  const auto* x = host<const float>(m.x);
  auto* y = host<float>(m.y);
  parallel(m.size, task_floats, [&](std::int64_t begin, std::int64_t end) {
    switch (m.function) {
      case Map::scale:
        for (std::int64_t i = begin; i < end; ++i) y[i] = x[i] * m.a;
        break;
      case Map::soft_cap:
        for (std::int64_t i = begin; i < end; ++i) y[i] = m.a * std::tanh(x[i] / m.a);
        break;
      case Map::clip_above:
        for (std::int64_t i = begin; i < end; ++i) y[i] = std::min(x[i], m.a);
        break;
      case Map::clip:
        for (std::int64_t i = begin; i < end; ++i) y[i] = std::clamp(x[i], -m.a, m.a);
        break;
    }
  });
}

void scatter(Stream, const ScatterArgs& a) {
  const auto *x = host<const float>(a.x), *weight = host<const float>(a.weight);
  const auto* index = host<const std::int32_t>(a.index);
  auto* y = host<float>(a.y);
  parallel(a.rows, rows_a_task(a.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t c = 0; c < a.cols; ++c)
        y[index[r] * a.cols + c] += weight[r] * x[r * a.cols + c];
  });
}

}  // namespace
}  // namespace cpu

const Backend cpu_backend = {
    .name = "cpu",
    .device_count = [] { return 1; },
    .allocate = [](int, std::size_t bytes) { return host_buffer(bytes); },
    .to_device =
        [](Stream, Mem to, const void* from, std::size_t bytes) {
          if (bytes > 0) std::memcpy(cpu::host<void>(to), from, bytes);
        },
    .to_host =
        [](Stream, void* to, Mem from, std::size_t bytes) {
          if (bytes > 0) std::memcpy(to, cpu::host<void>(from), bytes);
        },
    .copy =
        [](Stream, Mem to, Mem from, std::size_t bytes) {
          if (bytes > 0) std::memmove(cpu::host<void>(to), cpu::host<void>(from), bytes);
        },
    .wait = [](Stream) {},
    .ops = [](int) -> const DeviceOps& {
      static const DeviceOps ops = {.gemm = cpu::gemm,
                                    .layer_norm = cpu::layer_norm,
                                    .rms_norm = cpu::rms_norm,
                                    .gather = cpu::gather,
                                    .rope = cpu::rope,
                                    .attention = cpu::attention,
                                    .activation = cpu::activation,
                                    .add = cpu::add,
                                    .columns = cpu::columns,
                                    .map = cpu::map,
                                    .scatter = cpu::scatter,
                                    .packed = cpu::packed_kernels()};
      return ops;
    },
};

}  // namespace quaver
