// Reads a checkpoint directory as far as it can be read.
#include <algorithm>
#include <utility>

#include "api/verify/check.h"
#include "core/error.h"
#include "core/file.h"
#include "core/mapped_file.h"
#include "io/encoding.h"
#include "io/hf_directory.h"
#include "io/safetensors_header.h"
#include "io/shard_index.h"
#include "models/arch_file.h"

namespace quaver::verify {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view packed_ending = ".qweight";

// The message of `e` without the path that it begins with.
std::string without(const std::string& path, const std::string& message) {
  const bool begins = message.starts_with(path + ": ");
  return begins ? message.substr(path.size() + 2) : message;
}

Json object_of(Subject& s, const std::string& name, bool needed) {
  if (!std::ranges::binary_search(s.names, name)) {
    if (needed)
      s.troubles.push_back({.subject = name, .problem = "is missing", .expected = "a JSON object"});
    return nullptr;
  }
  const std::string path = (s.directory / name).string();
  try {
    Json value = read_json_file(path, {.bytes = 16'000'000, .depth = 64});
    ensure_file(value.is_object(), path, ": holds ", value.type_name(), ", no object");
    return value;
  } catch (const Error& e) {
    s.troubles.push_back({.subject = name, .problem = without(path, e.what())});
    return nullptr;
  }
}

// Where it is not, the check of keys says so.
bool is_number(const Subject& s, const char* key) {
  const auto found = s.quantization.find(key);
  return found != s.quantization.end() && found->is_number_integer();
}

void read_settings(Subject& s) {
  s.config = object_of(s, "config.json", true);
  s.beside = object_of(s, "quantize_config.json", false);
  try {
    s.quantization = read_quantization(s.directory, s.config.is_null() ? Json::object() : s.config);
    s.encoded = find_encoding(s.quantization) != nullptr;
    if (s.quantization.is_null() || s.encoded) return;
    s.dialect = find_dialect(s.quantization);
    s.format = &s.dialect->format(s.quantization);
    s.dialect->scheme(s.quantization, "model.layers.0.self_attn.q_proj");
  } catch (const Error& e) {
    if (e.fault == Fault::unsupported)
      s.troubles.push_back({.severity = Severity::warning,
                            .subject = "quantization_config",
                            .problem = without("quantization_config", e.what()),
                            .expected = "a scheme that quaver knows; what depends on it is not "
                                        "checked",
                            .readers = "quaver"});
    else if (s.quantization.is_null() || (is_number(s, "bits") && is_number(s, "group_size")))
      s.troubles.push_back({.subject = "quantization_config", .problem = e.what()});
    s.dialect = nullptr;
    s.format = nullptr;
  }
}

void open_file(Subject& s, const std::string& name) {
  WeightFile file{.name = name};
  const fs::path path = s.directory / name;
  try {
    file.bytes = fs::file_size(path);
    if (path.extension() == ".bin") {
      file.source = open_torch_file(path);
    } else {
      const auto mapped = MappedFile::open(path);
      file.metadata =
          parse_safetensors_header(mapped->bytes(), mapped->size(), path.string()).metadata;
      file.source = open_safetensors(path);
    }
    for (const TensorInfo& info : file.source->tensors()) {
      const bool fresh = s.tensors.try_emplace(info.name, Place{&info, file.source.get()}).second;
      if (!fresh)
        s.troubles.push_back(
            {.subject = printable(info.name),
             .problem = text("stands in ", name, " and in ", s.tensors.at(info.name).info->file),
             .expected = "one place"});
    }
    s.files.push_back(std::move(file));
  } catch (const Error& e) {
    s.troubles.push_back({.subject = name, .problem = without(path.string(), e.what())});
  } catch (const fs::filesystem_error& e) {
    s.troubles.push_back({.subject = name, .problem = e.code().message()});
  }
}

void open_weights(Subject& s) {
  try {
    s.weights = find_weights(s.directory);
    if (!s.weights.single.empty()) return open_file(s, s.weights.single);
    if (s.weights.index.empty()) {
      s.troubles.push_back({.subject = "weights",
                            .problem = "no file of weights",
                            .expected = "model.safetensors, or model.safetensors.index.json"});
      return;
    }
    const std::string where = (s.directory / s.weights.index).string();
    const bool torch = s.weights.index.ends_with(".bin.index.json");
    const ShardIndex index = parse_shard_index(read_file(where, max_index_bytes), where,
                                               torch ? ".bin" : ".safetensors");
    for (const auto& [file, unused] : index.files)
      if (std::ranges::binary_search(s.names, file)) open_file(s, file);
  } catch (const Error& e) {
    s.troubles.push_back({.subject = s.weights.index.empty() ? "weights" : s.weights.index,
                          .problem = without((s.directory / s.weights.index).string(), e.what())});
  }
}

// The linears that the family has, by the names that its checkpoints use.
class LinearSizes final : public Visitor {
 public:
  LinearSizes(std::map<std::string, LinearSize>& found, bool head) : found_(found), head_(head) {}
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    found_.emplace(name, LinearSize{l.outputs, l.inputs, head_, l.keep_precision});
  }

