#pragma once
// The one exception type that quaver throws.
#include <stdexcept>
#include <string>

namespace quaver {

// What kind of thing went wrong; the command line maps it to an exit code, bindings to an
// exception class.
enum class Fault {
  bad_argument,  // the caller asked for something impossible
  bad_file,      // a file's content is not what its format says
  unsupported,   // well-formed, but quaver cannot do it
  io,            // the operating system refused a file operation
  resource,      // memory or disk does not suffice
  numerical,     // non-finite numbers where finite ones are needed
  interrupted,   // the user stopped it
  internal       // our own bug
};

class Error : public std::runtime_error {
 public:
  Error(Fault kind, const std::string& what) : std::runtime_error(what), fault(kind) {}
  const Fault fault;
};

}  // namespace quaver
