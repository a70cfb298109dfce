#include "formats/lines.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>

#include "core/threads.h"

namespace quaver {
namespace {

constexpr std::int64_t most_group_chunks = 4;  // that share an activation scale
constexpr std::int64_t line_bytes = 64;
constexpr std::int64_t quads = 8;  // of a chunk

std::int64_t up(std::int64_t size, std::int64_t unit) { return (size + unit - 1) / unit; }

std::int64_t group_width(const Scheme& s, std::int64_t cols) {
  return s.group_size == -1 ? cols : std::min(s.group_size, cols);
}

// The group of each place, -1 for places that are filled up, and the input there.
struct Places {
  std::vector<std::int32_t> group, input;
  bool in_order = true;  // inputs of consecutive places follow one another
};

Places places_of(const Scheme& scheme, std::int64_t cols, const Tensor& group_index) {
  const std::int64_t width = group_width(scheme, cols), groups = group_count(scheme, cols);
  std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(groups));
  for (std::int64_t c = 0; c < cols; ++c) {
    const std::int64_t g =
        group_index ? group_index.data<std::int32_t>()[static_cast<std::size_t>(c)] : c / width;
    members[static_cast<std::size_t>(g)].push_back(static_cast<std::int32_t>(c));
  }
  Places places{.group = {}, .input = {}, .in_order = !group_index};
  for (std::size_t g = 0; g < members.size(); ++g) {
    for (const std::int32_t input : members[g]) {
      places.input.push_back(input);
      places.group.push_back(static_cast<std::int32_t>(g));
    }
    while (places.input.size() % lines_chunk != 0) {
      places.input.push_back(-1);
      places.group.push_back(static_cast<std::int32_t>(g));
    }
  }
  return places;
}

// Whether each group has the inputs that its scheme says, wherever they stand.
bool is_even(const Quantized& q) {
  if (!q.group_index) return true;
  const std::int64_t width = group_width(q.scheme, q.cols);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(q.scales.dim(1)));
  for (const std::int32_t g : q.group_index.data<std::int32_t>())
    ++counts[static_cast<std::size_t>(g)];
  for (std::size_t g = 0; g < counts.size(); ++g)
    if (counts[g] != std::min(width, q.cols - static_cast<std::int64_t>(g) * width)) return false;
  return true;
}

bool holds_as_half(float v) {
  constexpr float all_whole = 2048;  // numbers up to it
  return (std::abs(v) <= all_whole && std::trunc(v) == v) || to_float(to_half(v)) == v;
}
bool holds_as_halves(const Tensor& t) {
  return std::ranges::all_of(t.data<float>(), holds_as_half);
}

std::string lines_misfit(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  if (s.bits < 2 || s.bits > 8) return text(s.bits, " bits; lines hold 2 to 8");
  if (rows <= 0 || cols <= 0) return text("an empty weight of ", rows, " x ", cols);
  return {};
}

std::string refuses_lines(const Scheme&, std::int64_t, std::int64_t) {
  return "lines are a layout in memory; no file has it";
}

// First byte of a plane within a chunk, and where a quad's codes stand in it.
struct QuadPlace {
  std::int64_t line;
  int shift;
};
QuadPlace place_of(int width, std::int64_t quad) {
  const std::int64_t in_a_line = 8 / width;
  return {quad / in_a_line, static_cast<int>(quad % in_a_line) * width};
}

void pack_chunk(const std::uint8_t (*codes)[lines_chunk], int bits, std::uint8_t* out) {
  std::memset(out, 0, static_cast<std::size_t>(line_bytes * bits));
  std::uint8_t by_quads[quads][line_bytes];
  for (std::int64_t r = 0; r < lines_rows; ++r)
    for (std::int64_t quad = 0; quad < quads; ++quad)
      std::memcpy(&by_quads[quad][4 * r], &codes[r][4 * quad], 4);
  int lowest = 0;
  for (int width = 8; width > 0; width /= 2) {
    if (!(bits & width)) continue;
    const unsigned mask = (1u << width) - 1;
    for (std::int64_t quad = 0; quad < quads; ++quad) {
      const QuadPlace place = place_of(width, quad);
      std::uint8_t* line = out + place.line * line_bytes;
      for (std::int64_t i = 0; i < line_bytes; ++i)
        line[i] = static_cast<std::uint8_t>(line[i] | (by_quads[quad][i] >> lowest & mask)
                                                          << place.shift);
    }
    out += width * line_bytes;
    lowest += width;
  }
}

