#pragma once
// Base64 of RFC 4648, section 4.
#include <optional>
#include <string>
#include <string_view>

namespace quaver::tokens {

// The bytes that `text` stands for; nullopt if it is not base64 of whole groups.
std::optional<std::string> base64_decoded(std::string_view text);

}  // namespace quaver::tokens
