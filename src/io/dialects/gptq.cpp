// quant_method "gptq": the quantization_config of AutoGPTQ, GPTQModel and transformers.
//
//   bits, group_size, sym        the scheme
//   checkpoint_format            gptq (the default), gptq_v2 or gptq_p: how zero points are stored,
//                                and for gptq_p how codes are
//   dynamic                      {regex: overrides}: "-:regex" leaves modules out, "+:regex" or
//                                "regex" gives them other bits, group_size or sym; regexes match
//                                from the start of a module's name, and the first to match wins
#include <algorithm>
#include <array>
#include <regex>

#include "core/error.h"
#include "io/dialect.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

constexpr std::string_view where = "quantization_config";
constexpr std::size_t longest_pattern = 256, most_patterns = 256, longest_module = 512;

// Breadth-first matching in libstdc++: no exponential search, whatever the pattern.
#ifdef __GLIBCXX__
constexpr auto syntax = std::regex_constants::ECMAScript | std::regex_constants::__polynomial;
#else
constexpr auto syntax = std::regex_constants::ECMAScript;
#endif

// The name that a pattern of the form ^a\.b\.c$ stands for. Descriptions by module name may have
// thousands of these.
std::optional<std::string> exact_name(std::string_view pattern) {
  if (!pattern.starts_with('^') || !pattern.ends_with('$')) return std::nullopt;
  std::string name;
  for (std::size_t i = 1; i + 1 < pattern.size(); ++i) {
    const char c = pattern[i];
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-';
    if (plain) {
      name += c;
    } else if (c == '\\' && pattern[i + 1] == '.') {
      name += '.';
      ++i;
    } else {
      return std::nullopt;
    }
  }
  return name;
}

std::string exact_pattern(const std::string& name) {
  std::string pattern = "^";
  for (const char c : name) pattern += c == '.' ? std::string("\\.") : std::string(1, c);
  return pattern + "$";
}

bool matches(const std::string& pattern, std::string_view module) {
  if (const auto name = exact_name(pattern)) return *name == module;
  // Counted repetition and back references are what makes a short pattern expensive.
  const bool cheap = pattern.size() <= longest_pattern && pattern.find('{') == std::string::npos &&
                     !std::regex_search(pattern, std::regex(R"(\\[1-9])"));
  if (!cheap)
    fail(Fault::unsupported, where, ": 'dynamic' has the pattern ", printable(pattern),
         "; known are patterns of at most ", longest_pattern,
         " characters without counts and back references");
  try {
    return std::regex_search(module.begin(), module.end(), std::regex(pattern, syntax),
                             std::regex_constants::match_continuous);
  } catch (const std::regex_error& e) {
    fail(Fault::unsupported, where, ": 'dynamic' has the pattern ", printable(pattern), ": ",
         e.what());
  }
}

Scheme read_scheme(const Json& j, std::string_view at, const Scheme* base) {
  const auto synonym = [&](const char* key, const char* other) {
    return j.contains(key) || !j.contains(other) ? key : other;
  };
  Scheme scheme = base ? *base : Scheme{};
  const char* const bits_key = synonym("bits", base ? "bits" : "w_bit");
  const char* const group_key = synonym("group_size", base ? "group_size" : "q_group_size");
  const std::int64_t bits =
      base ? json_int(j, bits_key, at, base->bits) : json_int(j, bits_key, at);
  const std::int64_t group =
      base ? json_int(j, group_key, at, base->group_size) : json_int(j, group_key, at);
  // What else a format cannot hold, it says itself where a module's shape is known.
  if (bits < 2 || bits > 8)
    fail(Fault::unsupported, at, ": 'bits' is ", bits,
         "; known: 2, 3, 4, 8, and with gptq_p 5, 6, 7");
  ensure_file(group == -1 || (group >= 1 && group <= std::int64_t{1} << 31), at,
              ": 'group_size' is ", group, ", expected -1 or a positive number");
  scheme.bits = static_cast<int>(bits);
  scheme.group_size = group;
  scheme.symmetric = json_bool(j, "sym", at, scheme.symmetric);
  return scheme;
}

