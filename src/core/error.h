#pragma once
// `ensure` and `fail`, which throw the library's one exception type.
#include <sstream>
#include <string>

#include "quaver/error.h"

namespace quaver {

// text("group ", g, " does not divide ", k) -- std::format needs GCC 13.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(Fault fault, const Parts&... parts) {
  throw Error(fault, text(parts...));
}

// ensure(k % g == 0, "[pack int4] group ", g, " does not divide ", k, " columns");
template <class... Parts>
void ensure(bool ok, const Parts&... parts) {
  if (!ok) fail(Fault::bad_argument, parts...);
}

// The same for the content of a file: ensure_file(n <= size, path, ": header of ", n, " bytes
// ...").
template <class... Parts>
void ensure_file(bool ok, const Parts&... parts) {
  if (!ok) fail(Fault::bad_file, parts...);
}

}  // namespace quaver
