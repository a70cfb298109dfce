// Norms, embeddings, rotary positions, attention and element-wise ops.
#include "ops/dispatch.h"
#include "ops/ops.h"

namespace quaver {
namespace {

void check_rows(std::string_view op, const Tensor& x) {
  ensure(x.shape().rank() == 2 && x.dtype() == DType::f32, "[", op, "] x is ", x.shape(), " ",
         x.dtype(), ", expected f32 [rows, columns]");
}

void check_vector(std::string_view op, std::string_view what, const Tensor& v, std::int64_t size) {
  ensure(!v || (v.shape() == Shape({size}) && v.dtype() == DType::f32), "[", op, "] ", what, " is ",
         v.shape(), " ", v.dtype(), ", expected f32 [", size, "]");
}

Tensor norm(std::string_view op, void (*DeviceOps::*entry)(Stream, const NormArgs&),
            const Tensor& x, const Tensor& gain, const Tensor& bias, float eps,
            float gain_offset = 0) {
  check_rows(op, x);
  const std::int64_t gains = gain && gain.shape().rank() == 2 ? gain.dim(0) : 1;
  check_vector(op, "gain", gains > 1 ? gain.reshaped({gain.size()}) : gain, gains * x.dim(1));
  ensure(x.dim(0) % gains == 0, "[", op, "] ", gains, " rows of gains for x ", x.shape());
  check_vector(op, "bias", bias, x.dim(1));
  Tensor y = empty_on(x.device(), x.shape());
  dispatch<NormArgs>(x.device(), op, entry,
                     {.rows = x.dim(0),
                      .cols = x.dim(1),
                      .eps = eps,
                      .gain_offset = gain_offset,
                      .gain_rows = gains},
                     {{&NormArgs::x, &x},
                      {&NormArgs::gain, &gain},
                      {&NormArgs::bias, &bias},
                      {&NormArgs::y, &y, true}});
  return y;
}

Tensor activate(const Tensor& x, Activation function, const Tensor& gate) {
  ensure(!gate || gate.shape() == x.shape(), "[activation] gate ", gate.shape(), " for x ",
         x.shape());
  Tensor y = empty_on(x.device(), x.shape());
  dispatch<ActivationArgs>(
      x.device(), "activation", &DeviceOps::activation, {.size = x.size(), .function = function},
      {{&ActivationArgs::x, &x}, {&ActivationArgs::gate, &gate}, {&ActivationArgs::y, &y, true}});
  return y;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps,
                  float offset) {
  return norm("layer_norm", &DeviceOps::layer_norm, x, gain, bias, eps, offset);
}

Tensor rms_norm(const Tensor& x, const Tensor& gain, float eps, float offset) {
  return norm("rms_norm", &DeviceOps::rms_norm, x, gain, {}, eps, offset);
}

Tensor gather(const Tensor& table, const Tensor& index) {
  ensure(table.shape().rank() == 2, "[gather] table ", table.shape(), " must have rank 2");
  ensure(index.shape().rank() == 1 && index.dtype() == DType::i32, "[gather] index is ",
         index.shape(), " ", index.dtype(), ", expected i32 [rows]");
  const Tensor host_index = on_host(index);
  for (const std::int32_t i : host_index.data<std::int32_t>())
    ensure(i >= 0 && i < table.dim(0), "[gather] index ", i, " in a table of ", table.dim(0),
           " rows");
  const Tensor placed = moved_to(index, table.device());
  Tensor y = empty_on(table.device(), {index.dim(0), table.dim(1)});
  dispatch<GatherArgs>(
      table.device(), "gather", &DeviceOps::gather,
      {.rows = y.dim(0), .cols = y.dim(1), .table_rows = table.dim(0), .type = table.dtype()},
      {{&GatherArgs::table, &table}, {&GatherArgs::index, &placed}, {&GatherArgs::y, &y, true}});
  return y;
}

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, std::int64_t head_dim,
            bool interleaved) {
  check_rows("rope", x);
  const Shape table({x.dim(0), cos.dim(-1)});
  ensure(cos.shape() == table && sin.shape() == table && head_dim > 0 && x.dim(1) % head_dim == 0 &&
             2 * cos.dim(1) <= head_dim,
         "[rope] x ", x.shape(), " with heads of ", head_dim, ", cos ", cos.shape(), ", sin ",
         sin.shape());
  Tensor y = empty_on(x.device(), x.shape());
  dispatch<RopeArgs>(x.device(), "rope", &DeviceOps::rope,
                     {.rows = x.dim(0),
                      .heads = x.dim(1) / head_dim,
                      .head_dim = head_dim,
                      .half = cos.dim(1),
                      .interleaved = interleaved},
                     {{&RopeArgs::x, &x},
                      {&RopeArgs::cos, &cos},
                      {&RopeArgs::sin, &sin},
                      {&RopeArgs::y, &y, true}});
  return y;
}

namespace {

void check_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                     const AttentionShape& s, const Tensor& y) {
  const std::int64_t rows = q.dim(0), keys = k.dim(0);
  ensure(s.heads > 0 && s.kv_heads > 0 && s.heads % s.kv_heads == 0, "[attention] ", s.heads,
         " heads over ", s.kv_heads, " key heads");
  ensure(q.dim(1) == s.heads * s.head_dim && y.shape() == Shape({rows, s.heads * s.value_size()}) &&
             k.shape() == Shape({keys, s.kv_heads * s.head_dim}) &&
             v.shape() == Shape({keys, s.kv_heads * s.value_size()}) && keys >= rows,
         "[attention] q ", q.shape(), ", k ", k.shape(), ", v ", v.shape(), ", y ", y.shape(),
         " for ", s.heads, " heads of ", s.head_dim, ", values of ", s.value_size());
  const bool plain = k.dtype() == DType::f32 || k.dtype() == DType::f16 || k.dtype() == DType::bf16;
  ensure(plain && v.dtype() == k.dtype(), "[attention] k ", k.dtype(), ", v ", v.dtype(),
         ": expected both f32, f16 or bf16");
  ensure(!mask || (mask.size() == keys && mask.dtype() == DType::u8), "[attention] mask of ",
         mask.size(), " for ", keys, " keys");
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
               const Tensor& slopes, const Tensor& sinks, const AttentionShape& s, Tensor& y) {
  check_rows("attention", q);
  check_attention(q, k, v, mask, s, y);
  check_vector("attention", "slopes", slopes, s.heads);
  check_vector("attention", "sinks", sinks, s.heads);
  if (q.dim(0) == 0) return;
  const Tensor placed_mask = moved_to(mask, q.device());
  const Tensor placed_slopes = moved_to(slopes, q.device());
  const Tensor placed_sinks = moved_to(sinks, q.device());
  dispatch<AttentionArgs>(q.device(), "attention", &DeviceOps::attention,
                          {.kv_type = k.dtype(),
                           .rows = q.dim(0),
                           .keys = k.dim(0),
                           .heads = s.heads,
                           .kv_heads = s.kv_heads,
                           .head_dim = s.head_dim,
                           .value_dim = s.value_size(),
                           .window = s.window,
                           .scale = s.scale,
                           .soft_cap = s.soft_cap},
                          {{&AttentionArgs::q, &q},
                           {&AttentionArgs::k, &k},
                           {&AttentionArgs::v, &v},
                           {&AttentionArgs::mask, &placed_mask},
                           {&AttentionArgs::slopes, &placed_slopes},
                           {&AttentionArgs::sinks, &placed_sinks},
                           {&AttentionArgs::y, &y, true}});
}

Tensor map(const Tensor& x, Map function, float a) {
  Tensor y = empty_on(x.device(), x.shape());
  dispatch<MapArgs>(x.device(), "map", &DeviceOps::map,
                    {.size = x.size(), .function = function, .a = a},
                    {{&MapArgs::x, &x}, {&MapArgs::y, &y, true}});
  return y;
}

void scatter_add(const Tensor& x, const Tensor& index, const Tensor& weight, Tensor& y) {
  check_rows("scatter_add", x);
  const Shape rows({x.dim(0)});
  ensure(index.shape() == rows && index.dtype() == DType::i32 && weight.shape() == rows &&
             weight.dtype() == DType::f32 && y.shape().rank() == 2 && y.dim(1) == x.dim(1),
         "[scatter_add] x ", x.shape(), ", index ", index.shape(), ", weight ", weight.shape(),
         ", y ", y.shape());
  for (const std::int32_t i : index.data<std::int32_t>())
    ensure(i >= 0 && i < y.dim(0), "[scatter_add] index ", i, " in ", y.dim(0), " rows");
  if (x.dim(0) == 0) return;
  const Tensor placed_index = moved_to(index, x.device());
  const Tensor placed_weight = moved_to(weight, x.device());
  dispatch<ScatterArgs>(x.device(), "scatter_add", &DeviceOps::scatter,
                        {.rows = x.dim(0), .cols = x.dim(1)},
                        {{&ScatterArgs::x, &x},
                         {&ScatterArgs::index, &placed_index},
                         {&ScatterArgs::weight, &placed_weight},
                         {&ScatterArgs::y, &y, true}});
}

Tensor activation(const Tensor& x, Activation function) { return activate(x, function, {}); }

Tensor gated(const Tensor& x, Activation function, const Tensor& gate) {
  return activate(x, function, gate);
}

Tensor operator+(const Tensor& a, const Tensor& b) {
  ensure(a.shape() == b.shape(), "[add] ", a.shape(), " and ", b.shape());
  Tensor y = empty_on(a.device(), a.shape());
  dispatch<AddArgs>(a.device(), "add", &DeviceOps::add, {.size = a.size()},
                    {{&AddArgs::a, &a}, {&AddArgs::b, &b}, {&AddArgs::y, &y, true}});
  return y;
}

Tensor columns(const Tensor& x, std::int64_t begin, std::int64_t count) {
  check_rows("columns", x);
  ensure(begin >= 0 && count >= 0 && begin + count <= x.dim(1), "[columns] ", begin, " + ", count,
         " of ", x.shape());
  Tensor y = empty_on(x.device(), {x.dim(0), count});
  dispatch<ColumnsArgs>(
      x.device(), "columns", &DeviceOps::columns,
      {.rows = x.dim(0), .cols = x.dim(1), .begin = begin, .count = count, .y_cols = count},
      {{&ColumnsArgs::x, &x}, {&ColumnsArgs::y, &y, true}});
  return y;
}

void place_columns(const Tensor& x, Tensor& y, std::int64_t begin, std::int64_t repeat) {
  check_rows("place_columns", x);
  check_rows("place_columns", y);
  ensure(repeat >= 1 && y.dim(0) == x.dim(0) * repeat && begin >= 0 && begin + x.dim(1) <= y.dim(1),
         "[place_columns] x ", x.shape(), " from column ", begin, " of ", y.shape());
  dispatch<ColumnsArgs>(y.device(), "columns", &DeviceOps::columns,
                        {.rows = y.dim(0),
                         .cols = x.dim(1),
                         .count = x.dim(1),
                         .y_cols = y.dim(1),
                         .y_begin = begin,
                         .repeat = repeat},
                        {{&ColumnsArgs::x, &x}, {&ColumnsArgs::y, &y, true}});
}

}  // namespace quaver
