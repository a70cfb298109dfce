#pragma once
// Reads the protobuf wire format (protobuf.dev/programming-guides/encoding), field by field.
#include <cstdint>
#include <optional>
#include <string_view>

namespace quaver::tokens {

struct ProtoField {
  std::uint32_t number = 0;
  int wire = 0;             // 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
  std::uint64_t value = 0;  // of wire 0, 1, 5: the bits
  std::string_view bytes;   // of wire 2: points into the message
};

class ProtoReader {
 public:
  // `where` begins the messages of errors, which are Error(bad_file).
  ProtoReader(std::string_view message, std::string_view where) : rest_(message), where_(where) {}

  // The next field; nullopt at the end of the message.
  std::optional<ProtoField> next();

 private:
  std::uint64_t varint();
  std::uint64_t fixed(int bytes);

  std::string_view rest_, where_;
};

// Typed values of a field whose wire type is checked. `where` as above.
std::int32_t proto_int32(const ProtoField& field, std::string_view where);
bool proto_bool(const ProtoField& field, std::string_view where);
float proto_float(const ProtoField& field, std::string_view where);
std::string_view proto_bytes(const ProtoField& field, std::string_view where);

}  // namespace quaver::tokens
