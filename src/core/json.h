#pragma once
// JSON as the rest of quaver sees it: nlohmann's value type, read by a strict parser.
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace quaver {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // objects keep the order of their keys

struct JsonLimits {
  std::size_t bytes = 100'000'000;
  int depth = 64;
};

// Parses `source`. Throws Error(bad_file) that begins with `where` on: more bytes or nesting than
// the limits, syntax errors, invalid UTF-8, duplicate keys in one object, numbers that are not
// finite in double precision.
Json parse_json(std::string_view source, std::string_view where, const JsonLimits& limits = {});

// The same, with the order of keys; integers of more than 64 bits are refused too.
OrderedJson parse_ordered_json(std::string_view source, std::string_view where,
                               const JsonLimits& limits = {});

// Reads and parses a file; `path` stands in the error messages.
Json read_json_file(const std::string& path, const JsonLimits& limits = {});

// Typed access to one key of an object. Errors name `where`, the key, what was found and what was
// expected. The form with a fallback accepts a missing or null key.
std::int64_t json_int(const Json& object, const char* key, std::string_view where);
std::int64_t json_int(const Json& object, const char* key, std::string_view where,
                      std::int64_t fallback);
double json_number(const Json& object, const char* key, std::string_view where, double fallback);
bool json_bool(const Json& object, const char* key, std::string_view where, bool fallback);
std::string json_string(const Json& object, const char* key, std::string_view where);
std::string json_string(const Json& object, const char* key, std::string_view where,
                        std::string_view fallback);

}  // namespace quaver
