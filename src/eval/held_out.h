#pragma once
#include <string>

namespace quaver {

// The built-in held-out text, UTF-8: chapters of Wilkie Collins, "The Moonstone" (1868).
std::string held_out_text();

}  // namespace quaver
