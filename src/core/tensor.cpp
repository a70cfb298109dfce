#include "core/tensor.h"

#include <bit>
#include <cstring>

#include "core/host_memory.h"
#include "core/threads.h"

namespace quaver {
namespace {

struct DTypeRow {
  std::string_view name;
  std::size_t bytes;
};
constexpr DTypeRow rows_of_dtypes[] = {{"f32", 4},  {"f16", 2},       {"bf16", 2},   {"f64", 8},
                                       {"i8", 1},   {"u8", 1},        {"i16", 2},    {"u16", 2},
                                       {"i32", 4},  {"u32", 4},       {"i64", 8},    {"u64", 8},
                                       {"bool", 1}, {"f8_e4m3fn", 1}, {"f8_e5m2", 1}};

}  // namespace

std::size_t size_of(DType dtype) { return rows_of_dtypes[static_cast<int>(dtype)].bytes; }
std::string_view name_of(DType dtype) { return rows_of_dtypes[static_cast<int>(dtype)].name; }
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }

float to_float(Half h) {
  const std::uint32_t sign = (h.bits & 0x8000u) << 16;
  const std::uint32_t exponent = h.bits >> 10 & 31, mantissa = h.bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

float to_float(BFloat16 b) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(b.bits) << 16);
}

float to_float(Float8E4M3 e) {
  const std::uint32_t sign = (e.bits & 0x80u) << 24;
  const std::uint32_t exponent = e.bits >> 3 & 15, mantissa = e.bits & 7;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-9
    const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | (exponent + 120) << 23 | mantissa << 20);
}

float to_float(Float8E5M2 e) { return to_float(Half{static_cast<std::uint16_t>(e.bits << 8)}); }

Half to_half(float f) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const auto with_sign = [sign](std::uint32_t m) {
    return Half{static_cast<std::uint16_t>(m | sign)};
  };
  if (magnitude > 0x7f800000u) return with_sign(0x7e00);   // NaN
  if (magnitude >= 0x477ff000u) return with_sign(0x7c00);  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {                           // below 2^-14: subnormal
    // Adding 0.5 puts the last kept bit of the result at the last bit of the sum's mantissa.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return with_sign(std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u);
  }
  return with_sign((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13);
}

BFloat16 to_bfloat16(float f) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return BFloat16{static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
  return BFloat16{static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

Shape::Shape(std::initializer_list<std::int64_t> dims)
    : Shape(std::span<const std::int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  ensure(dims.size() <= dims_.size(), "[shape] rank ", dims.size(), " is above 6");
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

std::int64_t Shape::size() const {
  std::int64_t n = 1;
  for (int i = 0; i < rank_; ++i) {
    ensure(dims_[i] >= 0, "[shape] negative dimension in ", *this);
    ensure(!__builtin_mul_overflow(n, dims_[i], &n), "[shape] ", *this, " overflows");
  }
  return n;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ']';
}

Tensor Tensor::raw(Shape shape, DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  std::int64_t bytes = 0;
  ensure(!__builtin_mul_overflow(shape.size(), static_cast<std::int64_t>(size_of(dtype)), &bytes),
         "[tensor] ", shape, " of ", dtype, " overflows");
  t.bytes_ = host_buffer(static_cast<std::size_t>(bytes));
  return t;
}

Tensor::Tensor(Shape shape, DType dtype) : Tensor(raw(shape, dtype)) {
  std::memset(bytes_.get(), 0, bytes());
}

Tensor Tensor::wrap(std::shared_ptr<void> base, Shape shape, DType dtype, Device device,
                    std::size_t offset) {
  Tensor t;
  t.bytes_ = std::move(base);
  t.offset_ = offset;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.device_ = device;
  return t;
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  ensure(shape_.rank() > 0 && 0 <= begin && begin <= end && end <= dim(0), "[tensor] rows ", begin,
         " to ", end, " of shape ", shape_);
  std::array<std::int64_t, 6> dims{};
  std::int64_t row = 1;
  for (int i = 0; i < shape_.rank(); ++i) {
    dims[i] = shape_[i];
    if (i > 0) row *= shape_[i];
  }
  dims[0] = end - begin;
  Tensor t = *this;
  t.shape_ = Shape(std::span<const std::int64_t>(dims.data(), shape_.rank()));
  t.offset_ += static_cast<std::size_t>(begin * row) * size_of(dtype_);
  return t;
}

Tensor Tensor::reshaped(Shape shape) const {
  ensure(shape.size() == size(), "[tensor] cannot view ", shape_, " as ", shape);
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

std::byte* Tensor::host() const {
  ensure(device_ == Device{}, "[tensor] the bytes lie on device ", int{device_.backend}, ":",
         int{device_.index}, ", not on the host");
  return static_cast<std::byte*>(bytes_.get()) + offset_;
}

void Tensor::check_host(DType wanted) const {
  ensure(wanted == dtype_, "[tensor] holds ", dtype_, ", asked for ", wanted);
}

Tensor to_f32(const Tensor& host) {
  if (host.dtype() == DType::f32) return host;
  Tensor out = Tensor::raw(host.shape());
  const auto y = out.data<float>();
  const auto convert = [&](auto x) {
    const auto* from = x.data();
    float* to = y.data();
    parallel_for(static_cast<std::int64_t>(y.size()), 1 << 16,
                 [=](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     if constexpr (std::is_same_v<typename decltype(x)::value_type, double>)
                       to[i] = static_cast<float>(from[i]);
                     else
                       to[i] = to_float(from[i]);
                   }
                 });
  };
  switch (host.dtype()) {
    case DType::f16:
      convert(host.data<Half>());
      break;
    case DType::bf16:
      convert(host.data<BFloat16>());
      break;
    case DType::f64:
      convert(host.data<double>());
      break;
    case DType::f8_e4m3fn:
      convert(host.data<Float8E4M3>());
      break;
    case DType::f8_e5m2:
      convert(host.data<Float8E5M2>());
      break;
    default:
      fail(Fault::unsupported, "[tensor] ", host.dtype(), " does not convert to f32");
  }
  return out;
}

}  // namespace quaver
