#pragma once
// Options structs list each field once, in visit(); flags, config files, help and JSON follow:
//
//   struct ForwardOptions {
//     std::string ids;
//     bool hidden = false;
//     void visit(auto&& field) {
//       field("ids", ids, "token ids: .json or .safetensors");
//       field("hidden", hidden, "write the hidden states too");
//     }
//   };
//
// A field is a string, an integer, a double, a bool, an optional of these, or a list of strings. A
// fourth argument names the value in --help where "TEXT" or "N" says too little: "FILE". With
// "[=WORD]" a string is a switch that may be given a word too: --x sets "true", --no-x "false",
// --x=never "never".
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace quaver {

// One field of an options struct, its type erased. Borrows the struct.
struct Option {
  std::string name;         // "group-size"; one letter: a short flag, "-p"
  std::string what;         // one sentence for --help
  std::string value;        // what stands for its value in --help: "N", "F", "TEXT"; switches: ""
  std::string initial;      // its default as a user would write it; empty: none
  bool is_switch = false;   // --x / --no-x
  bool takes_word = false;  // a switch of the kind --x / --no-x / --x=word
  bool show_off = false;    // --help shows off_flag() too
  bool repeatable = false;  // each flag adds one value
  std::function<void(const std::string& word)> set;  // switches get "true" or "false", or a word
  std::function<void(const Json& value)> set_json;
  std::function<Json()> json;

  std::string flag() const;      // "--group-size", "-p"
  std::string off_flag() const;  // "--no-desc-act", "--asym"; empty where there is none
};

// What was given on the command line.
struct Flags {
  std::vector<std::string> words;  // those that belong to no option, in order
  std::set<std::string> given;     // names of the options that were set
};

// Reads `--name value`, `--name=value`, `-p value`, switches, and positional words; `--` ends the
// options. Throws Error(bad_argument) that names an unknown option's nearest known ones.
Flags read_flags(std::span<const std::string> arguments, const std::vector<Option>& options);

// Sets the options that a config file's object holds (keys are names with underscores), but for
// those in `given`. `where` stands in error messages.
void read_config(const Json& object, const std::vector<Option>& options,
                 const std::set<std::string>& given, std::string_view where);

// One line or more an option: flag, meaning, default.
std::string help_text(const std::vector<Option>& options);

// The current values, under their names with underscores; unset optionals are null.
Json to_json(const std::vector<Option>& options);

// The up to three of `known` that look most like `word`, best first.
std::vector<std::string> nearest_names(std::string_view word, std::span<const std::string> known);

namespace options_detail {

std::int64_t read_int(const std::string& word, std::int64_t low, std::int64_t high);
std::uint64_t read_unsigned(const std::string& word);
double read_double(const std::string& word);
bool read_bool(const std::string& word);
std::string word_of(const Json& value, bool is_string, bool is_switch);
std::string shown(double value);

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class T>
void assign(T& to, const std::string& word) {
  if constexpr (IsOptional<T>::value) {
    assign(to.emplace(), word);
  } else if constexpr (std::is_same_v<T, bool>) {
    to = read_bool(word);
  } else if constexpr (std::is_same_v<T, std::string>) {
    to = word;
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    to.push_back(word);
  } else if constexpr (std::is_floating_point_v<T>) {
    to = static_cast<T>(read_double(word));
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    to = read_unsigned(word);
  } else {
    to = static_cast<T>(
        read_int(word, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  }
}

template <class T>
std::string initial_of(const T& value) {
  if constexpr (IsOptional<T>::value) {
    return value ? initial_of(*value) : std::string();
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "on" : "";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    return {};
  } else if constexpr (std::is_floating_point_v<T>) {
    return shown(value);
  } else {
    return std::to_string(value);
  }
}

template <class T>
Json json_of(const T& value) {
  if constexpr (IsOptional<T>::value)
    return value ? json_of(*value) : Json();
  else
    return Json(value);
}

inline bool is_on_or_open(bool value) { return value; }
inline bool is_on_or_open(const std::optional<bool>&) { return true; }

template <class T>
struct Plain {
  using Type = T;
};
template <class T>
struct Plain<std::optional<T>> {
  using Type = T;
};

}  // namespace options_detail

// The fields of the given structs, in order. The structs must outlive the result.
template <class... Structs>
std::vector<Option> options_of(Structs&... structs) {
  namespace detail = options_detail;
  std::vector<Option> options;
  const auto add = [&]<class T>(std::string_view name, T& field, std::string_view what,
                                std::string_view value = {}) {
    using Type = typename detail::Plain<T>::Type;
    constexpr bool is_list = std::is_same_v<Type, std::vector<std::string>>;
    constexpr bool is_string = std::is_same_v<Type, std::string> || is_list;
    constexpr bool is_switch = std::is_same_v<Type, bool>;
    Option option;
    option.name = name;
    option.what = what;
    option.value = !value.empty()                   ? value
                   : is_switch                      ? ""
                   : is_string                      ? "TEXT"
                   : std::is_floating_point_v<Type> ? "F"
                                                    : "N";
    option.initial = detail::initial_of(field);
    option.takes_word = option.value.starts_with("[=");
    option.is_switch = is_switch || option.takes_word;
    option.repeatable = is_list;
    option.set = [&field](const std::string& word) { detail::assign(field, word); };
    option.set_json = [&field, takes_word = option.takes_word](const Json& value) {
      static_cast<void>(takes_word);  // lists have no use for it
      if constexpr (is_list) {
        field.clear();
        for (const Json& item : value.is_array() ? value : Json::array({value}))
          field.push_back(detail::word_of(item, true, false));
      } else {
        if (detail::IsOptional<T>::value && value.is_null()) {
          field = T();
          return;
        }
        const bool is_word = is_string && !(takes_word && value.is_boolean());
        detail::assign(field,
                       detail::word_of(value, is_word, !is_word && (takes_word || is_switch)));
      }
    };
    option.json = [&field] { return detail::json_of(field); };
    if constexpr (is_switch) option.show_off = detail::is_on_or_open(field);
    option.show_off |= option.takes_word;
    options.push_back(std::move(option));
  };
  (structs.visit(add), ...);
  return options;
}

}  // namespace quaver
