#include "io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace quaver {
namespace {

constexpr StoredDType stored_dtypes[] = {
    {"F32", 32, DType::f32},
    {"F16", 16, DType::f16},
    {"BF16", 16, DType::bf16},
    {"F64", 64, DType::f64},
    {"I8", 8, DType::i8},
    {"U8", 8, DType::u8},
    {"I16", 16, DType::i16},
    {"U16", 16, DType::u16},
    {"I32", 32, DType::i32},
    {"U32", 32, DType::u32},
    {"I64", 64, DType::i64},
    {"U64", 64, DType::u64},
    {"BOOL", 8, DType::boolean},
    {"C64", 64, std::nullopt},
    {"F4", 4, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},
    {"F8_E5M2", 8, DType::f8_e5m2},
    {"F8_E4M3", 8, DType::f8_e4m3fn},
    {"F8_E8M0", 8, std::nullopt},
    {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt},
};

constexpr std::size_t longest_printable = 120;
constexpr int max_rank = 6;

// Number of bytes of the UTF-8 sequence that `s` begins with; 0 if it is not valid (RFC 3629: no
// overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) {
    return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u;
  };
  const auto in = [](unsigned b, unsigned low, unsigned high) { return b >= low && b <= high; };
  const auto tail = [&](std::size_t i) { return in(byte(i), 0x80, 0xbf); };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return s.empty() ? 0 : 1;
  if (in(first, 0xc2, 0xdf)) return tail(1) ? 2 : 0;
  if (in(first, 0xe0, 0xef)) {
    const bool ok = first == 0xe0   ? in(second, 0xa0, 0xbf)
                    : first == 0xed ? in(second, 0x80, 0x9f)
                                    : tail(1);
    return ok && tail(2) ? 3 : 0;
  }
  if (in(first, 0xf0, 0xf4)) {
    const bool ok = first == 0xf0   ? in(second, 0x90, 0xbf)
                    : first == 0xf4 ? in(second, 0x80, 0x8f)
                                    : tail(1);
    return ok && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& to, std::uint32_t point) {
  const auto put = [&](std::uint32_t byte) { to += static_cast<char>(byte); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xc0 | point >> 6);
  } else {
    if (point < 0x10000) {
      put(0xe0 | point >> 12);
    } else {
      put(0xf0 | point >> 18);
      put(0x80 | (point >> 12 & 63));
    }
    put(0x80 | (point >> 6 & 63));
  }
  put(0x80 | (point & 63));
}

// Takes tokens of JSON off the front of the header.
class Reader {
 public:
  Reader(std::string_view json, std::string_view where) : json_(json), where_(where) {}

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Fault::bad_file, where_, ": header, byte ", at_, ": ", parts...);
  }

  bool at_end() {
    skip_space();
    return at_ == json_.size();
  }

  void expect(char wanted) {
    skip_space();
    if (!take(wanted)) refuse("expected '", wanted, "', found ", found());
  }

  // Whether another item of an object or array follows, in one that `close` ends. `first` tells
  // whether it would be the first one.
  bool next_item(char close, bool first) {
    skip_space();
    if (take(close)) return false;
    if (!first) expect(',');
    return true;
  }

  std::string string() {
    expect('"');
    std::string value;
    while (true) {
      if (at_ >= json_.size()) refuse("the text ends inside a string");
      const char c = json_[at_];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) refuse("control character in a string");
      if (c == '\\') {
        escape(value);
        continue;
      }
      const std::size_t length = utf8_length(json_.substr(at_));
      if (length == 0) refuse("invalid UTF-8");
      value.append(json_, at_, length);
      at_ += length;
    }
    ++at_;
    return value;
  }

  std::string key() {
    std::string name = string();
    expect(':');
    return name;
  }

  // A whole number in plain digits, below 2^63.
  std::uint64_t number() {
    skip_space();
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (; at_ < json_.size() && json_[at_] >= '0' && json_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, std::uint64_t{10}, &value) ||
          __builtin_add_overflow(value, static_cast<std::uint64_t>(json_[at_] - '0'), &value) ||
          value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        refuse("a number above 2^63");
    }
    if (at_ == begin) refuse("expected a whole number, found ", found());
    if (json_[begin] == '0' && at_ - begin > 1) refuse("a number with leading zeros");
    if (at_ < json_.size() && (json_[at_] == '.' || json_[at_] == 'e' || json_[at_] == 'E'))
      refuse("expected a whole number, found a fraction");
    return value;
  }

 private:
  void skip_space() {
    while (at_ < json_.size() &&
           (json_[at_] == ' ' || json_[at_] == '\n' || json_[at_] == '\t' || json_[at_] == '\r'))
      ++at_;
  }
  bool take(char wanted) {
    if (at_ >= json_.size() || json_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  std::string found() const {
    return at_ < json_.size() ? printable(json_.substr(at_, 1)) : std::string("the end");
  }

  std::uint32_t hex4() {
    if (json_.size() - at_ < 4) refuse("the text ends inside an escape");
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = json_[at_];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) refuse("bad \\u escape");
      value = value << 4 | static_cast<std::uint32_t>(digit);
    }
    return value;
  }

  void escape(std::string& value) {
    ++at_;  // the backslash
    if (at_ >= json_.size()) refuse("the text ends inside an escape");
    const char c = json_[at_++];
    constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = letters.find(c); i != std::string_view::npos) {
      value += meanings[i];
      return;
    }
    if (c != 'u') refuse("unknown escape");
    std::uint32_t point = hex4();
    if (point >= 0xdc00 && point < 0xe000) refuse("a low surrogate without a high one");
    if (point >= 0xd800 && point < 0xdc00) {
      if (!take('\\') || !take('u')) refuse("a high surrogate without a low one");
      const std::uint32_t low = hex4();
      if (low < 0xdc00 || low >= 0xe000) refuse("a high surrogate without a low one");
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(value, point);
  }

  std::string_view json_;
  std::string_view where_;
  std::size_t at_ = 0;
};