// What an entry of `dynamic` says about a module that matches.
std::optional<Scheme> overridden(const std::string& pattern, const Json& entry,
                                 const Scheme& base) {
  if (pattern.starts_with("-:")) return std::nullopt;
  const std::string at = text(where, ": 'dynamic', ", printable(pattern));
  ensure_file(entry.is_object(), at, ": expected an object, found ", entry.type_name());
  // What the others do happened while quantizing; the file does not depend on it.
  constexpr std::array<std::string_view, 13> known = {"bits",
                                                      "group_size",
                                                      "sym",
                                                      "desc_act",
                                                      "damp_percent",
                                                      "damp_auto_increment",
                                                      "mse",
                                                      "static_groups",
                                                      "true_sequential",
                                                      "act_group_aware",
                                                      "gptaq",
                                                      "fallback",
                                                      "hessian"};
  for (const auto& [key, value] : entry.items())
    if (std::ranges::find(known, key) == known.end())
      fail(Fault::unsupported, at, " has the unknown key ", printable(key));
  return read_scheme(entry, at, &base);
}

struct Patterns {
  std::vector<const std::string*> keys;  // of `dynamic`
  bool ordered = false;                  // as they were written, which read_quantization tells
};

Patterns patterns_of(const Json& quantization, const Json& dynamic) {
  Patterns p;
  const auto order = quantization.find("dynamic_order");
  if (order != quantization.end() && order->is_array() && order->size() == dynamic.size()) {
    for (const Json& key : *order)
      if (key.is_string() && dynamic.contains(key.get_ref<const std::string&>()))
        p.keys.push_back(&key.get_ref<const std::string&>());
    p.ordered = p.keys.size() == dynamic.size();
  }
  if (!p.ordered) {
    p.keys.clear();
    for (const auto& [key, entry] : dynamic.get_ref<const Json::object_t&>())
      p.keys.push_back(&key);
  }
  return p;
}

// The first pattern that matches wins, as in GPTQModel. Where their order is not known, those that
// match the same module must agree.
std::optional<Scheme> dynamic_scheme(const Json& quantization, const Json& dynamic,
                                     std::string_view module, const Scheme& base) {
  ensure_file(dynamic.is_object(), where, ": 'dynamic' is not an object");
  std::optional<Scheme> found;
  const std::string* first = nullptr;
  std::size_t patterns = 0;
  const Patterns all = patterns_of(quantization, dynamic);
  for (const std::string* place : all.keys) {
    const std::string& key = *place;
    const bool marked = key.starts_with("-:") || key.starts_with("+:");
    const std::string pattern = marked ? key.substr(2) : key;
    if (!exact_name(pattern) && ++patterns > most_patterns)
      fail(Fault::unsupported, where, ": 'dynamic' has more than ", most_patterns, " patterns");
    if (!matches(pattern, module)) continue;
    const std::optional<Scheme> said = overridden(key, dynamic.at(key), base);
    if (all.ordered) return said;
    if (first && said != found)
      fail(Fault::unsupported, where, ": 'dynamic': ", printable(*first), " and ", printable(key),
           " both match ", printable(module), " and differ, and which comes first is not known");
    found = said;
    first = place;
  }
  return first ? found : base;
}

const Format& format_of(const Json& j) {
  std::string name = json_string(j, "checkpoint_format", where, "");
  const std::string newer = json_string(j, "format", where, "");
  if (name.empty()) name = newer;
  ensure_file(newer.empty() || newer == name, where, ": 'checkpoint_format' is ", printable(name),
              ", but 'format' is ", printable(newer));
  if (name.empty()) name = "gptq";
  if (json_bool(j, "is_marlin_format", where, false)) name = "marlin";
  if (name != "gptq" && name != "gptq_v2" && name != "gptq_p")
    fail(Fault::unsupported, where, ": checkpoint_format ", printable(name),
         " is not read yet; known: gptq, gptq_v2, gptq_p");
  const std::string word = json_string(j, "pack_dtype", where, "int32");
  if (word != "int32")
    fail(Fault::unsupported, where, ": pack_dtype ", printable(word), " is not read; known: int32");
  return find_format(name);
}

std::optional<Scheme> scheme_of(const Json& j, std::string_view module) {
  ensure(module.size() <= longest_module, where, ": a module name of ", module.size(), " bytes");
  const Scheme base = read_scheme(j, where, nullptr);
  const auto dynamic = j.find("dynamic");
  if (dynamic == j.end() || dynamic->is_null()) return base;
  return dynamic_scheme(j, *dynamic, module, base);
}

