// The layout of AutoGPTQ and GPTQModel. Codes and zero points are b-bit fields of little-endian bit
// streams of 32-bit words, lowest index in the lowest bits:
//   qweight i32 [cols * b / 32, rows]     a stream down each column, over the inputs of one output
//   qzeros  i32 [groups, rows * b / 32]   a stream along each row, over the outputs of one group
//   scales  f16 [groups, rows]
//   g_idx   i32 [cols]                    the group of each input
// `gptq` (v1) stores zero - 1, so that zero 0 cannot be written; `gptq_v2` stores zero.
//
// `gptq_p` (GPTQModel's planar form) stores zero too and has 5, 6 and 7 bits. Of these and of 3
// bits it splits 32 fields into planes of 4, 2 or 1 bits, each packed like the layout of its width,
// the low bits first. 5 bits, one letter a bit, highest left:
//   fields abcde fghij ...  ->  4 words of [.. ghij bcde], then 1 word of [... f a]
// 2, 4 and 8 bits are one plane: the words of gptq_v2.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/threads.h"
#include "formats/format.h"

namespace quaver {
extern const Format gptq_v1, gptq_v2, gptq_planar;

namespace {

constexpr std::int64_t word_bits = 32;
constexpr std::int64_t tile = 64;  // outputs that one task unpacks: whole words for every width
constexpr std::int64_t slab = 32;  // outputs that one task packs: the same
constexpr float largest_half = 65504.0f, smallest_half = 0x1p-24f;

// Writes fields into a bit stream whose words lie `stride` apart.
class FieldWriter {
 public:
  FieldWriter(std::uint32_t* word, std::int64_t stride, int bits)
      : word_(word), stride_(stride), bits_(bits) {}
  void put(std::uint32_t field) {
    pending_ |= std::uint64_t{field} << filled_;
    filled_ += bits_;
    if (filled_ < word_bits) return;
    *word_ = static_cast<std::uint32_t>(pending_);
    word_ += stride_;
    pending_ >>= word_bits;
    filled_ -= word_bits;
  }

 private:
  std::uint32_t* word_;
  std::int64_t stride_;
  int bits_;
  std::int64_t filled_ = 0;
  std::uint64_t pending_ = 0;
};

class FieldReader {
 public:
  FieldReader(const std::uint32_t* word, std::int64_t stride, int bits)
      : word_(word), stride_(stride), bits_(bits) {}
  std::uint32_t get() {
    if (held_ < bits_) {
      pending_ |= std::uint64_t{*word_} << held_;
      word_ += stride_;
      held_ += word_bits;
    }
    const auto field = static_cast<std::uint32_t>(pending_ & ((1u << bits_) - 1));
    pending_ >>= bits_;
    held_ -= bits_;
    return field;
  }

 private:
  const std::uint32_t* word_;
  std::int64_t stride_;
  int bits_;
  std::int64_t held_ = 0;
  std::uint64_t pending_ = 0;
};

struct PlaneList {
  std::array<int, 3> widths{};  // lowest bits first; 0: none
};
PlaneList planes_of(int bits) {
  switch (bits) {
    case 3:
      return {{2, 1}};
    case 5:
      return {{4, 1}};
    case 6:
      return {{4, 2}};
    case 7:
      return {{4, 2, 1}};
    default:
      return {{bits}};
  }
}

constexpr std::int64_t plane_fields = 32;  // that share their `bits` words

// The two above for fields that are split into planes, 32 at a time.
class PlaneWriter {
 public:
  PlaneWriter(std::uint32_t* word, std::int64_t stride, int bits)
      : word_(word), stride_(stride), planes_(planes_of(bits)) {}
  void put(std::uint32_t field) {
    fields_[filled_++] = field;
    if (filled_ < plane_fields) return;
    filled_ = 0;
    int shift = 0;
    for (const int width : planes_.widths) {
      if (width == 0) break;
      FieldWriter plane(word_, stride_, width);
      for (const std::uint32_t f : fields_) plane.put(f >> shift & ((1u << width) - 1));
      word_ += width * stride_;
      shift += width;
    }
  }

 private:
  std::uint32_t* word_;
  std::int64_t stride_;
  PlaneList planes_;
  std::array<std::uint32_t, plane_fields> fields_{};
  std::size_t filled_ = 0;
};

class PlaneReader {
 public:
  PlaneReader(const std::uint32_t* word, std::int64_t stride, int bits)
      : word_(word), stride_(stride), planes_(planes_of(bits)) {}
  std::uint32_t get() {
    if (next_ == plane_fields) read();
    return fields_[next_++];
  }

