#include "text/protobuf.h"

#include <bit>

#include "core/error.h"

namespace quaver::tokens {

std::uint64_t ProtoReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    ensure_file(!rest_.empty(), where_, ": truncated protobuf: a number goes on past the end");
    const auto byte = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    if (shift < 64) value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail(Fault::bad_file, where_, ": protobuf number of more than 10 bytes");
}

std::uint64_t ProtoReader::fixed(int bytes) {
  ensure_file(rest_.size() >= static_cast<std::size_t>(bytes), where_,
              ": truncated protobuf: ", bytes, " bytes expected, ", rest_.size(), " left");
  std::uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[0])) << (8 * i);
    rest_.remove_prefix(1);
  }
  return value;
}

std::optional<ProtoField> ProtoReader::next() {
  if (rest_.empty()) return std::nullopt;
  const std::uint64_t tag = varint();
  ProtoField field;
  field.wire = static_cast<int>(tag & 7);
  ensure_file(tag >> 3 >= 1 && tag >> 3 < (1u << 29), where_, ": protobuf field number ", tag >> 3);
  field.number = static_cast<std::uint32_t>(tag >> 3);
  switch (field.wire) {
    case 0:
      field.value = varint();
      break;
    case 1:
      field.value = fixed(8);
      break;
    case 2: {
      const std::uint64_t size = varint();
      ensure_file(size <= rest_.size(), where_, ": truncated protobuf: field ", field.number,
                  " of ", size, " bytes, ", rest_.size(), " left");
      field.bytes = rest_.substr(0, static_cast<std::size_t>(size));
      rest_.remove_prefix(static_cast<std::size_t>(size));
      break;
    }
    case 5:
      field.value = fixed(4);
      break;
    default:
      fail(Fault::bad_file, where_, ": protobuf wire type ", field.wire, "; known: 0, 1, 2, 5");
  }
  return field;
}

namespace {

void check_wire(const ProtoField& field, int wire, std::string_view where) {
  ensure_file(field.wire == wire, where, ": protobuf field ", field.number, " has wire type ",
              field.wire, ", expected ", wire);
}

}  // namespace

std::int32_t proto_int32(const ProtoField& field, std::string_view where) {
  check_wire(field, 0, where);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(field.value));
}

bool proto_bool(const ProtoField& field, std::string_view where) {
  check_wire(field, 0, where);
  return field.value != 0;
}

float proto_float(const ProtoField& field, std::string_view where) {
  check_wire(field, 5, where);
  return std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
}

std::string_view proto_bytes(const ProtoField& field, std::string_view where) {
  check_wire(field, 2, where);
  return field.bytes;
}

}  // namespace quaver::tokens
