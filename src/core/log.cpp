#include "core/log.h"

#include <mutex>
#include <utility>

namespace quaver {
namespace {

struct State {
  std::mutex mutex;
  LogSink sink;
};

State& state() {
  static State s;
  return s;
}

}  // namespace

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(state().mutex);
  state().sink = std::move(sink);
}

void log_message(LogLevel level, const std::string& message) {
  const std::lock_guard lock(state().mutex);
  if (state().sink) state().sink(level, message);
}

}  // namespace quaver