 private:
  void read() {
    fields_.fill(0);
    next_ = 0;
    int shift = 0;
    for (const int width : planes_.widths) {
      if (width == 0) break;
      FieldReader plane(word_, stride_, width);
      for (std::uint32_t& f : fields_) f |= plane.get() << shift;
      word_ += width * stride_;
      shift += width;
    }
  }

  const std::uint32_t* word_;
  std::int64_t stride_;
  PlaneList planes_;
  std::array<std::uint32_t, plane_fields> fields_{};
  std::size_t next_ = plane_fields;
};

bool is_power(int bits) { return bits == 2 || bits == 4 || bits == 8; }

std::uint32_t* words(const Tensor& t) { return reinterpret_cast<std::uint32_t*>(t.host()); }

// The smallest count of fields that fill whole words; odd widths share no factor with 32, and
// planes come by 32.
std::int64_t whole_fields(int bits) { return is_power(bits) ? word_bits / bits : word_bits; }

std::string misfit(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  if (s.group_size != -1 && s.group_size <= 0)
    return text("group_size ", s.group_size, "; expected -1 or a positive number");
  if (rows <= 0 || cols <= 0) return text("an empty weight of ", rows, " x ", cols);
  const std::int64_t unit = whole_fields(s.bits);
  if (cols % unit != 0)
    return text(cols, " inputs are no multiple of ", unit, ", as ", s.bits, " bits need");
  if (rows % unit != 0)
    return text(rows, " outputs are no multiple of ", unit, ", as ", s.bits, " bits need");
  return {};
}

// Files with a short last group exist and are read; nothing writes more of them.
std::string short_group(const Scheme& s, std::int64_t cols) {
  if (s.group_size <= 0 || cols % s.group_size == 0) return {};
  return text("group_size ", s.group_size, " does not divide ", cols, " inputs");
}

std::string misfit_stream(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  if (s.bits != 3 && !is_power(s.bits))
    return text(s.bits, " bits; this layout holds 2, 3, 4 or 8");
  return misfit(s, rows, cols);
}
std::string refuses_stream(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  const std::string why = misfit_stream(s, rows, cols);
  return why.empty() ? short_group(s, cols) : why;
}
std::string misfit_planes(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  if (s.bits < 2 || s.bits > 8) return text(s.bits, " bits; this layout holds 2 to 8");
  return misfit(s, rows, cols);
}
std::string refuses_planes(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  const std::string why = misfit_planes(s, rows, cols);
  return why.empty() ? short_group(s, cols) : why;
}

void snap(Quantized& q, float lowest_zero) {
  const auto highest = static_cast<float>((1 << q.scheme.bits) - 1);
  for (float& s : q.scales.data<float>()) {
    const float size = std::clamp(std::abs(s), smallest_half, largest_half);
    s = std::copysign(to_float(to_half(size)), s);
  }
  for (float& z : q.zeros.data<float>()) z = std::clamp(std::nearbyint(z), lowest_zero, highest);
}

void snap_v1(Quantized& q) { snap(q, 1); }
void snap_v2(Quantized& q) { snap(q, 0); }

std::vector<PartInfo> parts(const Scheme& s, std::int64_t rows, std::int64_t cols) {
  const std::int64_t groups = group_count(s, cols);
  return {{"qweight", DType::i32, {cols * s.bits / word_bits, rows}},
          {"qzeros", DType::i32, {groups, rows * s.bits / word_bits}},
          {"scales", DType::f16, {groups, rows}, PartInfo::any_float},
          {"g_idx", DType::i32, {cols}, PartInfo::optional}};
}

template <class Writer>
void pack_codes(const Quantized& q, std::int64_t row, Tensor& qweight) {
  const std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  for (std::int64_t r = 0; r < q.rows; ++r) {
    Writer out(words(qweight) + row + r, qweight.dim(1), q.scheme.bits);
    for (std::int64_t c = 0; c < q.cols; ++c) out.put(codes[r * q.cols + c]);
  }
}

// Eight fields of bits <= 4, a byte each, as 8 * bits bits.
template <int bits>
std::uint32_t eight_fields(const std::uint8_t* codes) {
  std::uint64_t x = 0;
  std::memcpy(&x, codes, sizeof x);
  x = (x | x >> (8 - bits)) & (((1u << 2 * bits) - 1) * 0x0001000100010001u);
  x = (x | x >> (16 - 2 * bits)) & (((1u << 4 * bits) - 1) * 0x0000000100000001u);
  return static_cast<std::uint32_t>(x | x >> (32 - 4 * bits));
}

template <int bits>
std::uint32_t word_of(const std::uint8_t* codes) {
  if constexpr (bits == 8) {
    std::uint32_t word = 0;
    std::memcpy(&word, codes, sizeof word);
    return word;
  } else if constexpr (bits == 4) {
    return eight_fields<4>(codes);
  } else {
    return (eight_fields<2>(codes) & 0xffff) | eight_fields<2>(codes + 8) << 16;
  }
}

// pack_codes for widths that fill words: as they lie in memory, word by word of a row.
template <int bits>
void pack_words(const Quantized& q, std::int64_t row, Tensor& qweight) {
  constexpr std::int64_t in_word = word_bits / bits;
  const std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  std::uint32_t* to = words(qweight) + row;
  for (std::int64_t c = 0; c < q.cols; c += in_word, to += qweight.dim(1))
    for (std::int64_t r = 0; r < q.rows; ++r) to[r] = word_of<bits>(codes + r * q.cols + c);
}

// `stored` is what a field lacks of its zero point: 1 in v1, else 0.
template <class Writer>
void pack_groups(const Quantized& q, std::int64_t row, int stored, Packed& p) {
  const std::int64_t groups = q.scales.dim(1);
  const auto from_scales = q.scales.data<float>();
  const auto from_zeros = q.zeros.data<float>();
  Half* to_scales = p.parts.at("scales").data<Half>().data();
  const Tensor& qzeros = p.parts.at("qzeros");
  for (std::int64_t g = 0; g < groups; ++g) {
    Writer out(words(qzeros) + g * qzeros.dim(1) + row * q.scheme.bits / word_bits, 1,
               q.scheme.bits);
    for (std::int64_t r = 0; r < q.rows; ++r) {
      const auto at = static_cast<std::size_t>(r * groups + g);
      to_scales[g * p.rows + row + r] = to_half(from_scales[at]);
      const int field = static_cast<int>(from_zeros[at]) - stored;
      ensure(field >= 0 && field < 1 << q.scheme.bits, "[gptq] zero point ", from_zeros[at],
             " of output ", row + r, ", group ", g, " has no ", q.scheme.bits, "-bit field");
      out.put(static_cast<std::uint32_t>(field));
    }
  }
}

bool in_planes(const Format& format, int bits) {
  return &format == &gptq_planar && !is_power(bits);
}

void write_group_index(const Quantized& q, Tensor& g_idx) {
  auto index = g_idx.data<std::int32_t>();
  const std::int64_t group_size = q.scheme.group_size == -1 ? q.cols : q.scheme.group_size;
  for (std::int64_t c = 0; c < q.cols; ++c)
    index[static_cast<std::size_t>(c)] =
        q.group_index ? q.group_index.data<std::int32_t>()[static_cast<std::size_t>(c)]
                      : static_cast<std::int32_t>(c / group_size);
}

void pack_rows(const Quantized& q, std::int64_t row, int stored, Packed& p) {
  const std::int64_t groups = group_count(q.scheme, q.cols);
  const std::string_view format = p.format->name;
  ensure(q.cols == p.cols && row % slab == 0 && row + q.rows <= p.rows &&
             (q.rows % slab == 0 || row + q.rows == p.rows),
         "[", format, "] rows ", row, " to ", row + q.rows, " x ", q.cols, " of ", p.rows, " x ",
         p.cols);
  ensure(q.codes.shape() == Shape({q.rows, q.cols}) &&
             q.scales.shape() == Shape({q.rows, groups}) &&
             q.zeros.shape() == Shape({q.rows, groups}),
         "[", format, "] codes ", q.codes.shape(), ", scales ", q.scales.shape(), ", zeros ",
         q.zeros.shape(), " for ", q.rows, " x ", q.cols, " in ", groups, " groups");
  Tensor& qweight = p.parts.at("qweight");
  if (in_planes(*p.format, q.scheme.bits)) {
    pack_codes<PlaneWriter>(q, row, qweight);
    pack_groups<PlaneWriter>(q, row, stored, p);
  } else {
    switch (q.scheme.bits) {
      case 2:
        pack_words<2>(q, row, qweight);
        break;
      case 4:
        pack_words<4>(q, row, qweight);
        break;
      case 8:
        pack_words<8>(q, row, qweight);
        break;
      default:
        pack_codes<FieldWriter>(q, row, qweight);
    }
    pack_groups<FieldWriter>(q, row, stored, p);
  }
  if (row == 0) write_group_index(q, p.parts.at("g_idx"));
}

Packed pack(const Quantized& q, const Format& format) {
  const std::string refusal = format.refuses(q.scheme, q.rows, q.cols);
  ensure(refusal.empty(), "[", format.name, "] ", refusal);
  Packed p = empty_packed(format, q.scheme, q.rows, q.cols);
  parallel_for(q.rows, slab, [&](std::int64_t begin, std::int64_t end) {
    format.pack_rows(rows_of(q, begin, end), begin, p);
  });
  return p;
}

void pack_rows_v1(const Quantized& q, std::int64_t row, Packed& p) { pack_rows(q, row, 1, p); }
void pack_rows_v2(const Quantized& q, std::int64_t row, Packed& p) { pack_rows(q, row, 0, p); }
Packed pack_v1(const Quantized& q) { return pack(q, gptq_v1); }
Packed pack_v2(const Quantized& q) { return pack(q, gptq_v2); }
Packed pack_planar(const Quantized& q) { return pack(q, gptq_planar); }

// g_idx, or an empty tensor where it is consecutive or absent, as in the oldest files.
Tensor group_index(const Packed& p, std::int64_t groups) {
  const auto found = p.parts.find("g_idx");
  if (found == p.parts.end()) return {};
  const Tensor& stored = found->second;
  const auto index = stored.data<std::int32_t>();
  const std::int64_t group_size = p.scheme.group_size == -1 ? p.cols : p.scheme.group_size;
  bool consecutive = true;
  for (std::int64_t c = 0; c < p.cols; ++c) {
    const std::int64_t g = index[static_cast<std::size_t>(c)];
    ensure_file(g >= 0 && g < groups, "[gptq] g_idx of input ", c, " is ", g, " of ", groups,
                " groups");
    consecutive = consecutive && g == c / group_size;
  }
  return consecutive ? Tensor() : stored;
}

template <class Reader>
void unpack_zeros(const Packed& p, std::int64_t row, int stored, Quantized& q) {
  const Tensor& qzeros = p.parts.at("qzeros");
  const std::int64_t groups = q.zeros.dim(1);
  auto zeros = q.zeros.data<float>();
  // The stream is entered at the last whole word at or before `row`.
  const std::int64_t unit = whole_fields(q.scheme.bits);
  const std::int64_t entry = row / unit * unit;
  for (std::int64_t g = 0; g < groups; ++g) {
    Reader in(words(qzeros) + g * qzeros.dim(1) + entry * q.scheme.bits / word_bits, 1,
              q.scheme.bits);
    for (std::int64_t r = entry; r < row; ++r) in.get();
    for (std::int64_t r = 0; r < q.rows; ++r)
      zeros[static_cast<std::size_t>(r * groups + g)] = static_cast<float>(in.get()) + stored;
  }
}

// The inverse of eight_fields.
template <int bits>
void spread_eight(std::uint32_t fields, std::uint8_t* codes) {
  std::uint64_t x = fields;
  x = (x | x << (32 - 4 * bits)) & (((1u << 4 * bits) - 1) * 0x0000000100000001u);
  x = (x | x << (16 - 2 * bits)) & (((1u << 2 * bits) - 1) * 0x0001000100010001u);
  x = (x | x << (8 - bits)) & (((1u << bits) - 1) * 0x0101010101010101u);
  std::memcpy(codes, &x, sizeof x);
}

// The inverse of word_of.
template <int bits>
void codes_of(std::uint32_t word, std::uint8_t* codes) {
  if constexpr (bits == 8) {
    std::memcpy(codes, &word, sizeof word);
  } else if constexpr (bits == 4) {
    spread_eight<4>(word, codes);
  } else {
    spread_eight<2>(word & 0xffff, codes);
    spread_eight<2>(word >> 16, codes + 8);
  }
}

// unpack_codes for widths that fill words: as they lie in memory, a tile of outputs at a time.
template <int bits>
void unpack_words(const Packed& p, std::int64_t row, Quantized& q) {
  constexpr std::int64_t in_word = word_bits / bits;
  const std::uint32_t* from = words(p.parts.at("qweight")) + row;
  std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  parallel_for(q.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t w = 0; w < p.cols / in_word; ++w)
      for (std::int64_t r = begin; r < end; ++r)
        codes_of<bits>(from[w * p.rows + r], codes + r * p.cols + w * in_word);
  });
}

