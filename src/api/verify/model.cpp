// Checks against the model family, and of what stands beside the packed linears.
#include "loading/model.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "api/verify/check.h"
#include "core/error.h"

namespace quaver::verify {
namespace {

// What loading says of names and shapes, a line a finding.
void check_family(const Subject& s, Findings& f) {
  if (s.family.empty() || s.tensors.empty()) return;
  if (!s.quantization.is_null() && !s.dialect && !s.encoded) return;  // not known here
  try {
    open_model(s.directory, {.file = s.options.arch_file});
  } catch (const Error& e) {
    const std::string what = e.what();
    std::size_t line = what.find("\n  ");
    if (what.starts_with((s.directory / s.weights.index).string()) && !s.weights.index.empty())
      return;  // the check of the index says so
    if (line == std::string::npos) {
      f.add({.subject = s.family, .problem = what, .readers = "quaver"});
      return;
    }
    while (line != std::string::npos) {
      const std::size_t next = what.find("\n  ", line + 3);
      f.add({.subject = s.family,
             .problem = what.substr(line + 3, next == std::string::npos ? next : next - line - 3),
             .expected = "the tensors of this family, each in its shape"});
      line = next;
    }
  }
}

void check_values(const Subject& s, Findings& f) {
  for (const auto& [name, place] : s.tensors) {
    if (!place.info->foreign_dtype.empty() || name.ends_with(".scales")) continue;
    const std::int64_t bad = count_non_finite(s.read(name));
    if (bad > 0)
      f.add({.subject = name,
             .problem = text(bad, " of ", place.info->shape.size(), " values are NaN or infinite"),
             .expected = "finite numbers"},
            "values");
  }
}

// --- Linears that some readers fuse --------------------------------------------------------------

struct FusedName {
  std::string_view whole;
  std::array<std::string_view, 3> parts;
};
constexpr std::array fused_names = {FusedName{"qkv_proj", {"q_proj", "k_proj", "v_proj"}},
                                    FusedName{"gate_up_proj", {"gate_proj", "up_proj"}},
                                    FusedName{"w13", {"w1", "w3"}}};

bool same_order(const Subject& s, const PackedModule& a, const PackedModule& b) {
  if (!a.g_idx || !b.g_idx || a.inputs != b.inputs) return true;
  const Tensor x = s.read(a.g_idx->name), y = s.read(b.g_idx->name);
  return std::memcmp(x.host(), y.host(), x.bytes()) == 0;
}

void check_fusion(const Subject& s, Findings& f) {
  std::map<std::string_view, const PackedModule*> packed;
  for (const PackedModule& m : s.packed) packed.emplace(m.name, &m);
  for (const PackedModule& m : s.packed) {
    for (const FusedName& fused : fused_names) {
      // Each set is looked at once, from its first packed part.
      const std::string before = m.name.substr(0, m.name.rfind('.') + 1);
      const PackedModule* first = nullptr;
      for (const std::string_view part : fused.parts) {
        const auto found = packed.find(before + std::string(part));
        if (!first && !part.empty() && found != packed.end()) first = found->second;
      }
      if (first != &m) continue;
      for (const std::string_view part : fused.parts) {
        const std::string name = before + std::string(part);
        if (part.empty() || name == m.name) continue;
        const auto other = packed.find(name);
        std::string problem;
        if (other == packed.end())
          problem = s.find(name + ".weight") ? text(part, " is plain beside it") : std::string();
        else if (other->second->scheme != m.scheme)
          problem = text(part, " has another scheme");
        else if (m.sound() && other->second->sound() && !same_order(s, m, *other->second))
          problem = text(part, " has another order of columns");
        if (!problem.empty())
          f.add({.severity = Severity::warning,
                 .subject = m.name,
                 .problem = problem,
                 .expected = text("one scheme and order for all of ", fused.whole),
                 .readers = "vLLM fuses them"});
      }
    }
  }
}

// --- A head that is the embedding ----------------------------------------------------------------

bool same_bytes(const Subject& s, std::string_view a, std::string_view b) {
  const TensorInfo *x = s.find(a), *y = s.find(b);
  if (x->dtype != y->dtype || x->shape != y->shape || !x->foreign_dtype.empty()) return false;
  const Tensor left = s.read(a), right = s.read(b);
  return std::memcmp(left.host(), right.host(), left.bytes()) == 0;
}

void check_head(const Subject& s, Findings& f) {
  if (s.family.empty() || !s.tied_head) return;
  for (const std::string head : {"lm_head", "embed_out"}) {
    if (s.find(head + ".qweight"))
      f.add({.subject = head,
             .problem = "is packed, although the configuration ties it to the embedding",
             .expected = "\"tie_word_embeddings\": false",
             .readers = "readers that tie it drop the packed weight"});
    if (!s.find(head + ".weight")) continue;
    constexpr std::array tables = {
        "model.embed_tokens.weight", "model.decoder.embed_tokens.weight",
        "transformer.wte.weight",    "transformer.word_embeddings.weight",
        "gpt_neox.embed_in.weight",  "word_embeddings.weight"};
    for (const char* table : tables) {
      if (!s.find(table)) continue;
      if (same_bytes(s, head + ".weight", table))
        f.add({.severity = Severity::note,
               .subject = head + ".weight",
               .problem = "repeats the embedding that it is tied to",
               .expected = "no such tensor: it costs space alone"});
      else
        f.add({.severity = Severity::warning,
               .subject = head + ".weight",
               .problem = text("differs from ", table, ", to which the configuration ties it"),
               .expected = "\"tie_word_embeddings\": false, if the head is meant",
               .readers = "readers that tie it ignore it"});
    }
  }
}

// --- Tensor parallelism --------------------------------------------------------------------------

constexpr std::array<std::int64_t, 3> rank_counts = {2, 4, 8};

struct Split {
  bool inputs = false;  // else outputs
  std::vector<std::int64_t> ranks;
  std::string reason;  // why the others cannot be
};

// Linears whose outputs are summed over the ranks: each rank has a part of their inputs.
bool splits_inputs(std::string_view module) {
  constexpr std::array names = {"o_proj",    "out_proj", "dense",    "dense_4h_to_h",
                                "down_proj", "fc2",      "c_proj",   "wo",
                                "w2",        "fc_out",   "attn.out", "proj_2"};
  return std::ranges::any_of(names, [&](const char* name) { return is_last_name(module, name); });
}

std::string why_not(const PackedModule& m, bool inputs, bool ordered, std::int64_t ranks) {
  const int bits = m.scheme->bits;
  const std::int64_t unit = bits == 2 || bits == 4 || bits == 8 ? 32 / bits : 32;
  const std::int64_t all = inputs ? m.inputs : m.outputs;
  const char* what = inputs ? "inputs" : "outputs";
  if (all % ranks != 0) return text(all, " ", what, " over ", ranks, " ranks");
  const std::int64_t each = all / ranks;
  if (each % unit != 0)
    return text(each, " ", what, " a rank are no multiple of ", unit, ", a packed word's");
  if (inputs && m.scheme->group_size > 0 && each % m.scheme->group_size != 0)
    return text(each, " inputs a rank are no multiple of group_size ", m.scheme->group_size);
  if (inputs && ordered) return "act-order groups go across ranks";
  return {};
}

Split split_of(const Subject& s, const PackedModule& m) {
  Split split{.inputs = splits_inputs(m.name)};
  bool ordered = false;
  if (split.inputs && m.g_idx && m.scheme->group_size > 0) {
    const Tensor index = s.read(m.g_idx->name);
    const auto groups = index.data<std::int32_t>();
    bool any = false;  // all zeros are taken for consecutive groups
    for (std::int64_t k = 0; k < m.inputs; ++k) {
      const std::int32_t group = groups[static_cast<std::size_t>(k)];
      any = any || group != 0;
      ordered = ordered || group != k / m.scheme->group_size;
    }
    ordered = ordered && any;
  }
  for (const std::int64_t ranks : rank_counts) {
    const std::string why = why_not(m, split.inputs, ordered, ranks);
    if (why.empty())
      split.ranks.push_back(ranks);
    else if (split.reason.empty())
      split.reason = text(ranks, " ranks: ", why);
  }
  return split;
}

void check_parallel(const Subject& s, Findings& f) {
  const Json groups = tensor_parallel(s);
  for (const Json& group : groups) {
    if (group["reason"].is_null()) continue;
    std::string ranks;
    for (const Json& r : group["ranks"]) ranks += text(ranks.empty() ? "" : ", ", r.dump());
    f.add({.severity = Severity::note,
           .subject = text("*.", group["linears"].get<std::string>()),
           .problem = text(group["shape"].dump(),
                           ranks.empty() ? " cannot be split over " : " can be split over ",
                           ranks.empty() ? std::string() : text(ranks, " ranks, not over "),
                           group["reason"].get<std::string>()),
           .readers = "engines that run it tensor-parallel"});
  }
}

}  // namespace

Json tensor_parallel(const Subject& s) {
  // Layers are alike: one row for the linears of the same last name, shape and scheme.
  std::map<std::string, Json> rows;
  for (const PackedModule& m : s.packed) {
    if (!m.sound()) continue;
    const Split split = split_of(s, m);
    const std::string last = m.name.substr(m.name.rfind('.') + 1);
    const std::string key = text(last, ' ', m.outputs, ' ', m.inputs, ' ', m.scheme->bits, ' ',
                                 m.scheme->group_size, ' ', split.ranks.size());
    Json& row = rows[key];
    if (row.is_null())
      row = {{"linears", last},
             {"count", 0},
             {"shape", {m.outputs, m.inputs}},
             {"split", split.inputs ? "inputs" : "outputs"},
             {"ranks", split.ranks},
             {"reason", split.reason.empty() ? Json() : Json(split.reason)}};
    row["count"] = row["count"].get<std::int64_t>() + 1;
  }
  Json list = Json::array();
  for (auto& [key, row] : rows) list.push_back(std::move(row));
  return list;
}

extern const Check family, values, fusion, head, parallel;

constinit const Check family = {
    .name = "family", .summary = "names and shapes against the model family", .run = check_family};
constinit const Check values = {
    .name = "values", .summary = "plain tensors: finite", .run = check_values};
constinit const Check fusion = {.name = "fusion",
                                .summary = "q, k, v and gate, up: one scheme, one order",
                                .run = check_fusion};
constinit const Check head = {
    .name = "head", .summary = "a head tied to the embedding", .run = check_head};
constinit const Check parallel = {
    .name = "parallel", .summary = "packed layouts over 2, 4 and 8 ranks", .run = check_parallel};

}  // namespace quaver::verify
