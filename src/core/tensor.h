#pragma once
// Tensor: a handle on row-major plain elements in host or device memory.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>

#include "core/error.h"

namespace quaver {

enum class DType : std::uint8_t {
  f32,
  f16,
  bf16,
  f64,
  i8,
  u8,
  i16,
  u16,
  i32,
  u32,
  i64,
  u64,
  boolean,
  f8_e4m3fn,  // the two of 8 bits are for storage only: to_f32 reads them, no kernel does
  f8_e5m2
};

std::size_t size_of(DType dtype);       // bytes of one element
std::string_view name_of(DType dtype);  // "f32", "bf16", ...
std::ostream& operator<<(std::ostream& out, DType dtype);

// Small floats travel as their bits: IEEE half, bfloat16, and the two of the OCP 8-bit floating
// point specification (https://www.opencompute.org, revision 1.0).
struct Half {
  std::uint16_t bits = 0;
};
struct BFloat16 {
  std::uint16_t bits = 0;
};
struct Float8E4M3 {  // s eeee mmm, bias 7: no infinity, one NaN a sign, up to 448
  std::uint8_t bits = 0;
};
struct Float8E5M2 {  // s eeeee mm, bias 15: the upper half of an IEEE half
  std::uint8_t bits = 0;
};
float to_float(Half h);
float to_float(BFloat16 b);
float to_float(Float8E4M3 e);
float to_float(Float8E5M2 e);
Half to_half(float f);          // round to nearest even; overflow gives infinity
BFloat16 to_bfloat16(float f);  // round to nearest even

template <class T>
constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<Half> = DType::f16;
template <>
inline constexpr DType dtype_of<BFloat16> = DType::bf16;
template <>
inline constexpr DType dtype_of<Float8E4M3> = DType::f8_e4m3fn;
template <>
inline constexpr DType dtype_of<Float8E5M2> = DType::f8_e5m2;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::i8;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::u8;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<std::uint32_t> = DType::u32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  explicit Shape(std::span<const std::int64_t> dims);  // throws above rank 6
  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[i < 0 ? i + rank_ : i]; }
  std::int64_t size() const;  // product of the dimensions; throws on overflow or a negative one
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, 6> dims_{};
  int rank_ = 0;
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);

struct Device {
  std::uint8_t backend = 0, index = 0;  // backend: a row of kernels/all.cpp; 0 is the CPU
  bool operator==(const Device&) const = default;
};

// Copying a Tensor copies the handle, not the bytes. Always row-major and dense; rows() gives a
// view of a range of the first dimension.
class Tensor {
 public:
  // Identity of the bytes a tensor shows: equal ids mean the same memory.
  struct Id {
    const void* base = nullptr;
    std::size_t offset = 0;
    bool operator==(const Id&) const = default;
  };

  Tensor() = default;
  explicit Tensor(Shape shape, DType dtype = DType::f32);    // host memory, zeroed
  static Tensor raw(Shape shape, DType dtype = DType::f32);  // host memory, not initialized
  // Memory owned elsewhere: a mapped file, an array of another program, a device buffer. `base` is
  // what the backend understands as a buffer; `offset` counts bytes from it.
  static Tensor wrap(std::shared_ptr<void> base, Shape shape, DType dtype, Device device = {},
                     std::size_t offset = 0);
  template <class T>
  static Tensor of(std::span<const T> values, Shape shape);  // a host copy of `values`

  explicit operator bool() const { return bytes_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int i) const { return shape_[i]; }  // dim(-1) is the last
  std::int64_t size() const { return shape_.size(); }
  std::size_t bytes() const { return static_cast<std::size_t>(size()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  Id id() const { return {bytes_.get(), offset_}; }
  void* base() const { return bytes_.get(); }
  std::size_t offset() const { return offset_; }

  Tensor rows(std::int64_t begin, std::int64_t end) const;  // a view of first-dimension rows
  Tensor reshaped(Shape shape) const;                       // a view; same number of elements

  // Host memory only: throws on a wrong dtype and on a device tensor. Constness is that of the
  // handle's user, not of the bytes.
  template <class T>
  std::span<T> data() {
    check_host(dtype_of<T>);
    return {reinterpret_cast<T*>(host()), static_cast<std::size_t>(size())};
  }
  template <class T>
  std::span<const T> data() const {
    check_host(dtype_of<T>);
    return {reinterpret_cast<const T*>(host()), static_cast<std::size_t>(size())};
  }
  std::byte* host() const;  // first byte, any dtype; throws on a device tensor

 private:
  void check_host(DType wanted) const;

  std::shared_ptr<void> bytes_;
  std::size_t offset_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_;
};

template <class T>
Tensor Tensor::of(std::span<const T> values, Shape shape) {
  Tensor t = raw(shape, dtype_of<T>);
  ensure(static_cast<std::int64_t>(values.size()) == t.size(), "[tensor] ", values.size(),
         " values do not fill shape ", shape);
  std::copy(values.begin(), values.end(), t.template data<T>().begin());
  return t;
}

Tensor to_f32(const Tensor& host);  // the tensor itself if it is f32 already; from any other float

}  // namespace quaver