template <class Reader>
void unpack_codes(const Packed& p, std::int64_t row, Quantized& q) {
  const Tensor& qweight = p.parts.at("qweight");
  std::uint8_t* codes = q.codes.data<std::uint8_t>().data();
  parallel_for(q.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      Reader in(words(qweight) + row + r, p.rows, p.scheme.bits);
      for (std::int64_t c = 0; c < p.cols; ++c)
        codes[r * p.cols + c] = static_cast<std::uint8_t>(in.get());
    }
  });
}

Quantized unpack(const Packed& p, std::int64_t row, std::int64_t rows, int stored) {
  ensure(row >= 0 && rows >= 0 && row <= p.rows && rows <= p.rows - row, "[gptq] rows ", row,
         " to ", row + rows, " of ", p.rows);
  const std::int64_t groups = group_count(p.scheme, p.cols);
  Quantized q{.scheme = p.scheme,
              .rows = rows,
              .cols = p.cols,
              .codes = Tensor::raw({rows, p.cols}, DType::u8),
              .scales = Tensor::raw({rows, groups}),
              .zeros = Tensor::raw({rows, groups}),
              .group_index = group_index(p, groups)};
  // Old writers stored scales in the type of the model.
  const Tensor& stored_scales = p.parts.at("scales");
  const auto* half =
      stored_scales.dtype() == DType::f16 ? stored_scales.data<Half>().data() : nullptr;
  const Tensor wide = half ? Tensor() : to_f32(stored_scales);
  const float* single = half ? nullptr : wide.data<float>().data();
  auto scales = q.scales.data<float>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t from = g * p.rows + row + r;
      scales[static_cast<std::size_t>(r * groups + g)] = half ? to_float(half[from]) : single[from];
    }
  if (in_planes(*p.format, p.scheme.bits)) {
    unpack_codes<PlaneReader>(p, row, q);
    unpack_zeros<PlaneReader>(p, row, stored, q);
  } else {
    switch (p.scheme.bits) {
      case 2:
        unpack_words<2>(p, row, q);
        break;
      case 4:
        unpack_words<4>(p, row, q);
        break;
      case 8:
        unpack_words<8>(p, row, q);
        break;
      default:
        unpack_codes<FieldReader>(p, row, q);
    }
    unpack_zeros<FieldReader>(p, row, stored, q);
  }
  return q;
}