void unpack_chunk(const std::uint8_t* in, int bits, std::uint8_t (*codes)[lines_chunk]) {
  int lowest = 0;
  for (int width = 8; width > 0; width /= 2) {
    if (!(bits & width)) continue;
    const unsigned mask = (1u << width) - 1;
    for (std::int64_t quad = 0; quad < quads; ++quad) {
      const QuadPlace place = place_of(width, quad);
      const std::uint8_t* line = in + place.line * line_bytes;
      for (std::int64_t r = 0; r < lines_rows; ++r)
        for (std::int64_t i = 0; i < 4; ++i)
          codes[r][4 * quad + i] = static_cast<std::uint8_t>(
              codes[r][4 * quad + i] | (line[4 * r + i] >> place.shift & mask) << lowest);
    }
    in += width * line_bytes;
    lowest += width;
  }
}

std::vector<PartInfo> lines_parts(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  const LinesShape shape = lines_shape(s, rows, cols);
  return {{"lines", DType::u8, {shape.blocks, shape.chunks * line_bytes * s.bits}},
          {"scales", DType::f16, {shape.blocks, shape.groups * lines_rows}},
          {"zeros", DType::f16, {shape.blocks, shape.groups * lines_rows}, PartInfo::optional},
          {"order", DType::i32, {shape.chunks * lines_chunk}, PartInfo::optional}};
}

// The 16 rows of q from row `first`, fewer at its end.
void pack_block(const Quantized& q, const Places& places, const LinesShape& shape,
                std::int64_t first, std::uint8_t* out) {
  const std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  const std::int64_t rows = std::min(lines_rows, q.rows - first);
  for (std::int64_t c = 0; c < shape.chunks; ++c, out += line_bytes * q.scheme.bits) {
    std::uint8_t chunk[lines_rows][lines_chunk] = {};
    const std::int32_t* input = places.input.data() + c * lines_chunk;
    const bool straight = input[lines_chunk - 1] - input[0] == lines_chunk - 1 && places.in_order;
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::uint8_t* row = codes + (first + r) * q.cols;
      if (straight) {
        std::memcpy(chunk[r], row + input[0], lines_chunk);
        continue;
      }
      for (std::int64_t k = 0; k < lines_chunk; ++k)
        if (input[k] >= 0) chunk[r][k] = row[input[k]];
    }
    pack_chunk(chunk, q.scheme.bits, out);
  }
}

// values [rows, groups of the scheme] as [blocks, groups of the lines, 16], from block `block` on.
void spread_groups(const Tensor& values, const Places& places, const LinesShape& shape,
                   std::int64_t block, Tensor& out) {
  const float* from = values.data<float>().data();
  const std::int64_t rows = values.dim(0), groups = values.dim(1);
  Half* to = out.data<Half>().data() + block * shape.groups * lines_rows;
  for (std::int64_t r = 0; r < (rows + lines_rows - 1) / lines_rows * lines_rows; ++r)
    for (std::int64_t g = 0; g < shape.groups; ++g) {
      const std::int64_t source =
          places.group[static_cast<std::size_t>(g * shape.group_chunks * lines_chunk)];
      to[(r / lines_rows * shape.groups + g) * lines_rows + r % lines_rows] =
          r < rows ? to_half(from[r * groups + source]) : Half{};
    }
}

// Makes a weight in lines of some rows at a time, so that its codes never stand as bytes as a
// whole.
class LinesPacker {
 public:
  LinesPacker(const Scheme& scheme, std::int64_t rows, std::int64_t cols, const Tensor& group_index)
      : scheme_(scheme),
        rows_(rows),
        cols_(cols),
        shape_(lines_shape(scheme, rows, cols)),
        places_(places_of(scheme, cols, group_index)),
        codes_(Tensor::raw({shape_.blocks, shape_.chunks * line_bytes * scheme.bits}, DType::u8)),
        scales_(Tensor::raw({shape_.blocks, shape_.groups * lines_rows}, DType::f16)),
        zeros_(Tensor::raw({shape_.blocks, shape_.groups * lines_rows}, DType::f16)) {}