Shape read_shape(Reader& in, const std::string& name) {
  std::array<std::int64_t, max_rank> dims{};
  std::size_t rank = 0;
  in.expect('[');
  while (in.next_item(']', rank == 0)) {
    if (rank == dims.size())
      in.refuse("tensor ", printable(name), " has more than ", max_rank, " dimensions");
    dims[rank++] = static_cast<std::int64_t>(in.number());
  }
  return Shape(std::span<const std::int64_t>(dims.data(), rank));
}

const StoredDType* read_dtype(Reader& in, const std::string& name) {
  const std::string dtype = in.string();
  const StoredDType* const known = find_stored_dtype(dtype);
  if (!known) in.refuse("tensor ", printable(name), " has the unknown dtype ", printable(dtype));
  return known;
}

HeaderEntry read_entry(Reader& in, std::string name) {
  HeaderEntry entry{.name = std::move(name)};
  bool has_dtype = false, has_shape = false, has_offsets = false;
  const auto once = [&](bool& seen, const char* key) {
    if (seen) in.refuse("tensor ", printable(entry.name), " has two '", key, "'");
    seen = true;
  };
  in.expect('{');
  for (bool first = true; in.next_item('}', first); first = false) {
    const std::string key = in.key();
    if (key == "dtype") {
      once(has_dtype, "dtype");
      entry.dtype = read_dtype(in, entry.name);
    } else if (key == "shape") {
      once(has_shape, "shape");
      entry.shape = read_shape(in, entry.name);
    } else if (key == "data_offsets") {
      once(has_offsets, "data_offsets");
      in.expect('[');
      entry.begin = in.number();
      in.expect(',');
      entry.end = in.number();
      in.expect(']');
    } else {
      in.refuse("tensor ", printable(entry.name), " has the unknown key ", printable(key));
    }
  }
  if (!has_dtype || !has_shape || !has_offsets)
    in.refuse("tensor ", printable(entry.name), " lacks '",
              !has_dtype   ? "dtype"
              : !has_shape ? "shape"
                           : "data_offsets",
              "'");
  return entry;
}

void read_metadata(Reader& in, std::map<std::string, std::string>& metadata) {
  in.expect('{');
  for (bool first = true; in.next_item('}', first); first = false) {
    std::string key = in.key();
    if (metadata.contains(key)) in.refuse("duplicate metadata key ", printable(key));
    std::string value = in.string();
    metadata.emplace(std::move(key), std::move(value));
  }
}

void check_extent(const HeaderEntry& entry, std::string_view where) {
  std::uint64_t count = 1, bits = 0;
  bool fits = true;
  for (int i = 0; i < entry.shape.rank(); ++i)
    fits =
        fits && !__builtin_mul_overflow(count, static_cast<std::uint64_t>(entry.shape[i]), &count);
  fits = fits &&
         !__builtin_mul_overflow(count, static_cast<std::uint64_t>(entry.dtype->bits), &bits) &&
         bits <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  ensure_file(fits, where, ": tensor ", printable(entry.name), ": the size of shape ", entry.shape,
              " overflows");
  ensure_file(bits % 8 == 0, where, ": tensor ", printable(entry.name), " of ", entry.shape, ' ',
              entry.dtype->name, " is not a whole number of bytes");
  ensure_file(entry.begin <= entry.end && entry.end - entry.begin == bits / 8, where, ": tensor ",
              printable(entry.name), " of ", entry.shape, ' ', entry.dtype->name, " needs ",
              bits / 8, " bytes, its offsets are ", entry.begin, " to ", entry.end);
}