Quantized unpack_v1(const Packed& p, std::int64_t row, std::int64_t rows) {
  return unpack(p, row, rows, 1);
}
Quantized unpack_v2(const Packed& p, std::int64_t row, std::int64_t rows) {
  return unpack(p, row, rows, 0);
}

}  // namespace

constinit const Format gptq_v1 = {
    .name = "gptq",
    .summary = "AutoGPTQ's layout, zero points stored minus one: what every reader knows",
    .refuses = refuses_stream,
    .unreadable = misfit_stream,
    .snap = snap_v1,
    .pack = pack_v1,
    .pack_rows = pack_rows_v1,
    .unpack = unpack_v1,
    .parts = parts,
    .scale_type = DType::f16,
    .lowest_zero = 1};

constinit const Format gptq_v2 = {
    .name = "gptq_v2",
    .summary = "the same with zero points as they are: for asymmetric grids",
    .refuses = refuses_stream,
    .unreadable = misfit_stream,
    .snap = snap_v2,
    .pack = pack_v2,
    .pack_rows = pack_rows_v2,
    .unpack = unpack_v2,
    .parts = parts,
    .scale_type = DType::f16,
    .lowest_zero = 0};

constinit const Format gptq_planar = {
    .name = "gptq_p",
    .summary = "GPTQModel's bit planes, for 5, 6 and 7 bits; no other program reads it",
    .refuses = refuses_planes,
    .unreadable = misfit_planes,
    .snap = snap_v2,
    .pack = pack_planar,
    .pack_rows = pack_rows_v2,
    .unpack = unpack_v2,
    .parts = parts,
    .scale_type = DType::f16,
    .lowest_zero = 0};

}  // namespace quaver
