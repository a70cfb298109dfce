// Products with a weight in lines: activations become whole numbers of 8 or 15 bits, group by
// group, each group with a scale of its own.
#include "formats/lines.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/cpu/drivers.h"

namespace quaver::cpu {
namespace {

constexpr std::int64_t direct_rows = 8;   // up to so many rows of x: straight from the planes
constexpr std::int64_t most_rows = 2048;  // of x at a time
constexpr std::int64_t most_blocks = 16;  // of 16 outputs, of a task
constexpr std::int64_t wished_tasks = 32;

template <class T>
const T* checked_part(const Packed& p, const char* name, DType type, std::int64_t size) {
  const auto found = p.parts.find(name);
  if (found == p.parts.end()) return nullptr;
  const Tensor& t = found->second;
  ensure(t.dtype() == type && t.size() == size, "[lines] ", name, " is ", t.dtype(), " ", t.shape(),
         ", expected ", size, " elements of ", type);
  return reinterpret_cast<const T*>(t.host());
}

LinesWeight lines_of(const Packed& p) {
  const LinesShape s = lines_shape(p.scheme, p.rows, p.cols);
  LinesWeight w;
  w.bits = p.scheme.bits;
  w.rows = p.rows;
  w.chunks = s.chunks;
  w.groups = s.groups;
  w.group_chunks = s.group_chunks;
  w.last_chunks = s.last_chunks;
  const std::int64_t tables = s.blocks * s.groups * lines_rows;
  w.lines = checked_part<std::uint8_t>(p, "lines", DType::u8, s.blocks * s.chunks * 64 * w.bits);
  w.scales = checked_part<std::uint16_t>(p, "scales", DType::f16, tables);
  w.zeros = checked_part<std::uint16_t>(p, "zeros", DType::f16, tables);
  ensure(w.bits >= 2 && w.bits <= 8 && w.lines && w.scales, "[lines] the weight lacks a part");
  return w;
}

// Rows of x as whole numbers, in the order of the weight's places.
class Input {
 public:
  Input(const LinesWeight& w, const Packed& p, const float* x, std::int64_t m)
      : width_(w.chunks * lines_chunk),
        row_bytes_(width_ * lines_input_planes(w.bits)),
        room_((m * row_bytes_ + 3) / 4),
        tables_(2 * m * w.groups),
        input_{.x = reinterpret_cast<const std::int8_t*>(room_.floats()),
               .scales = tables_.floats(),
               .sums = reinterpret_cast<const std::int32_t*>(tables_.floats() + m * w.groups),
               .m = m} {
    const auto* order = checked_part<std::int32_t>(p, "order", DType::i32, width_);
    auto* bytes = reinterpret_cast<std::int8_t*>(room_.floats());
    auto* sums = reinterpret_cast<std::int32_t*>(tables_.floats() + m * w.groups);
    parallel(m, 8, [&](std::int64_t begin, std::int64_t end) {
      const Workspace placed(order ? width_ : 0);
      for (std::int64_t r = begin; r < end; ++r) {
        const float* row = x + r * p.cols;
        if (order) {
          for (std::int64_t k = 0; k < width_; ++k)
            placed.floats()[k] = order[k] >= 0 ? row[order[k]] : 0.0f;
          row = placed.floats();
        }
        kernels().lines_input(w, row, bytes + r * row_bytes_, tables_.floats() + r * w.groups,
                              sums + r * w.groups);
      }
    });
  }
  const LinesInput& get() const { return input_; }

 private:
  std::int64_t width_, row_bytes_;
  Workspace room_, tables_;
  LinesInput input_;
};

void multiply_rows(const LinesWeight& w, const Packed& p, const float* x, const float* bias,
                   float* y, std::int64_t m) {
  const Input input(w, p, x, m);
  const std::int64_t blocks = (w.rows + lines_rows - 1) / lines_rows;
  const std::int64_t unit = m == 1 ? lines_streams : 1;
  const std::int64_t grain =  // by sizes alone
      std::clamp<std::int64_t>(blocks / wished_tasks / unit * unit, unit, most_blocks);
  parallel(blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    const LinesArgs args{.in = input.get(), .bias = bias, .y = y, .begin = begin, .end = end};
    if (m <= direct_rows) {
      kernels().lines_dot(w, args);
    } else {
      const Workspace room(lines_room / 4);
      kernels().lines_multiply(w, args, reinterpret_cast<std::uint8_t*>(room.floats()));
    }
  });
}

}  // namespace

bool fits_lines(const Packed&, std::int64_t) { return true; }

void run_lines(Stream, const PackedArgs& a) {
  const LinesWeight w = lines_of(*a.w);
  for (std::int64_t row = 0; row < a.m; row += most_rows)
    multiply_rows(w, *a.w, host<const float>(a.x) + row * a.w->cols, host<const float>(a.bias),
                  host<float>(a.y) + row * w.rows, std::min(most_rows, a.m - row));
}

}  // namespace quaver::cpu