 private:
  std::map<std::string, LinearSize>& found_;
  bool head_;
};

void find_family(Subject& s) {
  if (s.config.is_null()) return;
  try {
    ArchSearch search{.file = s.options.arch_file};
    if (search.file.empty() && fs::is_regular_file(s.directory / arch_file_name))
      search.file = s.directory / arch_file_name;
    const FoundArch found = find_model(s.config, search);
    LinearSizes blocks(s.linears, false), ends(s.linears, true);
    for (int i = 0; i < found.config.layers; ++i)
      blocks(text(found.arch->blocks, '.', i), *found.arch->block(found.config, i));
    found.arch->ends(found.config)->visit(ends);
    s.family = found.arch->name;
    s.blocks = found.arch->blocks;
    s.tied_head = found.config.tied_head;
  } catch (const Error& e) {
    s.troubles.push_back(
        {.severity = e.fault == Fault::unsupported ? Severity::warning : Severity::error,
         .subject = "config.json",
         .problem = e.what(),
         .expected = "a model family that quaver knows; names and shapes of "
                     "tensors are not checked against it",
         .readers = e.fault == Fault::unsupported ? "quaver" : ""});
    s.linears.clear();
  }
}

// --- Packed modules ------------------------------------------------------------------------------

void misfit(PackedModule& m, const TensorInfo* tensor, std::string problem, std::string expected) {
  m.misfits.push_back({.subject = tensor ? tensor->name : m.name,
                       .problem = std::move(problem),
                       .expected = std::move(expected)});
}

void check_type(PackedModule& m, const TensorInfo* tensor, std::initializer_list<DType> allowed,
                int rank) {
  if (!tensor) return;
  std::string names;
  for (const DType d : allowed) names += text(names.empty() ? "" : ", ", d);
  const bool known = tensor->foreign_dtype.empty() &&
                     std::find(allowed.begin(), allowed.end(), tensor->dtype) != allowed.end();
  if (!known)
    misfit(m, tensor,
           text("holds ", tensor->foreign_dtype.empty() ? std::string(name_of(tensor->dtype))
                                                        : tensor->foreign_dtype),
           names);
  if (tensor->shape.rank() != rank)
    misfit(m, tensor, text("has ", tensor->shape.rank(), " dimensions"), text(rank));
}

// Outputs and inputs, as the family has them or as the tensors say.
void size_of_module(const Subject& s, PackedModule& m) {
  const auto known = s.linears.find(m.name);
  if (known != s.linears.end()) {
    m.outputs = known->second.outputs;
    m.inputs = known->second.inputs;
    return;
  }
  m.outputs = m.scales->shape[1];
  if (m.g_idx)
    m.inputs = m.g_idx->shape[0];
  else if (m.scheme && m.qweight->shape[0] < std::int64_t{1} << 40)
    m.inputs = m.qweight->shape[0] * 32 / m.scheme->bits;
}

