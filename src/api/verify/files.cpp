// Checks of files: their names, the index, the manifest.
#include <algorithm>

#include "api/verify/check.h"
#include "core/error.h"
#include "core/file.h"
#include "io/manifest.h"
#include "io/safetensors_header.h"
#include "io/shard_index.h"
#include "text/tokenizer.h"

namespace quaver::verify {
namespace {

bool has(const Subject& s, std::string_view name) {
  return std::ranges::binary_search(s.names, name, {},
                                    [](const std::string& n) { return std::string_view(n); });
}

void check_files(const Subject& s, Findings& f) {
  const std::string chosen = s.weights.single.empty() ? s.weights.index : s.weights.single;
  const bool usual = chosen.starts_with("model.") || chosen.starts_with("pytorch_model.");
  if (!chosen.empty() && !usual)
    f.add({.severity = Severity::warning,
           .subject = chosen,
           .problem = "is a name that transformers does not look for",
           .expected = "model.safetensors, or model.safetensors.index.json",
           .readers = "transformers"});
  if (has(s, "model.safetensors") && has(s, shard_index_file))
    f.add({.severity = Severity::warning,
           .subject = std::string(shard_index_file),
           .problem = "lies beside model.safetensors, and both claim the weights",
           .expected = "one of them",
           .readers = "transformers takes model.safetensors, others the index"});
  for (const WeightFile& file : s.files) {
    if (!file.name.ends_with(".safetensors")) continue;
    const auto format = file.metadata.find("format");
    if (format == file.metadata.end() || format->second != "pt")
      f.add({.severity = Severity::warning,
             .subject = file.name,
             .problem = "has no \"format\": \"pt\" in its metadata",
             .expected = R"("__metadata__": {"format": "pt"})",
             .readers = "transformers"},
            "format");
  }
  if (!Tokenizer::file_in(s.directory))
    f.add({.severity = Severity::note,
           .subject = "tokenizer",
           .problem = "there is none: only token ids can be given",
           .expected = "tokenizer.json or another tokenizer file"});
}

// weight_map against what the files hold.
void check_places(const Subject& s, const ShardIndex& index, Findings& f) {
  for (const auto& [file, names] : index.files) {
    if (!has(s, file)) {
      f.add({.subject = file,
             .problem = text("is missing; the index places ", names.size(), " tensors there")},
            "file");
      continue;
    }
    for (const std::string& name : names) {
      const TensorInfo* found = s.find(name);
      if (found && found->file == file) continue;
      f.add({.subject = printable(name),
             .problem = text("is not in ", file, ", where the index places it",
                             found ? text(", but in ", found->file) : std::string())},
            "place");
    }
  }
  for (const auto& [name, place] : s.tensors) {
    const auto listed = index.files.find(place.info->file);
    if (listed == index.files.end() || !listed->second.contains(name))
      f.add({.subject = printable(name),
             .problem = text("stands in ", place.info->file, ", which the index does not say"),
             .expected = "an entry of weight_map"},
            "unlisted");
  }
}

void check_index(const Subject& s, Findings& f) {
  if (s.weights.index.empty()) return;
  const std::string where = (s.directory / s.weights.index).string();
  const std::string content = read_file(where, max_index_bytes);
  const bool torch = s.weights.index.ends_with(".bin.index.json");
  ShardIndex index;
  Json root;
  try {
    index = parse_shard_index(content, where, torch ? ".bin" : ".safetensors");
    root = parse_json(content, where);
  } catch (const Error&) {
    return;  // said when it was read
  }
  check_places(s, index, f);
  for (const std::string& name : s.names)
    if (name.ends_with(".safetensors") && !torch && !index.files.contains(name))
      f.add({.severity = Severity::warning,
             .subject = name,
             .problem = "is not in the index",
             .expected = "no other file of weights",
             .readers = "readers that load every *.safetensors"},
            "stray");
  std::uint64_t bytes = 0;
  for (const auto& [name, place] : s.tensors)
    if (place.info->foreign_dtype.empty())
      bytes += static_cast<std::uint64_t>(place.info->shape.size()) * size_of(place.info->dtype);
  const auto metadata = root.find("metadata");
  const Json size = metadata != root.end() && metadata->is_object()
                        ? metadata->value("total_size", Json())
                        : Json();
  if (!torch && (!size.is_number() || size.get<double>() != static_cast<double>(bytes)))
    f.add({.severity = Severity::warning,
           .subject = s.weights.index,
           .problem = text("metadata.total_size is ",
                           size.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 64)),
           .expected = text(bytes, " bytes"),
           .readers = "programs that plan memory by it"});
}

void report(const std::vector<HashProblem>& problems, const char* what, Findings& f) {
  for (const HashProblem& p : problems)
    f.add({.subject = p.file,
           .problem = text(what, " of the manifest: found ", p.found),
           .expected = p.expected});
}

void check_manifest(const Subject& s, Findings& f) {
  if (!has(s, manifest_file)) return;
  Manifest found;
  try {
    found = read_manifest(s.directory);
  } catch (const Error& e) {
    f.add({.subject = std::string(manifest_file), .problem = e.what(), .readers = "quaver"});
    return;
  }
  report(check_hashes(found.outputs, s.directory), "output", f);
  for (const WeightFile& file : s.files)
    if (!found.outputs.contains(file.name))
      f.add({.severity = Severity::warning,
             .subject = file.name,
             .problem = "is not in the manifest",
             .expected = "an entry of its outputs",
             .readers = "quaver"});
  if (!s.options.inputs.empty())
    report(check_hashes(found.inputs, s.options.inputs), "input", f);
  else if (!found.inputs.empty())
    f.add({.severity = Severity::note,
           .subject = std::string(manifest_file),
           .problem = text("its ", found.inputs.size(), " inputs are not hashed again"),
           .expected = "--inputs DIR, the directory that holds them"});
}

}  // namespace

extern const Check files, index, manifest;

constinit const Check files = {.name = "files",
                               .summary = "names of the weight files, their metadata, a tokenizer",
                               .run = check_files};
constinit const Check index = {
    .name = "index", .summary = "weight_map and total_size against the files", .run = check_index};
constinit const Check manifest = {.name = "manifest",
                                  .summary = "sizes and SHA-256 against quaver-manifest.json",
                                  .run = check_manifest};

}  // namespace quaver::verify
