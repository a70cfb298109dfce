// Products with packed weights: straight from the codes for few rows of x, else through panels of
// dequantized weights, so that the whole weight never exists in f32. Codes in planes are sums of
// those of the planes: each is a weight of its own, with the same scales.
#include <algorithm>
#include <array>

#include "core/error.h"
#include "kernels/cpu/drivers.h"

namespace quaver::cpu {
namespace {

constexpr std::int64_t decode_cols = 256;       // outputs of a task of these
constexpr std::int64_t panel_floats = 2 << 20;  // of dequantized panels at a time
constexpr std::int64_t table_width = 64;        // of GptqDotArgs

const Tensor* part(const Packed& p, const char* name) {
  const auto found = p.parts.find(name);
  return found == p.parts.end() ? nullptr : &found->second;
}

std::int64_t group_size(const Packed& p) {
  return p.scheme.group_size > 0 ? std::min(p.scheme.group_size, p.cols) : p.cols;
}

bool consecutive_groups(const Packed& p) {
  const Tensor* index = part(p, "g_idx");
  if (!index) return true;
  const auto groups = index->data<std::int32_t>();
  const std::int64_t size = group_size(p);
  for (std::int64_t k = 0, g = 0; k < p.cols; k += size, ++g)
    for (std::int64_t i = k; i < std::min(k + size, p.cols); ++i)
      if (groups[static_cast<std::size_t>(i)] != g) return false;
  return true;
}

// Whether the parts are what the kernels below read: else the weight is decoded tile by tile.
bool fits_panels(const Packed& p, std::int64_t) {
  const Tensor* scales = part(p, "scales");
  return !scales || scales->dtype() == DType::f16;
}

// The parts of the fields of a packed weight, lowest bits first: one, or three at most in gptq_p.
struct Planes {
  std::array<int, 3> widths{};
  int count = 0;
};
Planes planes_of(const Packed& p) {
  if (p.format->name == "gptq_p") {
    if (p.scheme.bits == 3) return {{2, 1}, 2};
    if (p.scheme.bits == 5) return {{4, 1}, 2};
    if (p.scheme.bits == 6) return {{4, 2}, 2};
    if (p.scheme.bits == 7) return {{4, 2, 1}, 3};
  }
  return {{p.scheme.bits}, 1};
}

// The smallest count of fields that fill whole words.
std::int64_t whole_fields(const Packed& p) {
  const bool by_32 = p.scheme.bits == 3 || planes_of(p).count > 1;
  return by_32 ? 32 : 32 / p.scheme.bits;
}

bool fits_decode(const Packed& p, std::int64_t m) {
  const std::int64_t size = group_size(p);
  return m <= few_rows_most && size > 0 && fits_panels(p, m) &&
         (size % whole_fields(p) == 0 || size == p.cols) && consecutive_groups(p);
}

template <class T>
const T* checked(const Packed& p, const char* name, DType type, std::int64_t size) {
  const Tensor* t = part(p, name);
  if (!t) fail(Fault::bad_file, "[gptq] the weight has no ", name);
  ensure_file(t->dtype() == type && t->size() == size, "[gptq] ", name, " is ", t->dtype(), " ",
              t->shape(), ", expected ", size, " elements of ", type);
  return reinterpret_cast<const T*>(t->host());
}

// The parts as pointers, each checked, so that no kernel reads beyond them.
GptqWeight weight_of(const Packed& p) {
  const int bits = p.scheme.bits;
  const bool known = bits == 2 || bits == 3 || bits == 4 || bits == 8 || planes_of(p).count > 1;
  ensure_file(known, "[", p.format->name, "] ", bits, " bits, expected 2, 3, 4 or 8",
              p.format->name == "gptq_p" ? ", or 5, 6, 7" : "");
  const std::int64_t unit = whole_fields(p);
  ensure_file(p.cols > 0 && p.rows > 0 && p.cols % unit == 0 && p.rows % unit == 0,
              "[gptq] a weight of ", p.rows, " x ", p.cols, " does not fill words of ", bits,
              " bit codes");
  GptqWeight w;
  w.bits = w.block = bits;
  w.rows = p.rows;
  w.cols = p.cols;
  w.group_size = group_size(p);
  w.groups = (p.cols + w.group_size - 1) / w.group_size;
  w.zero_shift = p.format->name == "gptq" ? 1 : 0;
  w.codes = checked<std::uint32_t>(p, "qweight", DType::i32, p.cols * bits / 32 * p.rows);
  w.zeros = checked<std::uint32_t>(p, "qzeros", DType::i32, w.groups * (p.rows * bits / 32));
  w.scales = checked<std::uint16_t>(p, "scales", DType::f16, w.groups * p.rows);
  return w;
}

// One plane of `whole`: `width` bits of its fields, from bit `lowest` on.
GptqWeight plane_of(const GptqWeight& whole, int width, int lowest) {
  GptqWeight plane = whole;
  plane.bits = width;
  plane.plane = lowest;  // planes lie in the order of their bits
  return plane;
}

// y = factor * x * w^T + bias for one plane, rows of x being few.
void decode_plane(const GptqWeight& w, const PackedArgs& a, float factor, const float* bias,
                  float* y) {
  const auto* x = host<const float>(a.x);
  const std::int64_t size = a.m * w.cols;
  const Workspace scaled_room(size + a.m * w.groups);
  float* scaled = scaled_room.floats();
  float* sums = scaled + size;
  std::array<float, 32> factors;
  for (std::int64_t i = 0; i < 32; ++i)
    factors[static_cast<std::size_t>(i)] = factor / static_cast<float>(1u << gptq_shift(w.bits, i));
  for (std::int64_t r = 0; r < a.m; ++r)
    for (std::int64_t g = 0; g < w.groups; ++g) {
      double sum = 0;
      const std::int64_t end = std::min(w.cols, (g + 1) * w.group_size);
      for (std::int64_t k = g * w.group_size; k < end; ++k) {
        sum += x[r * w.cols + k];
        scaled[r * w.cols + k] = x[r * w.cols + k] * factors[static_cast<std::size_t>(k % 32)];
      }
      sums[r * w.groups + g] = static_cast<float>(sum) * factor;
    }
  parallel(w.rows, decode_cols, [&](std::int64_t begin, std::int64_t end) {
    const Workspace tables_room(2 * w.groups * table_width);
    float* tables = tables_room.floats();
    kernels().gptq_dot(w, {.x = scaled,
                           .sums = sums,
                           .bias = bias,
                           .y = y,
                           .m = a.m,
                           .begin = begin,
                           .end = end,
                           .scales = tables,
                           .zeros = tables + w.groups * table_width});
  });
}

void run_decode(Stream, const PackedArgs& a) {
  const GptqWeight w = weight_of(*a.w);
  const Planes planes = planes_of(*a.w);
  const std::int64_t size = a.m * w.rows;
  auto* y = host<float>(a.y);
  decode_plane(plane_of(w, planes.widths[0], 0), a, 1, host<const float>(a.bias), y);
  if (planes.count == 1) return;
  const Workspace more_room(size);
  for (int i = 1, lowest = planes.widths[0]; i < planes.count; ++i) {
    const GptqWeight plane = plane_of(w, planes.widths[static_cast<std::size_t>(i)], lowest);
    decode_plane(plane, a, static_cast<float>(1 << lowest), nullptr, more_room.floats());
    kernels().add(y, more_room.floats(), y, size);
    lowest += plane.bits;
  }
}

// The dequantized outputs first .. first + count for all inputs, as gptq_panel makes them. Codes
// and zero points of planes are whole numbers: their sums are exact.
void panel_of(const GptqWeight& w, const Planes& planes, std::int64_t first, std::int64_t count,
              float* panel) {
  const std::int64_t width = kernels().tile_cols, tables = w.groups * width;
  const GptqWeight lowest_plane = plane_of(w, planes.widths[0], 0);
  const Workspace tables_room(2 * tables);
  float *scales = tables_room.floats(), *zeros = scales + tables;
  kernels().gptq_tables(lowest_plane, first, count, width, scales, zeros);
  if (planes.count == 1)
    return kernels().gptq_panel(lowest_plane, first, count, scales, zeros, panel);
  const std::int64_t size = w.cols * width;
  const Workspace part_room(size + 3 * tables);
  float *part = part_room.floats(), *part_zeros = part + size;
  float *ones = part_zeros + tables, *none = ones + tables;
  std::fill(ones, none, 1.0f);
  std::fill(none, none + tables, 0.0f);
  kernels().gptq_panel(lowest_plane, first, count, ones, none, panel);
  for (int i = 1, lowest = planes.widths[0]; i < planes.count; ++i) {
    const GptqWeight plane = plane_of(w, planes.widths[static_cast<std::size_t>(i)], lowest);
    const auto factor = static_cast<float>(1 << lowest);
    kernels().gptq_tables(plane, first, count, width, scales, part_zeros);
    kernels().gptq_panel(plane, first, count, ones, none, part);
    for (std::int64_t t = 0; t < tables; ++t) zeros[t] += factor * part_zeros[t];
    for (std::int64_t t = 0; t < size; ++t) panel[t] += factor * part[t];
    lowest += plane.bits;
  }
  for (std::int64_t k = 0; k < w.cols; ++k) {
    const float* scale = scales + w.group_of[k] * width;
    const float* zero = zeros + w.group_of[k] * width;
    for (std::int64_t j = 0; j < width; ++j)
      panel[k * width + j] = j < count ? (panel[k * width + j] - zero[j]) * scale[j] : 0.0f;
  }
}

void run_panels(Stream, const PackedArgs& a) {
  GptqWeight w = weight_of(*a.w);
  std::vector<std::int32_t> groups;
  if (part(*a.w, "g_idx")) {
    w.group_of = checked<std::int32_t>(*a.w, "g_idx", DType::i32, w.cols);
    for (std::int64_t k = 0; k < w.cols; ++k)
      ensure_file(w.group_of[k] >= 0 && w.group_of[k] < w.groups, "[gptq] g_idx[", k, "] is ",
                  w.group_of[k], " of ", w.groups, " groups");
  } else {
    for (std::int64_t k = 0; k < w.cols; ++k)
      groups.push_back(static_cast<std::int32_t>(k / w.group_size));
    w.group_of = groups.data();
  }
  const Planes planes = planes_of(*a.w);
  multiply({.x = {.data = host<const void>(a.x), .row = w.cols, .col = 1},
            .pack = [&](std::int64_t first, std::int64_t count,
                        float* panel) { panel_of(w, planes, first, count, panel); },
            .y = host<float>(a.y),
            .bias = host<const float>(a.bias),
            .m = a.m,
            .n = w.rows,
            .k = w.cols,
            .ldy = w.rows,
            .most_w_floats = panel_floats});
}

constexpr PackedGemm kernels_by_format[] = {
    {"lines int8", "lines", fits_lines, run_lines, run_all_lines},
    {"gptq codes", "gptq", fits_decode, run_decode},
    {"gptq codes", "gptq_v2", fits_decode, run_decode},
    {"gptq codes", "gptq_p", fits_decode, run_decode},
    {"gptq panels", "gptq", fits_panels, run_panels},
    {"gptq panels", "gptq_v2", fits_panels, run_panels},
    {"gptq panels", "gptq_p", fits_panels, run_panels},
};

}  // namespace

std::span<const PackedGemm> packed_kernels() { return kernels_by_format; }

}  // namespace quaver::cpu