// What is wrong with the parts of a module, before any of them is read.
void check_parts(const Subject& s, PackedModule& m) {
  for (const auto& [part, tensor] : {std::pair{"qzeros", m.qzeros}, std::pair{"scales", m.scales}})
    if (!tensor) misfit(m, nullptr, text(part, " is missing"), "qweight, qzeros, scales, g_idx");
  check_type(m, m.qweight, {DType::i32}, 2);
  check_type(m, m.qzeros, {DType::i32}, 2);
  check_type(m, m.scales, {DType::f16, DType::bf16, DType::f32}, 2);
  check_type(m, m.g_idx, {DType::i32}, 1);
  if (!m.misfits.empty() || !m.scheme || !s.format) return;
  size_of_module(s, m);
  constexpr std::int64_t most = std::int64_t{1} << 31;
  const bool sane = m.outputs > 0 && m.inputs > 0 && m.outputs < most && m.inputs < most;
  const std::string why =
      sane ? s.format->unreadable(*m.scheme, m.outputs, m.inputs) : std::string("has no sane size");
  if (!why.empty()) return misfit(m, m.qweight, why, text("what ", s.format->name, " can hold"));
  for (const PartInfo& part : s.format->parts(*m.scheme, m.outputs, m.inputs)) {
    const TensorInfo* tensor = s.find(text(m.name, '.', part.name));
    if (tensor && tensor->shape != part.shape)
      misfit(m, tensor, text("has shape ", tensor->shape),
             text(part.shape, " for ", m.outputs, " outputs, ", m.inputs, " inputs, ",
                  m.scheme->bits, " bits, group_size ", m.scheme->group_size));
  }
}

void find_packed(Subject& s) {
  for (const auto& [name, place] : s.tensors) {
    if (!name.ends_with(packed_ending)) continue;
    PackedModule m{.name = name.substr(0, name.size() - packed_ending.size())};
    m.qweight = place.info;
    m.qzeros = s.find(m.name + ".qzeros");
    m.scales = s.find(m.name + ".scales");
    m.g_idx = s.find(m.name + ".g_idx");
    if (s.dialect) {
      try {
        m.scheme = s.dialect->scheme(s.quantization, m.name);
        if (!m.scheme)
          misfit(m, nullptr, "is packed, although 'dynamic' leaves it out", "a plain weight");
      } catch (const Error& e) {
        misfit(m, nullptr, e.what(), "");
      }
    }
    if (m.misfits.empty()) check_parts(s, m);
    s.packed.push_back(std::move(m));
  }
}

}  // namespace

const TensorInfo* Subject::find(std::string_view name) const {
  const auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : it->second.info;
}

Tensor Subject::read(std::string_view name) const {
  const auto it = tensors.find(name);
  ensure(it != tensors.end(), "[verify] no tensor ", name);
  return it->second.source->read(name);
}

Packed Subject::weight(const PackedModule& module) const {
  Packed p{
      .format = format, .scheme = *module.scheme, .rows = module.outputs, .cols = module.inputs};
  for (const PartInfo& part : format->parts(p.scheme, p.rows, p.cols))
    if (const std::string name = text(module.name, '.', part.name); find(name))
      p.parts.emplace(part.name, read(name));
  return p;
}

bool is_last_name(std::string_view module, std::string_view name) {
  return module == name ||
         (module.ends_with(name) && module[module.size() - name.size() - 1] == '.');
}

Subject examine(const fs::path& directory, const VerifyOptions& options) {
  Subject s{.directory = directory, .options = options};
  s.names = names_in(directory);
  read_settings(s);
  open_weights(s);
  find_family(s);
  find_packed(s);
  return s;
}

}  // namespace quaver::verify