// The data section must be filled from end to end, without holes or overlap.
void check_layout(std::vector<HeaderEntry>& tensors, std::uint64_t data_bytes,
                  std::string_view where) {
  std::ranges::sort(tensors, [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t end = 0;
  for (const HeaderEntry& entry : tensors) {
    ensure_file(entry.begin == end, where, ": tensor ", printable(entry.name), " begins at byte ",
                entry.begin, " of the data, expected ", end,
                entry.begin < end ? " (it overlaps another one)" : " (there is a hole before it)");
    ensure_file(entry.end <= data_bytes, where, ": tensor ", printable(entry.name),
                " ends at byte ", entry.end, " of the data, but the file has only ", data_bytes,
                " (is it truncated?)");
    end = entry.end;
  }
  ensure_file(end == data_bytes, where, ": ", data_bytes - end, " bytes follow the last tensor");
}

}  // namespace

const StoredDType* find_stored_dtype(std::string_view name) {
  for (const StoredDType& row : stored_dtypes)
    if (row.name == name) return &row;
  return nullptr;
}

const StoredDType& stored_dtype(DType dtype) {
  for (const StoredDType& row : stored_dtypes)
    if (row.dtype == dtype) return row;
  fail(Fault::internal, "[safetensors] no name for ", dtype);
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> start,
                                           std::uint64_t file_bytes, std::string_view where) {
  ensure_file(file_bytes >= 8, where, ": ", file_bytes,
              " bytes, a safetensors file has at least 8");
  std::uint64_t n = 0;
  for (int i = 7; i >= 0; --i) n = n << 8 | std::to_integer<std::uint64_t>(start[i]);
  ensure_file(n <= max_header_bytes, where, ": a header of ", n, " bytes, the limit is ",
              max_header_bytes, " (is this a safetensors file?)");
  ensure_file(n <= file_bytes - 8, where, ": a header of ", n, " bytes in a file of ", file_bytes,
              " (is it truncated?)");
  ensure(start.size() >= 8 + n, where, ": ", start.size(), " bytes given of a header of ", n);
  const std::string_view json(reinterpret_cast<const char*>(start.data()) + 8, n);
  ensure_file(json.starts_with('{'), where, ": the header does not begin with '{'");

  SafetensorsHeader header{.data_begin = 8 + n};
  Reader in(json, where);
  bool has_metadata = false;
  in.expect('{');
  for (bool first = true; in.next_item('}', first); first = false) {
    std::string name = in.key();
    if (name == "__metadata__") {
      if (has_metadata) in.refuse("duplicate key '__metadata__'");
      has_metadata = true;
      read_metadata(in, header.metadata);
      continue;
    }
    if (header.tensors.size() == max_tensors_in_file)
      in.refuse("more than ", max_tensors_in_file, " tensors");
    header.tensors.push_back(read_entry(in, std::move(name)));
    check_extent(header.tensors.back(), where);
  }
  if (!in.at_end()) in.refuse("text after the closing '}'");

  check_layout(header.tensors, file_bytes - header.data_begin, where);
  std::ranges::sort(header.tensors, {}, &HeaderEntry::name);
  const auto twice = std::ranges::adjacent_find(header.tensors, {}, &HeaderEntry::name);
  if (twice != header.tensors.end())
    fail(Fault::bad_file, where, ": two tensors have the name ", printable(twice->name));
  return header;
}

std::string safetensors_header(std::span<const HeaderEntry> entries) {
  std::string json = R"({"__metadata__":{"format":"pt"})";
  for (const HeaderEntry& entry : entries) {
    json +=
        ',' + Json(entry.name).dump() + text(":{\"dtype\":\"", entry.dtype->name, "\",\"shape\":[");
    for (int i = 0; i < entry.shape.rank(); ++i) json += text(i ? "," : "", entry.shape[i]);
    json += text("],\"data_offsets\":[", entry.begin, ',', entry.end, "]}");
  }
  json += '}';
  json.resize((8 + json.size() + 63) / 64 * 64 - 8, ' ');
  ensure(json.size() <= max_header_bytes, "[safetensors] a header of ", json.size(),
         " bytes, the limit is ", max_header_bytes);
  std::string header;
  for (int i = 0; i < 8; ++i)
    header += static_cast<char>(static_cast<std::uint64_t>(json.size()) >> 8 * i & 255);
  return header + json;
}

bool is_utf8(std::string_view s) {
  while (!s.empty()) {
    const std::size_t length = utf8_length(s);
    if (length == 0) return false;
    s.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view name) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string shown = "'";
  for (std::size_t i = 0; i < name.size();) {
    if (shown.size() > longest_printable) return shown + "...'";
    const auto c = static_cast<unsigned char>(name[i]);
    const std::size_t length = c < 0x20 || c == 0x7f ? 0 : utf8_length(name.substr(i));
    // U+0080 to U+009F control terminals as well.
    const bool c1 = length == 2 && c == 0xc2 && static_cast<unsigned char>(name[i + 1]) < 0xa0;
    if (length == 0 || c1) {
      shown += "\\x";
      shown += digits[c >> 4];
      shown += digits[c & 15];
      ++i;
    } else {
      shown.append(name, i, length);
      i += length;
    }
  }
  return shown + "'";
}

}  // namespace quaver