Json describe(const DescribeArgs& a) {
  ensure(a.format != nullptr, "[gptq dialect] no format given");
  Json j{{"quant_method", "gptq"},
         {"checkpoint_format", a.format->name},
         {"bits", a.scheme.bits},
         {"group_size", a.scheme.group_size},
         {"sym", a.scheme.symmetric},
         {"desc_act", a.desc_act},
         {"static_groups", a.static_groups},
         {"true_sequential", a.true_sequential},
         {"lm_head", a.lm_head},
         {"damp_percent", a.damp_percent},
         {"pack_dtype", "int32"},
         {"modules_in_block_to_quantize", a.modules_in_block}};
  // auto-round takes the plain layout from anyone, but refuses what has `meta`; gptqmodel asks
  // `meta` for the writer of a newer one.
  if (a.format->name != "gptq") j["meta"] = {{"quantizer", Json::array({a.quantizer})}};
  if (!a.block_name.empty()) j["block_name_to_quantize"] = a.block_name;
  for (const auto& [name, scheme] : a.exceptions) {
    Json& entry = j["dynamic"][(scheme ? "+:" : "-:") + exact_pattern(name)];
    entry = Json::object();
    if (scheme)
      entry = {
          {"bits", scheme->bits}, {"group_size", scheme->group_size}, {"sym", scheme->symmetric}};
  }
  return j;
}

}  // namespace

constinit const Dialect gptq_dialect = {
    .quant_method = "gptq", .format = format_of, .scheme = scheme_of, .describe = describe};

std::optional<std::string_view> stored_zero_convention(const Tensor& qzeros, int bits) {
  if (qzeros.dtype() != DType::i32 || qzeros.size() == 0) return std::nullopt;
  // The zero point 2^(bits-1), and the same less one, in every field of a stream of words.
  const auto all_words = [&](std::uint32_t field) {
    // A row's words repeat after as many as hold whole fields: `bits` at most.
    std::vector<std::uint32_t> expected(static_cast<std::size_t>(bits));
    for (std::uint64_t bit = 0; bit < 32 * static_cast<std::uint64_t>(bits); ++bit)
      expected[bit / 32] |= (field >> bit % static_cast<std::uint64_t>(bits) & 1) << bit % 32;
    const auto words = qzeros.data<std::int32_t>();
    const auto cols = static_cast<std::size_t>(qzeros.dim(-1));
    for (std::size_t row = 0; row < words.size(); row += cols)
      for (std::size_t i = 0, k = 0; i < cols; ++i, k = k + 1 < expected.size() ? k + 1 : 0)
        if (static_cast<std::uint32_t>(words[row + i]) != expected[k]) return false;
    return true;
  };
  const std::uint32_t middle = std::uint32_t{1} << (bits - 1);
  if (all_words(middle - 1)) return "gptq";
  if (all_words(middle)) return "gptq_v2";
  return std::nullopt;
}

std::optional<Tensor> zeros_behind_borrows(const Tensor& qzeros, int bits) {
  if (qzeros.dtype() != DType::i32 || qzeros.size() == 0) return std::nullopt;
  const auto from = qzeros.data<std::int32_t>();
  Tensor whole = Tensor::raw(qzeros.shape(), DType::i32);
  const auto to = whole.data<std::int32_t>();
  bool found = false;
  if (bits == 3) {  // 32 fields in 3 words
    if (qzeros.dim(-1) % 3 != 0) return std::nullopt;
    for (std::size_t i = 0; i < from.size(); i += 3) {
      std::uint32_t in[3], out[3] = {};
      for (std::size_t w = 0; w < 3; ++w) in[w] = static_cast<std::uint32_t>(from[i + w]);
      for (unsigned bit = 0; bit < 96; bit += 3) {
        unsigned field = 0;
        for (unsigned b = bit; b < bit + 3; ++b) field |= (in[b / 32] >> b % 32 & 1) << (b - bit);
        found = found || field == 7;
        field = (field + 1) % 8;
        for (unsigned b = bit; b < bit + 3; ++b) out[b / 32] |= (field >> (b - bit) & 1) << b % 32;
      }
      for (std::size_t w = 0; w < 3; ++w) to[i + w] = static_cast<std::int32_t>(out[w]);
    }
  } else {
    if (bits != 2 && bits != 4 && bits != 8) return std::nullopt;
    std::uint32_t ones = 0;  // a 1 in each field
    for (int bit = 0; bit < 32; bit += bits) ones |= std::uint32_t{1} << bit;
    const std::uint32_t top = (std::uint32_t{1} << bits) - 1;
    for (std::size_t i = 0; i < from.size(); ++i) {
      const auto word = static_cast<std::uint32_t>(from[i]);
      for (int bit = 0; bit < 32; bit += bits) found = found || (word >> bit & top) == top;
      to[i] = static_cast<std::int32_t>(word + ones);
    }
  }
  return found ? std::optional(whole) : std::nullopt;
}

}  // namespace quaver
