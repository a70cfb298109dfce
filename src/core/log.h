#pragma once
// Messages for whoever runs the program. The library hands them to one sink; without a sink they
// are dropped.
#include <functional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace quaver {

enum class LogLevel {
  detail,  // shown with --verbose
  info,
  warning
};

using LogSink = std::function<void(LogLevel level, std::string_view message)>;

// Replaces the sink; an empty one drops messages. The sink is called under a lock.
void set_log_sink(LogSink sink);

void log_message(LogLevel level, const std::string& message);

// log(LogLevel::warning, path, ": unused tensor ", name);
template <class... Parts>
void log(LogLevel level, const Parts&... parts) {
  log_message(level, text(parts...));
}

}  // namespace quaver
