// Products with a weight in lines: activations become whole numbers of 8 or 15 bits, group by
// group, each group with a scale of its own.
#include "formats/lines.h"

#include <algorithm>
#include <span>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/drivers.h"

namespace quaver::cpu {
namespace {

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

struct Product {
  LinesWeight w;
  const float* bias = nullptr;
  float* y = nullptr;
};

// Products that take the same input, cut by sizes alone.
void multiply_rows(std::span<const Product> products, const Input& input, std::int64_t m) {
  struct Task {
    const Product* product;
    std::int64_t begin, end;
  };
  std::vector<Task> tasks;
  for (const Product& product : products) {
    const std::int64_t blocks = (product.w.rows + lines_rows - 1) / lines_rows;
    const std::int64_t unit = m == 1 ? lines_streams : 1;
    const std::int64_t grain =
        std::clamp<std::int64_t>(blocks / wished_tasks / unit * unit, unit, most_blocks);
    for (std::int64_t begin = 0; begin < blocks; begin += grain)
      tasks.push_back({&product, begin, std::min(begin + grain, blocks)});
  }
  parallel(static_cast<std::int64_t>(tasks.size()), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first; t < last; ++t) {
      const Task& task = tasks[static_cast<std::size_t>(t)];
      const LinesArgs args{.in = input.get(),
                           .bias = task.product->bias,
                           .y = task.product->y,
                           .begin = task.begin,
                           .end = task.end};
      if (m <= few_rows_most) {  // straight from the planes
        kernels().lines_dot(task.product->w, args);
      } else {
        const Workspace room(lines_room / 4);
        kernels().lines_multiply(task.product->w, args,
                                 reinterpret_cast<std::uint8_t*>(room.floats()));
      }
    }
  });
}

Product product_of(const PackedArgs& a) {
  return {.w = lines_of(*a.w), .bias = host<const float>(a.bias), .y = host<float>(a.y)};
}

// Whether an input for one weight is one for the other.
bool share_input(const PackedArgs& a, const LinesWeight& v, const PackedArgs& b,
                 const LinesWeight& w) {
  return a.w->cols == b.w->cols && v.chunks == w.chunks && v.groups == w.groups &&
         v.group_chunks == w.group_chunks && v.last_chunks == w.last_chunks &&
         lines_input_planes(v.bits) == lines_input_planes(w.bits) &&
         !a.w->parts.contains("order") && !b.w->parts.contains("order");
}

}  // namespace

bool fits_lines(const Packed&, std::int64_t) { return true; }

void run_lines(Stream, const PackedArgs& a) {
  Product product = product_of(a);
  for (std::int64_t row = 0; row < a.m; row += most_rows) {
    const std::int64_t m = std::min(most_rows, a.m - row);
    const Input input(product.w, *a.w, host<const float>(a.x) + row * a.w->cols, m);
    multiply_rows({&product, 1}, input, m);
    product.y += m * product.w.rows;
  }
}

void run_all_lines(Stream stream, std::span<const PackedArgs> all) {
  std::vector<Product> products;
  for (const PackedArgs& a : all) products.push_back(product_of(a));
  bool alike = all.front().m <= most_rows;
  for (std::size_t i = 1; i < all.size(); ++i)
    alike = alike && share_input(all[0], products[0].w, all[i], products[i].w);
  if (!alike) {
    for (const PackedArgs& a : all) run_lines(stream, a);
    return;
  }
  const PackedArgs& first = all.front();
  const Input input(products[0].w, *first.w, host<const float>(first.x), first.m);
  multiply_rows(products, input, first.m);
}

}  // namespace quaver::cpu
