// Products with packed weights: straight from the codes for few rows of x, else through panels of
// dequantized weights, so that the whole weight never exists in f32.
#include <algorithm>
#include <array>

#include "core/error.h"
#include "kernels/cpu/drivers.h"

namespace quaver::cpu {
namespace {

constexpr std::int64_t decode_rows = 8;         // up to so many rows of x: straight from the codes
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

bool fits_decode(const Packed& p, std::int64_t m) {
  const std::int64_t cycle = p.scheme.bits == 3 ? 32 : 32 / p.scheme.bits;
  const std::int64_t size = group_size(p);
  return m <= decode_rows && size > 0 && fits_panels(p, m) &&
         (size % cycle == 0 || size == p.cols) && consecutive_groups(p);
}

// In the planar layout the words of one plane are those of gptq_v2.
bool one_plane(const Packed& p) {
  return p.scheme.bits == 2 || p.scheme.bits == 4 || p.scheme.bits == 8;
}
bool fits_planar_decode(const Packed& p, std::int64_t m) {
  return one_plane(p) && fits_decode(p, m);
}
bool fits_planar_panels(const Packed& p, std::int64_t m) {
  return one_plane(p) && fits_panels(p, m);
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
  ensure_file(bits == 2 || bits == 3 || bits == 4 || bits == 8, "[gptq] ", bits,
              " bits, expected 2, 3, 4 or 8");
  ensure_file(p.cols > 0 && p.rows > 0 && p.cols * bits % 32 == 0 && p.rows * bits % 32 == 0,
              "[gptq] a weight of ", p.rows, " x ", p.cols, " does not fill words of ", bits,
              " bit codes");
  GptqWeight w;
  w.bits = bits;
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

// y = x * w^T, rows of x being few.
void run_decode(Stream, const PackedArgs& a) {
  const GptqWeight w = weight_of(*a.w);
  const auto* x = host<const float>(a.x);
  const std::int64_t size = a.m * w.cols;
  const Workspace scaled_room(size + a.m * w.groups);
  float* scaled = scaled_room.floats();
  float* sums = scaled + size;
  std::array<float, 32> factors;
  for (std::int64_t i = 0; i < 32; ++i)
    factors[static_cast<std::size_t>(i)] = 1.0f / static_cast<float>(1u << gptq_shift(w.bits, i));
  for (std::int64_t r = 0; r < a.m; ++r)
    for (std::int64_t g = 0; g < w.groups; ++g) {
      double sum = 0;
      const std::int64_t end = std::min(w.cols, (g + 1) * w.group_size);
      for (std::int64_t k = g * w.group_size; k < end; ++k) {
        sum += x[r * w.cols + k];
        scaled[r * w.cols + k] = x[r * w.cols + k] * factors[static_cast<std::size_t>(k % 32)];
      }
      sums[r * w.groups + g] = static_cast<float>(sum);
    }
  parallel(w.rows, decode_cols, [&](std::int64_t begin, std::int64_t end) {
    const Workspace tables_room(2 * w.groups * table_width);
    float* tables = tables_room.floats();
    kernels().gptq_dot(w, {.x = scaled,
                           .sums = sums,
                           .bias = host<const float>(a.bias),
                           .y = host<float>(a.y),
                           .m = a.m,
                           .begin = begin,
                           .end = end,
                           .scales = tables,
                           .zeros = tables + w.groups * table_width});
  });
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
  const std::int64_t width = kernels().tile_cols;
  multiply({.x = {.data = host<const void>(a.x), .row = w.cols, .col = 1},
            .pack =
                [&](std::int64_t first, std::int64_t count, float* panel) {
                  const Workspace scales_room(2 * w.groups * width);
                  float* scales = scales_room.floats();
                  float* zeros = scales + w.groups * width;
                  kernels().gptq_tables(w, first, count, width, scales, zeros);
                  kernels().gptq_panel(w, first, count, scales, zeros, panel);
                },
            .y = host<float>(a.y),
            .bias = host<const float>(a.bias),
            .m = a.m,
            .n = w.rows,
            .k = w.cols,
            .ldy = w.rows,
            .most_w_floats = panel_floats});
}

constexpr PackedGemm kernels_by_format[] = {
    {"gptq codes", "gptq", fits_decode, run_decode},
    {"gptq codes", "gptq_v2", fits_decode, run_decode},
    {"gptq codes", "gptq_p", fits_planar_decode, run_decode},
    {"gptq panels", "gptq", fits_panels, run_panels},
    {"gptq panels", "gptq_v2", fits_panels, run_panels},
    {"gptq panels", "gptq_p", fits_planar_panels, run_panels},
};

}  // namespace

std::span<const PackedGemm> packed_kernels() { return kernels_by_format; }

}  // namespace quaver::cpu
