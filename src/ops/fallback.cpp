#include <mutex>
#include <set>

#include "ops/dispatch.h"

namespace quaver {

void note_fallback(const Backend& backend, std::string_view entry) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text(backend.name, '/', entry)).second)
    log(LogLevel::info, text("device ", backend.name, " has no kernel for ", entry,
                             ": it runs on the CPU, with copies"));
}

}  // namespace quaver
