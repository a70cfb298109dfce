#pragma once
// Packed layouts as codecs, and the neutral form between quantizers and layouts.
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/tensor.h"

namespace quaver {

// What the user asks of a quantized linear.
struct Scheme {
  int bits = 4;
  std::int64_t group_size = 128;  // input columns that share a scale; -1: the whole row
  bool symmetric = true;          // zero point fixed at 2^(bits-1)
  bool operator==(const Scheme&) const = default;
};

// Number of groups in a row of `cols` input columns; the last may be short.
std::int64_t group_count(const Scheme& scheme, std::int64_t cols);

// What every quantizer makes and every format stores: for output row r and input column c, with
// g = group_index[c] (or c / group_size where group_index is empty),
//   value = (codes[r, c] - zeros[r, g]) * scales[r, g].
struct Quantized {
  Scheme scheme;
  std::int64_t rows = 0, cols = 0;  // outputs, inputs
  Tensor codes;                     // u8  [rows, cols], each below 2^bits
  Tensor scales;                    // f32 [rows, groups]
  Tensor zeros;                     // f32 [rows, groups]
  Tensor group_index;               // i32 [cols]: GPTQ's g_idx; empty where groups are consecutive
};

// f32 [rows, cols]: the values that `q` stands for.
Tensor dequantized(const Quantized& q);
// A view of output rows begin .. end.
Quantized rows_of(const Quantized& q, std::int64_t begin, std::int64_t end);

struct Format;

// A weight as stored: named tensors and the format that understands them.
struct Packed {
  const Format* format = nullptr;
  Scheme scheme;
  std::int64_t rows = 0, cols = 0;
  std::map<std::string, Tensor> parts;  // "qweight", "scales", "qzeros", "g_idx"
};

struct PartInfo {  // one tensor of a packed weight, as pack makes it
  enum Freedom : std::uint8_t { none, any_float, optional };

  std::string_view name;
  DType dtype = DType::i32;
  Shape shape;
  Freedom freedom = none;  // what other writers may do: f16, bf16 or f32; leave it out
};

// One packed layout: two functions that are inverses. A row of the table in formats/all.cpp.
struct Format {
  std::string_view name;     // what --format and checkpoint_format call it
  std::string_view summary;  // one line for --list
  // Empty if the layout can hold a [rows, cols] weight of this scheme, else the reason why not.
  std::string (*refuses)(const Scheme& scheme, std::int64_t rows, std::int64_t cols);
  // The same for reading, which takes what others write: a last group that is short.
  std::string (*unreadable)(const Scheme& scheme, std::int64_t rows, std::int64_t cols);
  // Rounds scales and zeros in place to what the layout can hold, before codes are chosen.
  // Null: anything goes.
  void (*snap)(Quantized& q);
  Packed (*pack)(const Quantized& q);
  // pack's work for some output rows: those of `q` become rows row .. row + q.rows of `p`, which
  // empty_packed made. `row` is a multiple of 32, q.rows too unless they are the last. Threads may
  // write different rows at a time. Null: only whole weights are packed.
  void (*pack_rows)(const Quantized& q, std::int64_t row, Packed& p) = nullptr;
  // The inverse of pack, for `rows` output rows from `row`.
  Quantized (*unpack)(const Packed& p, std::int64_t row, std::int64_t rows);
  // The tensors that pack makes, for checking a file before it is used.
  std::vector<PartInfo> (*parts)(const Scheme& scheme, std::int64_t rows, std::int64_t cols);
  // What `snap` rounds to, for searches that try many scales: the scales' type, and the smallest
  // zero point that the layout can hold.
  DType scale_type = DType::f32;
  int lowest_zero = 0;
};

// A [rows, cols] weight whose parts are still to be written.
Packed empty_packed(const Format& format, const Scheme& scheme, std::int64_t rows,
                    std::int64_t cols);

std::span<const Format* const> formats();  // of files
// One of these, or a layout that exists in memory only. Throws, listing those of files.
const Format& find_format(std::string_view name);

// A linear's weight: plain [outputs, inputs] in f32, f16 or bf16, or packed.
using Weight = std::variant<Tensor, Packed>;

}  // namespace quaver
