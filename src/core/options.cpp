#include "core/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace quaver {
namespace {

constexpr std::size_t help_columns = 96;  // of a help line
constexpr std::size_t what_column = 28;   // where the explanation begins

std::string key_of(const Option& option) {
  std::string key = option.name;
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

// "asym" of --asym, "no_desc_act" of --no-desc-act: the switch turned off.
std::string off_key_of(const Option& option) {
  const std::string flag = option.off_flag();
  std::string key = flag.substr(std::min<std::size_t>(2, flag.size()));
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string joined(std::span<const std::string> words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

[[noreturn]] void unknown_flag(const std::string& flag, const std::vector<Option>& options) {
  std::vector<std::string> known;
  for (const Option& option : options) {
    known.push_back(option.flag());
    if (!option.off_flag().empty()) known.push_back(option.off_flag());
  }
  fail(Fault::bad_argument, "unknown option '", flag,
       "'; nearest known: ", joined(nearest_names(flag, known)));
}

// Runs `set` and puts the option's name before what it complains about.
template <class Set>
void named(const std::string& name, const Set& set) {
  try {
    set();
  } catch (const Error& error) {
    fail(Fault::bad_argument, name, ": ", error.what());
  }
}

}  // namespace

std::string Option::flag() const { return (name.size() == 1 ? "-" : "--") + name; }

std::string Option::off_flag() const {
  if (!is_switch || name.starts_with("no-")) return {};
  // Two switches whose other side has a name of its own.
  if (name == "sym") return "--asym";
  if (name == "exact") return "--fast";
  return "--no-" + name;
}

Flags read_flags(std::span<const std::string> arguments, const std::vector<Option>& options) {
  Flags flags;
  bool only_words = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (only_words || argument.size() < 2 || argument[0] != '-') {
      flags.words.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_words = true;
      continue;
    }
    const std::size_t equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
    const std::string flag = argument.substr(0, equals);
    const auto found = std::find_if(options.begin(), options.end(), [&](const Option& option) {
      return flag == option.flag() || flag == option.off_flag();
    });
    if (found == options.end()) unknown_flag(flag, options);
    if (found->is_switch) {
      const bool has_word = equals != std::string::npos;
      ensure(!has_word || (found->takes_word && flag == found->flag()), flag,
             ": is a switch and takes no value, got '",
             argument.substr(std::min(argument.size(), equals + 1)), "'");
      const std::string word = flag == found->flag() ? "true" : "false";
      found->set(has_word ? argument.substr(equals + 1) : word);
    } else {
      const bool inside = equals != std::string::npos;
      ensure(inside || i + 1 < arguments.size(), flag, ": needs a value (", found->value, ")");
      const std::string word = inside ? argument.substr(equals + 1) : arguments[++i];
      named(flag, [&] { found->set(word); });
    }
    flags.given.insert(found->name);
  }
  return flags;
}

void read_config(const Json& object, const std::vector<Option>& options,
                 const std::set<std::string>& given, std::string_view where) {
  ensure(object.is_object(), where, ": expected an object of options, got a JSON ",
         object.type_name());
  for (const auto& [key, value] : object.items()) {
    const auto found =
        std::find_if(options.begin(), options.end(),
                     [&k = key](const Option& option) { return key_of(option) == k; });
    const auto off = std::find_if(options.begin(), options.end(), [&k = key](const Option& option) {
      return option.is_switch && off_key_of(option) == k;
    });
    if (found == options.end() && off != options.end()) {  // "asym": true is "sym": false
      ensure(value.is_boolean(), where, ": ", key, ": got ", value.dump(),
             ", expected true or false");
      if (!given.contains(off->name)) off->set(value.get<bool>() ? "false" : "true");
      continue;
    }
    if (found == options.end()) {
      std::vector<std::string> known;
      for (const Option& option : options) known.push_back(key_of(option));
      fail(Fault::bad_argument, where, ": unknown key '", key,
           "'; nearest known: ", joined(nearest_names(key, known)));
    }
    if (given.contains(found->name)) continue;
    named(text(where, ": ", key), [&v = value, &found] { found->set_json(v); });
  }
}

std::string help_text(const std::vector<Option>& options) {
  std::string out;
  for (const Option& option : options) {
    std::string line = "  " + option.flag();
    if (option.takes_word) line += option.value;
    if (option.show_off) line += ", " + option.off_flag();
    if (!option.value.empty() && !option.takes_word) line += " " + option.value;
    std::string what = option.what;
    if (option.repeatable && what.find("repeatable") == std::string::npos) what += "; repeatable";
    if (!option.initial.empty()) what += " [" + option.initial + "]";
    line += line.size() + 2 > what_column ? "\n" + std::string(what_column, ' ')
                                          : std::string(what_column - line.size(), ' ');
    std::size_t column = what_column;
    for (std::size_t begin = 0; begin < what.size();) {
      const std::size_t end = std::min(what.find(' ', begin), what.size());
      if (column + (end - begin) > help_columns && column > what_column) {
        line.resize(line.find_last_not_of(' ') + 1);
        line += "\n" + std::string(what_column, ' ');
        column = what_column;
      }
      line += what.substr(begin, end - begin) + " ";
      column += end - begin + 1;
      begin = end + 1;
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

Json to_json(const std::vector<Option>& options) {
  Json object = Json::object();
  for (const Option& option : options) object[key_of(option)] = option.json();
  return object;
}

std::vector<std::string> nearest_names(std::string_view word, std::span<const std::string> known) {
  struct Candidate {
    std::size_t distance;
    const std::string* name;
  };
  std::vector<Candidate> candidates;
  for (const std::string& name : known) {
    std::size_t d = distance(word, name);
    // A word cut short or the end of a longer name is nearer than its length says.
    if (word.size() > 4 && (name.starts_with(word) || word.starts_with(name)))
      d = std::min<std::size_t>(d, 1);
    candidates.push_back({d, &name});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.distance < b.distance; });
  std::vector<std::string> names;
  for (const Candidate& c : candidates)
    if (names.size() < 3 && c.distance <= candidates[0].distance + 1) names.push_back(*c.name);
  return names;
}

namespace options_detail {

std::int64_t read_int(const std::string& word, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, problem] = std::from_chars(word.data(), end, value);
  ensure(problem != std::errc::result_out_of_range &&
             (rest != end || word.empty() || (value >= low && value <= high)),
         "got '", word, "', expected a whole number from ", low, " to ", high);
  ensure(problem == std::errc() && rest == end, "got '", word, "', expected a whole number");
  return value;
}

std::uint64_t read_unsigned(const std::string& word) {
  std::uint64_t value = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, problem] = std::from_chars(word.data(), end, value);
  ensure(problem == std::errc() && rest == end, "got '", word,
         "', expected a whole number from 0 to ", std::numeric_limits<std::uint64_t>::max());
  return value;
}

double read_double(const std::string& word) {
  double value = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, problem] = std::from_chars(word.data(), end, value);
  ensure(problem == std::errc() && rest == end && std::isfinite(value), "got '", word,
         "', expected a number");
  return value;
}

bool read_bool(const std::string& word) {
  ensure(word == "true" || word == "false", "got '", word, "', expected true or false");
  return word == "true";
}

std::string word_of(const Json& value, bool is_string, bool is_switch) {
  const char* const expected = is_string ? "a string" : is_switch ? "true or false" : "a number";
  ensure(is_string   ? value.is_string()
         : is_switch ? value.is_boolean()
                     : value.is_number(),
         "got ", value.dump().substr(0, 60), ", expected ", expected);
  return is_string ? value.get<std::string>() : value.dump();
}

std::string shown(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

}  // namespace options_detail
}  // namespace quaver
