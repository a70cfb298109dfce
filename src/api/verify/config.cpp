// Checks of the configuration: what readers need to find there, and whether it agrees with itself.
#include <algorithm>
#include <array>

#include "api/verify/check.h"
#include "core/error.h"
#include "io/safetensors_header.h"

namespace quaver::verify {
namespace {

constexpr const char* section = "quantization_config";

std::string shown(const Json& value) {
  const std::string s = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return s.size() > 60 ? s.substr(0, 57) + "..." : s;
}

// --- Two configurations that should be one -------------------------------------------------------

void check_agreement(const Subject& s, Findings& f) {
  if (s.config.is_null()) return;
  const auto inside = s.config.find(section);
  const bool is_inside = inside != s.config.end() && inside->is_object();
  if (!s.beside.is_null() && !is_inside)
    f.add({.severity = Severity::warning,
           .subject = "config.json",
           .problem = "has no quantization_config; only quantize_config.json tells of it",
           .expected = "the same object in both",
           .readers = "transformers"});
  if (s.beside.is_null() || !is_inside) return;
  // What decides how the numbers are read; the rest tells how they came about.
  constexpr std::array deciding = {"bits",       "group_size", "sym",          "checkpoint_format",
                                   "format",     "desc_act",   "quant_method", "dynamic",
                                   "pack_dtype", "lm_head"};
  for (const auto& [key, value] : inside->items()) {
    const auto other = s.beside.find(key);
    if (other == s.beside.end() || *other == value) continue;
    const bool decides = std::ranges::find(deciding, key) != deciding.end();
    f.add({.severity = decides ? Severity::error : Severity::warning,
           .subject = printable(key),
           .problem = text("is ", shown(value), " in config.json and ", shown(*other),
                           " in quantize_config.json"),
           .expected = "the same in both",
           .readers = "some read the one, some the other"},
          key);
  }
}

// --- Keys ----------------------------------------------------------------------------------------

struct Key {
  const char* name;
  Json::value_t type;
  Severity missing;
  std::string_view expected, readers;
};
constexpr std::array known_keys = {
    Key{"quant_method", Json::value_t::string, Severity::error, "\"gptq\"", "transformers, vLLM"},
    Key{"bits", Json::value_t::number_integer, Severity::error, "2 to 8", ""},
    Key{"group_size", Json::value_t::number_integer, Severity::error, "-1 or a positive number",
        ""},
    Key{"desc_act", Json::value_t::boolean, Severity::warning, "true or false",
        "vLLM chooses its fast kernels by it"},
    Key{"sym", Json::value_t::boolean, Severity::warning, "true or false",
        "vLLM chooses its fast kernels by it"},
    Key{"checkpoint_format", Json::value_t::string, Severity::note, "gptq, gptq_v2 or gptq_p",
        "readers take gptq where it is absent"}};

bool is_of(const Json& value, Json::value_t type) {
  return type == Json::value_t::number_integer ? value.is_number_integer() : value.type() == type;
}

// The configuration as it is written, without what read_quantization fills in.
const Json& as_written(const Subject& s) {
  const auto inside = s.config.is_object() ? s.config.find(section) : s.config.end();
  if (s.config.is_object() && inside != s.config.end() && inside->is_object()) return *inside;
  return s.beside.is_null() ? s.quantization : s.beside;
}

// `early`: quantize_config.json alone, whose readers take gptq where no method is named.
void check_presence(const Json& q, bool early, Findings& f) {
  for (const Key& key : known_keys) {
    const auto found = q.find(key.name);
    const bool assumed = early && std::string_view(key.name) == "quant_method";
    const bool synonym = (std::string_view(key.name) == "bits" && q.contains("w_bit")) ||
                         (std::string_view(key.name) == "group_size" && q.contains("q_group_size"));
    if (found == q.end() || found->is_null())
      f.add({.severity = synonym || assumed ? Severity::warning : key.missing,
             .subject = key.name,
             .problem = synonym ? "is missing under its usual name" : "is missing",
             .expected = std::string(key.expected),
             .readers = std::string(key.readers)},
            key.name);
    else if (!is_of(*found, key.type))
      f.add({.subject = key.name,
             .problem = text("is ", shown(*found)),
             .expected = std::string(key.expected)},
            key.name);
  }
}

// What is legal, and not read by everyone.
void check_reach(const Subject& s, const Json& q, Findings& f) {
  const auto warn = [&](const char* subject, std::string problem, std::string expected,
                        std::string readers) {
    f.add(
        {Severity::warning, subject, std::move(problem), std::move(expected), std::move(readers)});
  };
  const bool planar = s.format->name == "gptq_p";
  if (planar)
    warn("checkpoint_format", "is gptq_p, bit planes",
         "gptq, or compressed-tensors for 5 and 6 bits", "only GPTQModel and quaver read it");
  bool asymmetric = false;
  for (const PackedModule& m : s.packed) {
    if (!m.scheme) continue;
    const auto& [bits, group, symmetric] = *m.scheme;
    asymmetric = asymmetric || !symmetric;
    if (!planar && ((bits != 4 && bits != 8) || !symmetric))
      f.add({.severity = Severity::note,
             .subject = m.name,
             .problem = text("has ", bits, " bits, ", symmetric ? "symmetric" : "asymmetric"),
             .expected = "4 or 8 bits, symmetric",
             .readers = "vLLM: its loader of 2026 takes no others"});
    if (!planar && group != -1 && group != 32 && group != 64 && group != 128)
      f.add({.severity = Severity::note,
             .subject = m.name,
             .problem = text("has group_size ", group),
             .expected = "-1, 32, 64 or 128",
             .readers = "vLLM's fast kernels"});
  }
  const std::string meta = q.contains("meta")
                               ? q["meta"].dump(-1, ' ', false, Json::error_handler_t::replace)
                               : std::string();
  if (s.format->name == "gptq" && asymmetric && meta.find("gptqmodel:") == std::string::npos)
    warn("checkpoint_format", "is gptq (v1) with asymmetric weights", "gptq_v2",
         "GPTQModel refuses it from other writers");
  const auto dynamic = q.find("dynamic");
  if (dynamic == q.end() || !dynamic->is_object()) return;
  for (const auto& [pattern, entry] : dynamic->items())
    if (!pattern.starts_with("-:"))
      return warn("dynamic", "gives some modules another scheme", "one scheme for all",
                  "transformers ignores it");
}

// --- Which linears are packed, and which ones the configuration says ----------------------------

std::vector<std::string> listed_modules(const Json& q) {
  std::vector<std::string> names;
  const auto list = q.find("modules_in_block_to_quantize");
  if (list == q.end() || !list->is_array()) return names;
  for (const Json& entry : *list) {
    if (entry.is_string()) names.push_back(entry);
    if (!entry.is_array()) continue;
    for (const Json& name : entry)
      if (name.is_string()) names.push_back(name);
  }
  return names;
}

void check_coverage(const Subject& s, const Json& q, Findings& f) {
  const std::vector<std::string> listed = listed_modules(q);
  const auto is_listed = [&](const std::string& module) {
    return std::ranges::any_of(listed,
                               [&](const auto& name) { return is_last_name(module, name); });
  };
  for (const auto& [name, size] : s.linears) {
    if (size.head || s.blocks.empty()) continue;
    const bool packed = s.find(name + ".qweight"), plain = s.find(name + ".weight");
    if (packed == plain) continue;  // both, or of another name in the file
    if (plain && listed.empty())
      f.add({.severity = Severity::warning,
             .subject = name,
             .problem = "is plain, and modules_in_block_to_quantize does not say so",
             .expected = "the list of the linears that are packed",
             .readers = "transformers takes every linear of a block for packed"});
    else if (!listed.empty() && packed != is_listed(name))
      f.add({.severity = Severity::warning,
             .subject = name,
             .problem = packed ? "is packed, but not in modules_in_block_to_quantize"
                               : "is plain, but in modules_in_block_to_quantize",
             .expected = "the list of the linears that are packed",
             .readers = "transformers, vLLM"});
  }
  constexpr std::array found_by_itself = {"transformer.h", "model.decoder.layers",
                                          "gpt_neox.layers", "model.layers"};
  if (!s.blocks.empty() && !q.contains("block_name_to_quantize") &&
      std::ranges::find(found_by_itself, s.blocks) == found_by_itself.end())
    f.add({.severity = Severity::warning,
           .subject = "block_name_to_quantize",
           .problem = "is missing",
           .expected = text('"', s.blocks, '"'),
           .readers = "transformers does not find this family's blocks without it"});
  const bool says_head = q.contains("lm_head") && q["lm_head"].is_boolean() && q["lm_head"];
  const bool has_head = s.find("lm_head.qweight") || s.find("embed_out.qweight") ||
                        std::ranges::any_of(s.linears, [&](const auto& entry) {
                          return entry.second.head && s.find(entry.first + ".qweight");
                        });
  if (says_head != has_head && !s.packed.empty())
    f.add({.subject = "lm_head",
           .problem = has_head ? "is not true, but the head is packed"
                               : "is true, but the head is not packed",
           .expected = has_head ? "true" : "false",
           .readers = "vLLM"});
}

void check_keys(const Subject& s, Findings& f) {
  if (s.quantization.is_null()) {
    if (!s.packed.empty())
      f.add({.subject = s.packed.front().name,
             .problem = "is packed, but no configuration tells how",
             .expected = "quantization_config in config.json"});
    return;
  }
  const Json& q = as_written(s);
  const auto method = s.quantization.find("quant_method");
  if (method != s.quantization.end() && *method != gptq_dialect.quant_method) return;
  check_presence(q, &q == &s.beside, f);
  if (!s.dialect) return;  // said when it was read
  if (s.packed.empty()) {
    f.add({.subject = section,
           .problem = "tells of packed linears, but no tensor is one",
           .expected = "tensors *.qweight"});
    return;
  }
  check_reach(s, q, f);
  check_coverage(s, q, f);
}

}  // namespace

extern const Check agreement, keys;

constinit const Check agreement = {.name = "agreement",
                                   .summary = "config.json against quantize_config.json",
                                   .run = check_agreement};
constinit const Check keys = {.name = "keys",
                              .summary = "the keys that transformers, vLLM and GPTQModel need",
                              .run = check_keys};

}  // namespace quaver::verify
