#pragma once
// Pickles (Python's pickletools.py, protocol 2) as data. A pickle is a program for a stack machine
// that may call any Python function. Here nothing is called: the reader knows the operations that
// build plain values, notes the calls of functions that are on a list, and refuses the rest.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace quaver {

enum class PickleKind : std::uint8_t {
  none,
  boolean,    // number: 0 or 1
  integer,    // number
  real,       // not kept: no tensor depends on one
  string,     // text
  tuple,      // items
  list,       // items
  dict,       // items: key, value, key, value, ...; keys may occur twice
  global,     // text: "module name", on the list
  call,       // items: the global and the tuple of its arguments
  persistent  // items: the tuple that identifies something stored outside of the pickle
};
std::string_view name_of(PickleKind kind);

struct PickleValue {
  PickleKind kind = PickleKind::none;
  std::int64_t number = 0;
  std::string_view text;             // of the pickle's bytes
  std::vector<std::uint32_t> items;  // indices of Pickle::values; they may form a cycle
};

struct Pickle {
  std::vector<PickleValue> values;
  std::vector<std::uint32_t> persistent;  // the values of this kind, in their order
  std::uint32_t root = 0;
  std::size_t bytes = 0;  // how far the pickle reaches
};

// A name that a pickle may mention.
struct PickleGlobal {
  std::string_view name;  // "torch FloatStorage"
  bool callable = false;
};

inline constexpr std::size_t max_pickle_bytes = 64'000'000;
// Also bounds the stack, the memo and the operations, whose memory is at most some 100 bytes each.
inline constexpr std::size_t max_pickle_steps = 4'000'000;

// Reads one pickle from the front of `bytes`. collections.OrderedDict is a dict and need not be on
// the list; what BUILD would set as its attributes is passed over. Throws Error that begins with
// `where`: unsupported for operations, protocols and names that are not accepted, bad_file for
// everything that no pickle may contain.
Pickle parse_pickle(std::span<const std::byte> bytes, std::span<const PickleGlobal> allowed,
                    std::string_view where);

}  // namespace quaver
