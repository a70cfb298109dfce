#pragma once
// The device seam: what a device can do, as tables of functions. A backend is a folder with one
// row of this kind; a null entry of DeviceOps makes the op run on the CPU, with copies.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "formats/format.h"

namespace quaver {

// A place in a buffer: a host pointer, a device pointer or a cl_mem, and bytes from its start.
struct Mem {
  void* base = nullptr;
  std::size_t offset = 0;
  explicit operator bool() const { return base != nullptr; }
};

struct Stream {
  int device = 0;
  void* handle = nullptr;  // the backend's own queue; null: its default one
};

// y[i, j] (=, += or -=) sum over p of x[i, p] * w[j, p], plus bias[j] where given. Strides count
// elements, so any operand may be transposed by its strides. y is f32, row-major with stride ldy.
// Every output is one chain of fused multiply-adds in the order of p: the same bits for any number
// of threads and, with the same k, for any m above 8 and any n. (Up to eight rows, stored, of a w
// with consecutive columns: 32 fixed lanes, for each row the bits that it has alone.)
struct GemmArgs {
  Mem x, w, y;
  Mem bias;  // f32 [n]; null: none. Only with Into::store
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t x_row = 0, x_col = 1;  // x: f32, element (i, p) at i * x_row + p * x_col
  std::int64_t w_row = 0, w_col = 1;  // w: element (j, p) at j * w_row + p * w_col
  std::int64_t ldy = 0;
  DType w_type = DType::f32;  // f32, f16 or bf16
  enum class Into : std::uint8_t { store, add, subtract } into = Into::store;
  bool lower_only = false;  // only y[i, j] with j <= i need be computed (others: unspecified)
};

// y[m, n] = x[m, k] * w^T for a packed weight, all rows dense. y is f32 [m, n], bias f32 [n] or
// null.
struct PackedArgs {
  Mem x, y, bias;
  const Packed* w = nullptr;  // parts lie on the device
  std::int64_t m = 0;
};

struct NormArgs {        // rows of f32 [rows, cols]; gain, bias f32 [cols]
  Mem x, gain, bias, y;  // bias (layer norm only) and gain may be null
  std::int64_t rows = 0, cols = 0;
  float eps = 0;
  float gain_offset = 0;       // added to every gain (Gemma: 1)
  std::int64_t gain_rows = 1;  // gain is [gain_rows, cols], used in turn
};

struct GatherArgs {     // y[i, :] = table[index[i], :], converted to f32
  Mem table, index, y;  // index i32 [rows], already checked against table_rows
  std::int64_t rows = 0, cols = 0, table_rows = 0;
  DType type = DType::f32;  // of the table: f32, f16 or bf16
};

// Rotary embedding of the first 2 * half columns of each head, y = rotated x. Pairs are
// (i, i + half), or (2i, 2i + 1) if interleaved; cos and sin are f32 [rows, half].
struct RopeArgs {
  Mem x, cos, sin, y;  // x, y f32 [rows, heads * head_dim]; y may be x
  std::int64_t rows = 0, heads = 0, head_dim = 0, half = 0;
  bool interleaved = false;
};

// Causal attention of one sequence. Query row i stands at key position keys - rows + i and sees the
// keys up to there; with a window only the last `window` of them. Softmax of scale * q.k, capped to
// soft_cap * tanh(. / soft_cap) where a cap is given, plus slope[head] * position(key), where
// position counts the visible keys before it. A sink is one more score of the softmax, of a key
// without a value. A query that sees no key gives zeros.
struct AttentionArgs {
  Mem q, k, v, y;  // q [rows, heads * head_dim]; k [keys, kv_heads * head_dim]; v [keys,
                   // kv_heads * value_dim]; y [rows, heads * value_dim]; q and y f32
  DType kv_type = DType::f32;  // of k and v: f32, f16 or bf16
  Mem mask;                    // u8 [keys], 0 hides the key; null: all visible
  Mem slopes;                  // f32 [heads]: ALiBi; null: none
  Mem sinks;                   // f32 [heads]; null: none
  std::int64_t rows = 0, keys = 0, heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t value_dim = 0;  // 0: head_dim
  std::int64_t window = 0;     // 0: none
  float scale = 1;
  float soft_cap = 0;  // 0: none
};

enum class Activation : std::uint8_t {
  relu,
  gelu,
  gelu_tanh,
  silu,
  relu_squared,
  gelu_quick,
  identity
};

struct ActivationArgs {  // y = f(x), or f(x) * gate where gate is given; f32, y may be x
  Mem x, gate, y;
  std::int64_t size = 0;
  Activation function = Activation::relu;
};

struct AddArgs {  // y = a + b, f32; y may be a or b
  Mem a, b, y;
  std::int64_t size = 0;
};

// y = x * a, a * tanh(x / a), x cut to -a .. a, or min(x, a); f32, y may be x.
enum class Map : std::uint8_t { scale, soft_cap, clip, clip_above };
struct MapArgs {
  Mem x, y;
  std::int64_t size = 0;
  Map function = Map::scale;
  float a = 1;
};

// y[index[i], :] += weight[i] * x[i, :], f32, in the order of i. No index appears twice.
struct ScatterArgs {
  Mem x, index, weight, y;  // index i32 [rows], already checked; weight f32 [rows]
  std::int64_t rows = 0, cols = 0;
};

// y[i, y_begin : y_begin + count] = x[i / repeat, begin : begin + count], f32. x has `cols`
// columns, y has `y_cols`, of which the others stay.
struct ColumnsArgs {
  Mem x, y;
  std::int64_t rows = 0, cols = 0, begin = 0, count = 0;
  std::int64_t y_cols = 0, y_begin = 0, repeat = 1;
};

struct PackedGemm {  // one kernel for one layout, as a row; DeviceOps lists the best first
  std::string_view name;
  std::string_view format;  // Format::name
  bool (*fits)(const Packed& w, std::int64_t m);
  void (*run)(Stream, const PackedArgs&);
  // Several weights of this layout with one x and m, at less cost than one after the other. Null:
  // no way to.
  void (*run_all)(Stream, std::span<const PackedArgs>) = nullptr;
};

// Everything a device can speed up, on one page. Null: not mine.
struct DeviceOps {
  void (*gemm)(Stream, const GemmArgs&) = nullptr;
  void (*layer_norm)(Stream, const NormArgs&) = nullptr;
  void (*rms_norm)(Stream, const NormArgs&) = nullptr;
  void (*gather)(Stream, const GatherArgs&) = nullptr;
  void (*rope)(Stream, const RopeArgs&) = nullptr;
  void (*attention)(Stream, const AttentionArgs&) = nullptr;
  void (*activation)(Stream, const ActivationArgs&) = nullptr;
  void (*add)(Stream, const AddArgs&) = nullptr;
  void (*columns)(Stream, const ColumnsArgs&) = nullptr;
  void (*map)(Stream, const MapArgs&) = nullptr;
  void (*scatter)(Stream, const ScatterArgs&) = nullptr;
  std::span<const PackedGemm> packed = {};
};

struct Backend {
  std::string_view name;
  int (*device_count)();  // 0 when the driver is absent; libraries are opened at run time
  // A buffer of at least `bytes` whose deleter gives it back.
  std::shared_ptr<void> (*allocate)(int device, std::size_t bytes);
  void (*to_device)(Stream, Mem to, const void* from, std::size_t bytes);
  void (*to_host)(Stream, void* to, Mem from,
                  std::size_t bytes);                         // waits until the bytes are there
  void (*copy)(Stream, Mem to, Mem from, std::size_t bytes);  // within the device
  void (*wait)(Stream);
  const DeviceOps& (*ops)(int device);
};

extern const Backend cpu_backend;  // row 0: complete

// All rows, the CPU first. `add_backend` appends one for the life of the process (tests, plug-ins)
// and returns its number, the `backend` of a Device.
std::span<const Backend* const> backends();
std::uint8_t add_backend(const Backend& backend);

}  // namespace quaver
