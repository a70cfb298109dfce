#include "io/zip_directory.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50,
                        end_signature = 0x06054b50, end64_signature = 0x06064b50,
                        locator_signature = 0x07064b50;
constexpr std::uint64_t local_bytes = 30, central_bytes = 46, end_bytes = 22, end64_bytes = 56,
                        locator_bytes = 20;
constexpr std::uint64_t longest_comment = 65535;
constexpr std::uint16_t zip64_extra = 1, elsewhere16 = 0xffff;
constexpr std::uint32_t elsewhere32 = 0xffffffff;  // the value stands in a zip64 record
constexpr std::uint16_t encrypted_flag = 1, descriptor_flag = 8;

// The bytes of a file, or of a part of it, read by offset.
class Bytes {
 public:
  Bytes(std::span<const std::byte> bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  std::uint64_t size() const { return bytes_.size(); }

  std::uint64_t number(std::uint64_t at, int width, const char* what) const {
    need(at, static_cast<std::uint64_t>(width), what);
    std::uint64_t value = 0;
    for (int i = width - 1; i >= 0; --i)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes_[at + static_cast<unsigned>(i)]);
    return value;
  }
  std::uint16_t u16(std::uint64_t at, const char* what) const {
    return static_cast<std::uint16_t>(number(at, 2, what));
  }
  std::uint32_t u32(std::uint64_t at, const char* what) const {
    return static_cast<std::uint32_t>(number(at, 4, what));
  }
  std::string_view part(std::uint64_t at, std::uint64_t size, const char* what) const {
    need(at, size, what);
    return {reinterpret_cast<const char*>(bytes_.data()) + at, size};
  }
  std::string_view where() const { return where_; }

 private:
  void need(std::uint64_t at, std::uint64_t size, const char* what) const {
    ensure_file(at <= bytes_.size() && size <= bytes_.size() - at, where_, ": ", what, " at byte ",
                at, " ends beyond the ", bytes_.size(), " bytes there are (is it truncated?)");
  }

  std::span<const std::byte> bytes_;
  std::string_view where_;
};

struct Central {
  std::uint64_t begin = 0, size = 0, entries = 0;
};

std::uint64_t end_record(const Bytes& file) {
  ensure_file(file.size() >= end_bytes, file.where(), ": ", file.size(),
              " bytes, a zip archive has at least ", end_bytes);
  const std::uint64_t last = file.size() - end_bytes;
  const std::uint64_t first = last > longest_comment ? last - longest_comment : 0;
  for (std::uint64_t at = last + 1; at-- > first;)
    if (file.u32(at, "a record") == end_signature &&
        file.u16(at + 20, "a comment") == file.size() - end_bytes - at)
      return at;
  fail(Fault::bad_file, file.where(),
       ": a zip archive without the record that ends it (is it truncated?)");
}

// What the end says of the central directory, and where the directory must end.
Central central_directory(const Bytes& file) {
  std::uint64_t at = end_record(file);
  Central found{file.u32(at + 16, "the end"), file.u32(at + 12, "the end"),
                file.u16(at + 10, "the end")};
  bool one_part = file.u16(at + 4, "the end") == 0 && file.u16(at + 6, "the end") == 0 &&
                  file.u16(at + 8, "the end") == found.entries;
  if (at >= locator_bytes && file.u32(at - locator_bytes, "a record") == locator_signature) {
    const std::uint64_t locator = at - locator_bytes;
    at = file.number(locator + 8, 8, "the zip64 locator");
    ensure_file(at <= locator && locator - at == end64_bytes &&
                    file.u32(at, "the zip64 end") == end64_signature,
                file.where(), ": no zip64 end record at byte ", at, ", where its locator points");
    one_part = file.u32(at + 16, "the zip64 end") == 0 && file.u32(at + 20, "the zip64 end") == 0;
    found = {file.number(at + 48, 8, "the zip64 end"), file.number(at + 40, 8, "the zip64 end"),
             file.number(at + 32, 8, "the zip64 end")};
    one_part = one_part && file.number(at + 24, 8, "the zip64 end") == found.entries;
  }
  if (!one_part)
    fail(Fault::unsupported, file.where(),
         ": a zip archive in several parts, which quaver does not read");
  ensure_file(found.begin <= at && found.size == at - found.begin, file.where(),
              ": the zip directory of ", found.size, " bytes at byte ", found.begin,
              " does not end at byte ", at, ", where its end record begins");
  ensure_file(found.entries <= max_zip_entries && found.entries <= found.size / central_bytes,
              file.where(), ": ", found.entries, " zip entries in a directory of ", found.size,
              " bytes; the limit is ", max_zip_entries);
  return found;
}