  // Rows from `row`, a multiple of 16, on. Threads may add different rows at a time.
  void add(const Quantized& q, std::int64_t row) {
    const std::int64_t bytes = codes_.dim(1);
    std::uint8_t* out = codes_.data<std::uint8_t>().data() + row / lines_rows * bytes;
    for (std::int64_t first = 0; first < q.rows; first += lines_rows, out += bytes)
      pack_block(q, places_, shape_, first, out);
    spread_groups(q.scales, places_, shape_, row / lines_rows, scales_);
    const auto middle = static_cast<float>(1 << (scheme_.bits - 1));
    if (std::ranges::any_of(q.zeros.data<float>(), [&](float z) { return z != middle; })) {
      has_zeros_ = true;
      spread_groups(q.zeros, places_, shape_, row / lines_rows, zeros_);
    } else {  // in case that other rows have others
      const std::int64_t size = zeros_.dim(1), blocks = (q.rows + lines_rows - 1) / lines_rows;
      std::fill_n(zeros_.data<Half>().data() + row / lines_rows * size, blocks * size,
                  to_half(middle));
    }
  }

  Packed finish() {
    Packed p{.format = &lines, .scheme = scheme_, .rows = rows_, .cols = cols_};
    p.parts.emplace("lines", codes_);
    p.parts.emplace("scales", scales_);
    if (has_zeros_) p.parts.emplace("zeros", zeros_);
    bool in_order = true;
    for (std::size_t k = 0; k < places_.input.size(); ++k)
      in_order = in_order && places_.input[k] == static_cast<std::int32_t>(k);
    if (!in_order)
      p.parts.emplace("order", Tensor::of(std::span<const std::int32_t>(places_.input),
                                          {shape_.chunks * lines_chunk}));
    return p;
  }

 private:
  Scheme scheme_;
  std::int64_t rows_, cols_;
  LinesShape shape_;
  Places places_;
  Tensor codes_, scales_, zeros_;
  std::atomic<bool> has_zeros_ = false;
};

Packed pack_lines(const Quantized& q) {
  const std::string why = lines_misfit(q.scheme, q.rows, q.cols);
  ensure(why.empty(), "[lines] ", why);
  ensure(is_even(q), "[lines] the groups have unlike sizes");
  LinesPacker packer(q.scheme, q.rows, q.cols, q.group_index);
  parallel_for(q.rows, lines_rows, [&](std::int64_t begin, std::int64_t end) {
    packer.add(rows_of(q, begin, end), begin);
  });
  return packer.finish();
}

Places places_of(const Packed& p, const LinesShape& shape) {
  const auto found = p.parts.find("order");
  if (found == p.parts.end()) return places_of(p.scheme, p.cols, Tensor());
  // Which group a place belongs to does not depend on the order.
  Places places = places_of(p.scheme, p.cols, Tensor());
  const auto order = found->second.data<std::int32_t>();
  ensure_file(static_cast<std::int64_t>(order.size()) == shape.chunks * lines_chunk,
              "[lines] an order of ", order.size(), " places");
  places.input.assign(order.begin(), order.end());
  return places;
}

void unpack_groups(const Packed& p, const Places& places, const LinesShape& shape, std::int64_t row,
                   Quantized& q) {
  const std::int64_t groups = q.scales.dim(1);
  const Half* scales = p.parts.at("scales").data<Half>().data();
  const auto zeros = p.parts.find("zeros");
  const auto middle = static_cast<float>(1 << (p.scheme.bits - 1));
  float *to_scales = q.scales.data<float>().data(), *to_zeros = q.zeros.data<float>().data();
  for (std::int64_t r = 0; r < q.rows; ++r)
    for (std::int64_t g = 0; g < shape.groups; ++g) {
      const std::int64_t from =
          ((row + r) / lines_rows * shape.groups + g) * lines_rows + (row + r) % lines_rows;
      const std::int64_t to =
          r * groups + places.group[static_cast<std::size_t>(g * shape.group_chunks * lines_chunk)];
      to_scales[to] = to_float(scales[from]);
      to_zeros[to] =
          zeros == p.parts.end() ? middle : to_float(zeros->second.data<Half>().data()[from]);
    }
}

