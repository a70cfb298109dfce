#include "core/json.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "core/error.h"
#include "core/file.h"

namespace quaver {
namespace {

// Builds a Json value from nlohmann's SAX events and refuses what its own DOM builder lets pass:
// duplicate keys, deep nesting and numbers that overflow.
template <class Value>
class StrictBuilder final : public nlohmann::json_sax<Value> {
  static constexpr bool ordered = std::is_same_v<Value, OrderedJson>;
  using Sax = nlohmann::json_sax<Value>;
  using typename Sax::binary_t;
  using typename Sax::number_float_t;
  using typename Sax::number_integer_t;
  using typename Sax::number_unsigned_t;
  using typename Sax::string_t;

 public:
  StrictBuilder(std::string_view where, int depth) : where_(where), depth_(depth) {}
  Value take() { return std::move(root_); }

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return value(v); }
  bool number_unsigned(number_unsigned_t v) override { return value(v); }
  bool number_float(number_float_t v, const string_t& written) override {
    ensure_file(std::isfinite(v), where_, ": number ", written, " is out of range");
    // What was written without a point or exponent is an integer that did not fit.
    ensure_file(!ordered || written.find_first_of(".eE") != std::string::npos, where_, ": integer ",
                written, " has more than 64 bits");
    return value(v);
  }
  bool string(string_t& v) override { return value(std::move(v)); }
  bool binary(binary_t&) override { fail(Fault::internal, where_, ": binary value in JSON text"); }
  bool start_object(std::size_t) override {
    if constexpr (ordered) keys_.emplace_back();
    return open(Value::object());
  }
  bool end_object() override {
    if constexpr (ordered) keys_.pop_back();
    return close();
  }
  bool start_array(std::size_t) override { return open(Value::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    auto& object = stack_.back()->template get_ref<typename Value::object_t&>();
    if constexpr (ordered) {  // whose emplace would look through all keys so far
      ensure_file(keys_.back().insert(name).second, where_, ": duplicate key '", name, "'");
      object.push_back({std::move(name), nullptr});
      slot_ = &object.back().second;
    } else {
      auto [place, added] = object.emplace(std::move(name), nullptr);
      ensure_file(added, where_, ": duplicate key '", place->first, "'");
      slot_ = &place->second;
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    fail(Fault::bad_file, where_, ": not valid JSON at byte ", position, ": ", e.what());
  }

 private:
  Value* place(Value v) {
    if (stack_.empty()) {
      root_ = std::move(v);
      return &root_;
    }
    if (stack_.back()->is_array()) {
      stack_.back()->push_back(std::move(v));
      return &stack_.back()->back();
    }
    *slot_ = std::move(v);
    return slot_;
  }
  bool value(Value v) {
    place(std::move(v));
    return true;
  }
  bool open(Value container) {
    ensure_file(static_cast<int>(stack_.size()) < depth_, where_, ": nested deeper than ", depth_,
                " levels");
    stack_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  std::string where_;
  int depth_;
  Value root_;
  Value* slot_ = nullptr;                              // where the value of the last key goes
  std::vector<std::unordered_set<std::string>> keys_;  // of the open objects, if ordered
  std::vector<Value*> stack_;  // open containers; stable, since only the innermost one grows
};

template <class Value>
Value parsed(std::string_view source, std::string_view where, const JsonLimits& limits) {
  ensure_file(source.size() <= limits.bytes, where, ": ", source.size(),
              " bytes of JSON, the limit is ", limits.bytes);
  StrictBuilder<Value> builder(where, limits.depth);
  Value::sax_parse(source.begin(), source.end(), &builder);
  return builder.take();
}

const Json* present(const Json& object, const char* key, std::string_view where) {
  ensure_file(object.is_object(), where, ": expected an object, found ", object.type_name());
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

[[noreturn]] void mistyped(const Json& found, const char* key, std::string_view where,
                           const char* expected) {
  std::string shown = found.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  fail(Fault::bad_file, where, ": '", key, "' is ", shown, ", expected ", expected);
}

std::int64_t integer(const Json& v, const char* key, std::string_view where) {
  if (v.is_number_unsigned()) {
    const auto u = v.get<std::uint64_t>();
    if (u > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      mistyped(v, key, where, "an integer of at most 63 bits");
    return static_cast<std::int64_t>(u);
  }
  if (v.is_number_integer()) return v.get<std::int64_t>();
  // Some writers store whole numbers as 128.0.
  if (v.is_number_float() && std::abs(v.get<double>()) < 9e15 &&
      v.get<double>() == std::floor(v.get<double>()))
    return static_cast<std::int64_t>(v.get<double>());
  mistyped(v, key, where, "an integer");
}

}  // namespace

Json parse_json(std::string_view source, std::string_view where, const JsonLimits& limits) {
  return parsed<Json>(source, where, limits);
}

OrderedJson parse_ordered_json(std::string_view source, std::string_view where,
                               const JsonLimits& limits) {
  return parsed<OrderedJson>(source, where, limits);
}

Json read_json_file(const std::string& path, const JsonLimits& limits) {
  return parse_json(read_file(path, limits.bytes), path, limits);
}

std::int64_t json_int(const Json& object, const char* key, std::string_view where) {
  const Json* v = present(object, key, where);
  ensure_file(v != nullptr, where, ": '", key, "' is missing");
  return integer(*v, key, where);
}

std::int64_t json_int(const Json& object, const char* key, std::string_view where,
                      std::int64_t fallback) {
  const Json* v = present(object, key, where);
  return v ? integer(*v, key, where) : fallback;
}

double json_number(const Json& object, const char* key, std::string_view where, double fallback) {
  const Json* v = present(object, key, where);
  if (!v) return fallback;
  if (!v->is_number()) mistyped(*v, key, where, "a number");
  return v->get<double>();
}

bool json_bool(const Json& object, const char* key, std::string_view where, bool fallback) {
  const Json* v = present(object, key, where);
  if (!v) return fallback;
  if (!v->is_boolean()) mistyped(*v, key, where, "true or false");
  return v->get<bool>();
}

std::string json_string(const Json& object, const char* key, std::string_view where) {
  const Json* v = present(object, key, where);
  ensure_file(v != nullptr, where, ": '", key, "' is missing");
  if (!v->is_string()) mistyped(*v, key, where, "a string");
  return v->get<std::string>();
}

std::string json_string(const Json& object, const char* key, std::string_view where,
                        std::string_view fallback) {
  return present(object, key, where) ? json_string(object, key, where) : std::string(fallback);
}

}  // namespace quaver
