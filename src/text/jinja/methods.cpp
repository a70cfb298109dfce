// The methods of strings, lists, tuples and dicts. What changes its receiver is forbidden, as in
// Jinja's immutable sandbox; rows without a function exist in Python and are refused by name.
// A parameter whose name begins with / cannot be given by name.
#include <algorithm>

#include "core/error.h"
#include "text/jinja/call.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace quaver::jinja {

const Row* find_cycler_method(const Value& receiver, std::string_view name);

namespace {

Value same_kind(const Call& call, std::string text) {
  return Value::text(std::move(text), call.input.text()->markup);
}

// Strings marked as safe escape what they are combined with; no model's template gets here.
const std::string& plain_input(const Call& call) {
  const std::string& text = call.input_text();
  if (call.input.text()->markup)
    fail(Fault::unsupported, "'", call.name, "' of a string marked as safe");
  call.budget.use(static_cast<std::int64_t>(text.size()));
  return text;
}

std::optional<std::string_view> optional_text(const Call& call, std::size_t i) {
  if (!call.given(i) || call.argument(i).is_none()) return std::nullopt;
  return call.string(i);
}

template <Side side>
Value strip(Call& call) {
  return same_kind(call, std::string(stripped(call.input_text(), side, optional_text(call, 0))));
}

template <std::string (*change)(std::string_view)>
Value changed(Call& call) {
  call.budget.scan(static_cast<std::int64_t>(call.input_text().size()));
  std::string text = change(call.input_text());
  call.budget.use(static_cast<std::int64_t>(text.size()));
  return same_kind(call, std::move(text));
}

template <bool (*fits)(char32_t)>
Value all_are(Call& call) {
  call.budget.use(static_cast<std::int64_t>(call.input_text().size()));
  return Value(all_of(call.input_text(), fits));
}

template <bool (*holds)(std::string_view)>
Value asked(Call& call) {
  call.budget.use(static_cast<std::int64_t>(call.input_text().size()));
  return Value(holds(call.input_text()));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

bool is_printable_text(std::string_view text) { return text.empty() || all_of(text, is_printable); }

Value list_of(Call& call, std::vector<std::string> parts, Sequence::Form form) {
  call.budget.use_product(static_cast<std::int64_t>(parts.size()), 64);
  std::vector<Value> values;
  values.reserve(parts.size());
  for (std::string& part : parts) values.push_back(Value::text(std::move(part)));
  return Value::sequence(form, std::move(values));
}

template <std::vector<std::string> (*cut)(std::string_view, std::optional<std::string_view>,
                                          std::int64_t)>
Value split_method(Call& call) {
  return list_of(call, cut(plain_input(call), optional_text(call, 0), call.integer(1, -1)),
                 Sequence::Form::list);
}

Value split_lines_method(Call& call) {
  return list_of(call, split_lines(plain_input(call), call.flag(0, false)), Sequence::Form::list);
}

// The part of the receiver that [start, end) names, and where it starts.
struct Window {
  std::string_view text;
  std::int64_t start = 0;
  bool valid = true;  // start <= end, and start within the string
};

Window window(const Call& call, std::size_t first) {
  const Text& text = *call.input.text();
  const auto place = [&](std::size_t i, std::int64_t fallback) {
    if (!call.given(i) || call.argument(i).is_none()) return fallback;
    const std::int64_t given = call.integer(i, 0);
    return given < 0 ? std::max<std::int64_t>(given + text.size, 0) : given;
  };
  const std::int64_t start = place(first, 0);
  const std::int64_t end = std::min(place(first + 1, text.size), text.size);
  if (start > end) return {{}, start, false};
  const std::size_t begin = byte_of(text, start);
  return {std::string_view(text.bytes).substr(begin, byte_of(text, end) - begin), start, true};
}

std::int64_t found_at(const Call& call, bool from_right) {
  plain_input(call);
  const std::string& sought = call.string(0);
  const Window in = window(call, 1);
  if (!in.valid) return -1;
  const std::size_t at = from_right ? in.text.rfind(sought) : in.text.find(sought);
  return at == std::string_view::npos ? -1 : in.start + count_code_points(in.text.substr(0, at));
}

template <bool from_right, bool must_exist>
Value find(Call& call) {
  const std::int64_t place = found_at(call, from_right);
  ensure(!must_exist || place >= 0, "substring not found");
  return Value(place);
}

Value count(Call& call) {
  plain_input(call);
  const std::string& sought = call.string(0);
  const Window in = window(call, 1);
  if (!in.valid) return Value::integer(0);
  if (sought.empty()) return Value(count_code_points(in.text) + 1);
  std::int64_t found = 0;
  for (std::size_t at = in.text.find(sought); at != std::string_view::npos;
       at = in.text.find(sought, at + sought.size()))
    ++found;
  return Value(found);
}

template <bool at_end>
Value has_affix(Call& call) {
  plain_input(call);
  const Window in = window(call, 1);
  const auto fits = [&in](const std::string& affix) {
    return in.valid && (at_end ? in.text.ends_with(affix) : in.text.starts_with(affix));
  };
  const Value& given = call.argument(0);
  if (given.text()) return Value(fits(given.text()->bytes));
  require_defined(given);
  ensure(given.sequence() && given.sequence()->form == Sequence::Form::tuple, call.name,
         " first arg must be str or a tuple of str, not ", type_name(given));
  bool any = false;
  for (const Value& affix : given.sequence()->values) {
    ensure(affix.text() != nullptr, "tuple for ", call.name, " must only contain str, not ",
           type_name(affix));
    any = any || fits(affix.text()->bytes);
  }
  return Value(any);
}

Value replace(Call& call) {
  return Value::text(replaced(plain_input(call), call.string(0), call.string(1),
                              call.integer(2, -1), call.budget));
}

Value join(Call& call) {
  const std::string& between = plain_input(call);
  const std::vector<Value> parts = iterate(call.argument(0), call.budget);
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    ensure(parts[i].text() != nullptr, "sequence item ", i, ": expected str instance, ",
           type_name(parts[i]), " found");
    if (i > 0) out += between;
    out += parts[i].text()->bytes;
    call.budget.use(static_cast<std::int64_t>(between.size() + parts[i].text()->bytes.size()));
  }
  return Value::text(std::move(out));
}

template <Side side>
Value pad(Call& call) {
  const std::string fill = call.given(1) ? call.string(1) : " ";
  return Value::text(padded(plain_input(call), call.integer(0, 0), fill, side, call.budget));
}

Value zero_fill(Call& call) {
  const std::string& text = plain_input(call);
  const bool sign = !text.empty() && (text[0] == '+' || text[0] == '-');
  const std::int64_t width = call.integer(0, 0);
  return Value::text(text.substr(0, sign) + padded(text.substr(sign), sign ? width - 1 : width, "0",
                                                   Side::right, call.budget));
}

template <bool from_right>
Value partition(Call& call) {
  const std::string& text = plain_input(call);
  const std::string& separator = call.string(0);
  ensure(!separator.empty(), "empty separator");
  const std::size_t at = from_right ? text.rfind(separator) : text.find(separator);
  std::vector<std::string> parts{text, "", ""};
  if (at != std::string::npos)
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  else if (from_right)
    parts = {"", "", text};
  return list_of(call, std::move(parts), Sequence::Form::tuple);
}

template <bool at_end>
Value without_affix(Call& call) {
  const std::string& text = plain_input(call);
  const std::string& affix = call.string(0);
  if (at_end)
    return Value::text(text.ends_with(affix) ? text.substr(0, text.size() - affix.size()) : text);
  return Value::text(text.starts_with(affix) ? text.substr(affix.size()) : text);
}

Value format(Call& call) {
  plain_input(call);
  return Value::text(
      brace_formatted(*call.input.text(), call.positional, call.keywords, call.budget));
}

Value format_map(Call& call) {
  plain_input(call);
  ensure(call.argument(0).dict() != nullptr, "format_map() needs a mapping");
  std::vector<Keyword> keywords;
  for (const auto& [key, value] : call.argument(0).dict()->items()) {
    if (key.text()) keywords.emplace_back(key.text()->bytes, value);
  }
  return Value::text(brace_formatted(*call.input.text(), {}, keywords, call.budget));
}

constexpr Row text_rows[] = {
    {"strip", 0, {"/chars"}, strip<Side::both>},
    {"lstrip", 0, {"/chars"}, strip<Side::left>},
    {"rstrip", 0, {"/chars"}, strip<Side::right>},
    {"split", 0, {"sep", "maxsplit"}, split_method<split>},
    {"rsplit", 0, {"sep", "maxsplit"}, split_method<split_right>},
    {"splitlines", 0, {"keepends"}, split_lines_method},
    {"startswith", 1, {"/prefix", "/start", "/end"}, has_affix<false>},
    {"endswith", 1, {"/suffix", "/start", "/end"}, has_affix<true>},
    {"replace", 2, {"/old", "/new", "/count"}, replace},
    {"upper", 0, {}, changed<upper>},
    {"lower", 0, {}, changed<lower>},
    {"title", 0, {}, changed<title>},
    {"capitalize", 0, {}, changed<capitalized>},
    {"swapcase", 0, {}, changed<swapped_case>},
    {"join", 1, {"/iterable"}, join},
    {"find", 1, {"/sub", "/start", "/end"}, find<false, false>},
    {"rfind", 1, {"/sub", "/start", "/end"}, find<true, false>},
    {"index", 1, {"/sub", "/start", "/end"}, find<false, true>},
    {"rindex", 1, {"/sub", "/start", "/end"}, find<true, true>},
    {"count", 1, {"/sub", "/start", "/end"}, count},
    {"format", -1, {}, format},
    {"format_map", 1, {"/mapping"}, format_map},
    {"center", 1, {"/width", "/fillchar"}, pad<Side::both>},
    {"ljust", 1, {"/width", "/fillchar"}, pad<Side::left>},
    {"rjust", 1, {"/width", "/fillchar"}, pad<Side::right>},
    {"zfill", 1, {"/width"}, zero_fill},
    {"partition", 1, {"/sep"}, partition<false>},
    {"rpartition", 1, {"/sep"}, partition<true>},
    {"removeprefix", 1, {"/prefix"}, without_affix<false>},
    {"removesuffix", 1, {"/suffix"}, without_affix<true>},
    {"isalpha", 0, {}, all_are<is_alphabetic>},
    {"isalnum", 0, {}, all_are<is_alphanumeric>},
    {"isdecimal", 0, {}, all_are<is_decimal>},
    {"isdigit", 0, {}, all_are<is_digit>},
    {"isspace", 0, {}, all_are<is_space>},
    {"isascii", 0, {}, asked<is_ascii>},
    {"isprintable", 0, {}, asked<is_printable_text>},
    {"islower", 0, {}, asked<is_lower_text>},
    {"isupper", 0, {}, asked<is_upper_text>},
    {"istitle", 0, {}, asked<is_title_text>},
    {"casefold", 0, {}, nullptr},
    {"encode", 0, {}, nullptr},
    {"expandtabs", 0, {}, nullptr},
    {"isidentifier", 0, {}, nullptr},
    {"isnumeric", 0, {}, nullptr},
    {"maketrans", 0, {}, nullptr},
    {"translate", 0, {}, nullptr},
};

// ---- lists, tuples, dicts

const std::vector<Value>& members(Call& call) {
  const std::vector<Value>& values = call.input.sequence()->values;
  call.budget.use_product(static_cast<std::int64_t>(values.size()), sizeof(Value));
  return values;
}

Value index_of(Call& call) {
  const std::vector<Value>& values = members(call);
  const auto size = static_cast<std::int64_t>(values.size());
  const auto place = [&](std::size_t i, std::int64_t fallback) {
    const std::int64_t given = call.integer(i, fallback);
    return std::clamp<std::int64_t>(given < 0 ? given + size : given, 0, size);
  };
  for (std::int64_t i = place(1, 0); i < place(2, size); ++i) {
    if (equal(values[static_cast<std::size_t>(i)], call.argument(0))) return Value(i);
  }
  fail(Fault::bad_argument, representation(call.argument(0), call.budget), " is not in ",
       type_name(call.input));
}

Value count_equal(Call& call) {
  std::int64_t found = 0;
  for (const Value& value : members(call)) found += equal(value, call.argument(0)) ? 1 : 0;
  return Value(found);
}

constexpr Row sequence_rows[] = {
    {"index", 1, {"/value", "/start", "/stop"}, index_of},
    {"count", 1, {"/value"}, count_equal},
    {"copy", 0, {}, [](Call& call) { return Value::list(members(call)); }},
};

constexpr std::string_view list_changes[] = {"append", "clear",  "extend",  "insert",
                                             "pop",    "remove", "reverse", "sort"};

template <Sequence::Form form>
Value view(Call& call) {
  const Dict& dict = *call.input.dict();
  call.budget.use_product(static_cast<std::int64_t>(dict.items().size()), 3 * sizeof(Value));
  std::vector<Value> values;
  values.reserve(dict.items().size());
  for (const auto& [key, value] : dict.items()) {
    if (form == Sequence::Form::keys)
      values.push_back(key);
    else if (form == Sequence::Form::values)
      values.push_back(value);
    else
      values.push_back(Value::tuple({key, value}));
  }
  return Value::sequence(form, std::move(values));
}

Value get(Call& call) {
  const Value* found = call.input.dict()->find(call.argument(0));
  if (found) return *found;
  return call.given(1) ? call.argument(1) : Value();
}

constexpr Row dict_rows[] = {
    {"items", 0, {}, view<Sequence::Form::items>},
    {"keys", 0, {}, view<Sequence::Form::keys>},
    {"values", 0, {}, view<Sequence::Form::values>},
    {"get", 1, {"/key", "/default"}, get},
    {"copy", 0, {}, [](Call& call) { return call.input; }},
    {"fromkeys", 0, {}, nullptr},
};

constexpr std::string_view dict_changes[] = {"clear", "pop", "popitem", "setdefault", "update"};

// What numbers, ranges and views have in Python and no template needs.
constexpr Row number_rows[] = {{"real", 0, {}, nullptr},       {"imag", 0, {}, nullptr},
                               {"numerator", 0, {}, nullptr},  {"denominator", 0, {}, nullptr},
                               {"conjugate", 0, {}, nullptr},  {"bit_length", 0, {}, nullptr},
                               {"bit_count", 0, {}, nullptr},  {"to_bytes", 0, {}, nullptr},
                               {"from_bytes", 0, {}, nullptr}, {"as_integer_ratio", 0, {}, nullptr},
                               {"is_integer", 0, {}, nullptr}, {"hex", 0, {}, nullptr},
                               {"fromhex", 0, {}, nullptr}};
constexpr Row range_rows[] = {{"start", 0, {}, nullptr},
                              {"stop", 0, {}, nullptr},
                              {"step", 0, {}, nullptr},
                              {"index", 0, {}, nullptr},
                              {"count", 0, {}, nullptr}};
constexpr Row view_rows[] = {{"mapping", 0, {}, nullptr}, {"isdisjoint", 0, {}, nullptr}};

const Row* row_of(std::span<const Row> rows, std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

bool is_among(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const Row* find_method(const Value& receiver, std::string_view name, bool& forbidden) {
  if (receiver.text()) return row_of(text_rows, name);
  if (receiver.dict()) {
    forbidden = is_among(dict_changes, name);
    return forbidden ? nullptr : row_of(dict_rows, name);
  }
  if (const Sequence* sequence = receiver.sequence()) {
    using Form = Sequence::Form;
    if (sequence->form == Form::list) {
      forbidden = is_among(list_changes, name);
      return forbidden ? nullptr : row_of(sequence_rows, name);
    }
    if (sequence->form == Form::tuple || sequence->form == Form::group)
      return name == "copy" ? nullptr : row_of(sequence_rows, name);
    return row_of(view_rows, name);
  }
  if (receiver.is_number()) return row_of(number_rows, name);
  if (receiver.range()) return row_of(range_rows, name);
  return find_cycler_method(receiver, name);
}

}  // namespace quaver::jinja