Quantized unpack_lines(const Packed& p, std::int64_t row, std::int64_t rows) {
  ensure(row >= 0 && rows >= 0 && row <= p.rows && rows <= p.rows - row, "[lines] rows ", row,
         " to ", row + rows, " of ", p.rows);
  const LinesShape shape = lines_shape(p.scheme, p.rows, p.cols);
  const Places places = places_of(p, shape);
  const std::int64_t groups = group_count(p.scheme, p.cols);
  Quantized q{.scheme = p.scheme,
              .rows = rows,
              .cols = p.cols,
              .codes = Tensor::raw({rows, p.cols}, DType::u8),
              .scales = Tensor::raw({rows, groups}),
              .zeros = Tensor::raw({rows, groups}),
              .group_index = {}};
  unpack_groups(p, places, shape, row, q);
  const std::uint8_t* in = p.parts.at("lines").data<std::uint8_t>().data();
  std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  const std::int64_t bytes = line_bytes * p.scheme.bits;
  for (std::int64_t block = row / lines_rows; block * lines_rows < row + rows; ++block)
    for (std::int64_t c = 0; c < shape.chunks; ++c) {
      std::uint8_t chunk[lines_rows][lines_chunk] = {};
      unpack_chunk(in + (block * shape.chunks + c) * bytes, p.scheme.bits, chunk);
      for (std::int64_t r = 0; r < lines_rows; ++r) {
        const std::int64_t to = block * lines_rows + r - row;
        if (to < 0 || to >= rows) continue;
        for (std::int64_t k = 0; k < lines_chunk; ++k)
          if (const std::int32_t input =
                  places.input[static_cast<std::size_t>(c * lines_chunk + k)];
              input >= 0)
            codes[to * p.cols + input] = chunk[r][k];
      }
    }
  if (!p.parts.contains("order")) return q;
  Tensor index({p.cols}, DType::i32);
  bool consecutive = true;
  const std::int64_t width = group_width(p.scheme, p.cols);
  for (std::size_t k = 0; k < places.input.size(); ++k)
    if (const std::int32_t input = places.input[k]; input >= 0) {
      index.data<std::int32_t>()[static_cast<std::size_t>(input)] = places.group[k];
      consecutive = consecutive && places.group[k] == input / width;
    }
  if (!consecutive) q.group_index = index;
  return q;
}

}  // namespace

LinesShape lines_shape(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const std::int64_t width = group_width(scheme, cols), groups = group_count(scheme, cols);
  const std::int64_t whole = up(width, lines_chunk);  // chunks of a group of the scheme
  const std::int64_t last = up(cols - (groups - 1) * width, lines_chunk);
  LinesShape s{.blocks = up(rows, lines_rows), .chunks = (groups - 1) * whole + last};
  s.group_chunks = std::min(whole, most_group_chunks);
  while (groups > 1 && whole % s.group_chunks != 0) --s.group_chunks;
  const std::int64_t last_groups = up(last, s.group_chunks);
  s.groups = (groups - 1) * (whole / s.group_chunks) + last_groups;
  s.last_chunks = last - (last_groups - 1) * s.group_chunks;
  return s;
}

std::optional<Packed> in_lines(const Packed& p) {
  constexpr std::int64_t rows_at_once = 64;
  if (p.format == &lines) return p;
  if (!lines_misfit(p.scheme, p.rows, p.cols).empty()) return std::nullopt;
  const Quantized first = p.format->unpack(p, 0, std::min(lines_rows, p.rows));
  if (!is_even(first)) return std::nullopt;
  LinesPacker packer(p.scheme, p.rows, p.cols, first.group_index);
  const auto scales = p.parts.find("scales");
  const bool are_halves = scales != p.parts.end() && scales->second.dtype() == DType::f16;
  std::atomic<bool> holds = true;
  parallel_for(p.rows, rows_at_once, [&](std::int64_t begin, std::int64_t end) {
    if (!holds) return;
    const Quantized q = p.format->unpack(p, begin, end - begin);
    if ((are_halves || holds_as_halves(q.scales)) && holds_as_halves(q.zeros))
      packer.add(q, begin);
    else
      holds = false;
  });
  return holds ? std::optional(packer.finish()) : std::nullopt;
}

constinit const Format lines = {.name = "lines",
                                .summary = "16 outputs side by side, in memory only",
                                .refuses = refuses_lines,
                                .unreadable = lines_misfit,
                                .snap = nullptr,
                                .pack = pack_lines,
                                .unpack = unpack_lines,
                                .parts = lines_parts};

}  // namespace quaver