// The 64-bit values of the zip64 extra field, for those fields that say "elsewhere", in this order.
void read_zip64(const Bytes& extra, std::span<std::uint64_t* const> fields) {
  std::uint64_t at = 0;
  while (at < extra.size()) {
    const std::uint16_t id = extra.u16(at, "an extra field");
    const std::uint16_t size = extra.u16(at + 2, "an extra field");
    extra.part(at + 4, size, "an extra field");
    if (id == zip64_extra) {
      std::uint64_t next = at + 4;
      for (std::uint64_t* const field : fields) {
        if (*field != elsewhere32) continue;
        ensure_file(next + 8 <= at + 4 + size, extra.where(), ": a zip64 field of ", size,
                    " bytes lacks a size or an offset");
        *field = extra.number(next, 8, "a zip64 field");
        next += 8;
      }
      return;
    }
    at += 4 + std::uint64_t{size};
  }
}

void check_name(std::string_view name, std::string_view where) {
  bool plain = !name.empty() && !name.starts_with('/') &&
               name.find_first_of(std::string_view("\\\0", 2)) == std::string_view::npos;
  for (std::string_view rest = name; plain && !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    plain = rest.substr(0, slash) != "..";
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  ensure_file(plain, where, ": the zip entry ", printable(name),
              " is not the name of something inside the archive");
}

// An entry with the extent of its local header and data.
struct Placed {
  ZipEntry entry;
  std::uint64_t header = 0, end = 0;
};

const char* compression_name(std::uint16_t method) {
  switch (method) {
    case 8:
      return "deflate";
    case 9:
      return "deflate64";
    case 12:
      return "bzip2";
    case 14:
      return "lzma";
    case 93:
      return "zstandard";
    case 95:
      return "xz";
    default:
      return "unknown";
  }
}

// Finds the data behind the local header, which must agree with the central directory: programs
// that trust different ones of the two would see different files.
void locate(Placed& placed, const Bytes& file, std::uint64_t directory) {
  ZipEntry& entry = placed.entry;
  const std::string where = text(file.where(), ": zip entry ", printable(entry.name));
  const std::uint64_t at = placed.header;
  ensure_file(at <= directory && directory - at >= local_bytes, where, ": its header at byte ", at,
              " does not lie before the directory at byte ", directory);
  ensure_file(file.u32(at, "a header") == local_signature, where, ": no header at byte ", at);
  const std::uint16_t flags = file.u16(at + 6, "a header");
  const std::uint16_t name_size = file.u16(at + 26, "a header");
  const std::uint16_t extra_size = file.u16(at + 28, "a header");
  ensure_file(file.part(at + local_bytes, name_size, "a header") == entry.name, where,
              ": its header has the name ",
              printable(file.part(at + local_bytes, name_size, "a header")));
  ensure_file(file.u16(at + 8, "a header") == 0 && (flags & encrypted_flag) == 0, where,
              ": its header does not say that it is stored, as the directory does");
  const std::string_view extra =
      file.part(at + local_bytes + name_size, extra_size, "an extra field");
  std::uint64_t packed = file.u32(at + 18, "a header"), size = file.u32(at + 22, "a header");
  std::uint64_t* const fields[] = {&size, &packed};
  read_zip64({std::as_bytes(std::span(extra)), where}, fields);
  // With this flag the sizes may stand behind the data instead.
  const bool later = (flags & descriptor_flag) != 0 && size == 0 && packed == 0;
  ensure_file(later || (size == entry.size && packed == entry.size), where, ": its header says ",
              size, " bytes, the directory says ", entry.size);
  entry.begin = at + local_bytes + name_size + extra_size;
  ensure_file(entry.begin <= directory && entry.size <= directory - entry.begin, where, ": ",
              entry.size, " bytes at byte ", entry.begin, " reach into the directory at byte ",
              directory);
  placed.end = entry.begin + entry.size;
}

// Takes one entry of the central directory; `at` moves behind it.
Placed read_entry(const Bytes& file, std::uint64_t& at, const Central& central) {
  const char* const what = "a directory entry";
  ensure_file(file.u32(at, what) == central_signature, file.where(),
              ": no zip directory entry at byte ", at);
  const std::uint16_t flags = file.u16(at + 8, what), method = file.u16(at + 10, what);
  const std::uint16_t name_size = file.u16(at + 28, what), extra_size = file.u16(at + 30, what);
  const std::uint16_t comment_size = file.u16(at + 32, what), part = file.u16(at + 34, what);
  Placed placed;
  placed.entry.name = file.part(at + central_bytes, name_size, what);
  const std::string where = text(file.where(), ": zip entry ", printable(placed.entry.name));
  check_name(placed.entry.name, file.where());
  if ((flags & encrypted_flag) != 0) fail(Fault::unsupported, where, ": is encrypted");
  if (method != 0)
    fail(Fault::unsupported, where, ": is compressed (method ", method, ", ",
         compression_name(method), "), quaver reads stored entries, as PyTorch writes them");
  if (part != 0 && part != elsewhere16)
    fail(Fault::unsupported, where, ": lies in another part of the archive");
  std::uint64_t packed = file.u32(at + 20, what);
  placed.entry.size = file.u32(at + 24, what);
  placed.header = file.u32(at + 42, what);
  const std::string_view extra = file.part(at + central_bytes + name_size, extra_size, what);
  std::uint64_t* const fields[] = {&placed.entry.size, &packed, &placed.header};
  read_zip64({std::as_bytes(std::span(extra)), where}, fields);
  ensure_file(packed == placed.entry.size, where, ": is stored, but ", placed.entry.size,
              " bytes take ", packed);
  at += central_bytes + name_size + extra_size + comment_size;
  ensure_file(at <= central.begin + central.size, where, ": ends beyond the zip directory");
  return placed;
}

void check_overlap(std::vector<Placed>& entries, std::string_view where) {
  std::ranges::sort(entries, {}, &Placed::header);
  for (std::size_t i = 1; i < entries.size(); ++i)
    ensure_file(entries[i - 1].end <= entries[i].header, where, ": the zip entries ",
                printable(entries[i - 1].entry.name), " and ", printable(entries[i].entry.name),
                " overlap");
}

}  // namespace

bool is_zip(std::span<const std::byte> file) {
  return file.size() >= 4 && Bytes(file, {}).u32(0, "") == local_signature;
}

std::vector<ZipEntry> read_zip_directory(std::span<const std::byte> bytes, std::string_view where) {
  const Bytes file(bytes, where);
  const Central central = central_directory(file);
  std::vector<Placed> entries;
  std::uint64_t at = central.begin;
  for (std::uint64_t i = 0; i < central.entries; ++i) {
    entries.push_back(read_entry(file, at, central));
    locate(entries.back(), file, central.begin);
  }
  ensure_file(at == central.begin + central.size, where, ": the zip directory holds more than its ",
              central.entries, " entries");
  check_overlap(entries, where);
  std::vector<ZipEntry> sorted;
  for (Placed& placed : entries) sorted.push_back(std::move(placed.entry));
  std::ranges::sort(sorted, {}, &ZipEntry::name);
  const auto twice = std::ranges::adjacent_find(sorted, {}, &ZipEntry::name);
  ensure_file(twice == sorted.end(), where, ": two zip entries are called ",
              twice == sorted.end() ? std::string() : printable(twice->name));
  return sorted;
}

}  // namespace quaver
