#include "api/inspect.h"

#include <filesystem>
#include <optional>
#include <set>
#include <variant>

#include "core/error.h"
#include "formats/format.h"
#include "loading/model.h"
#include "ops/ops.h"
#include "text/tokenizer.h"

namespace quaver {
namespace {

constexpr std::int64_t many_tokens = 512;

Json shape_json(const Shape& shape) {
  Json dims = Json::array();
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

// Lists the linears, counts everything.
class Surveyor final : public Visitor {
 public:
  explicit Surveyor(bool kernels) : kernels_(kernels) {}

  void parameter(const std::string&, Tensor&, const Shape& shape) override {
    parameters += shape.size();
  }

  void linear(const std::string& name, Linear& l) override {
    const std::int64_t weights = l.outputs * l.inputs;
    parameters += weights + (l.has_bias ? l.outputs : 0);
    Json module{{"name", name},
                {"shape", Json::array({l.outputs, l.inputs})},
                {"bytes", bytes_of(l.weight)}};
    if (const auto* const packed = std::get_if<Packed>(&l.weight)) {
      module["form"] = packed->format->name;
      module["bits"] = packed->scheme.bits;
      module["group_size"] = packed->scheme.group_size;
    } else {
      const DType dtype = std::get<Tensor>(l.weight).dtype();
      module["form"] = name_of(dtype);
      module["bits"] = 8 * size_of(dtype);
      module["group_size"] = Json();
    }
    if (kernels_) {
      module["kernel_many"] = kernel_for(l.weight, many_tokens);
      module["kernel_one"] = kernel_for(l.weight, 1);
    }
    modules.push_back(std::move(module));
  }

  std::int64_t parameters = 0;
  Json modules = Json::array();

 private:
  bool kernels_;
};

// Of the linears of the blocks, packed scales and zeros included.
double bits_per_weight(const Json& modules, std::string_view blocks) {
  double bits = 0, weights = 0;
  for (const Json& module : modules) {
    if (!module.at("name").get<std::string>().starts_with(blocks)) continue;
    bits += 8 * module.at("bytes").get<double>();
    weights += module.at("shape")[0].get<double>() * module.at("shape")[1].get<double>();
  }
  return weights > 0 ? bits / weights : 0;
}

Json quantization_json(const Json& config) {
  if (config.is_null()) return {};
  const auto value = [&](const char* key) { return config.value(key, Json()); };
  const Json format = value("checkpoint_format");
  return {{"method", value("quant_method")},
          {"format", format.is_null() ? Json("gptq") : format},
          {"bits", value("bits")},
          {"group_size", value("group_size")}};
}

Json tokenizer_json(const std::filesystem::path& directory) {
  const auto file = Tokenizer::file_in(directory);
  if (!file) return {};
  return {{"file", file->filename().string()}, {"vocabulary", Tokenizer::load(*file).vocab_size()}};
}

std::int64_t count_weight_files(const TensorSource& source) {
  std::set<std::string_view> files;
  for (const TensorInfo& tensor : source.tensors()) files.insert(tensor.file);
  return static_cast<std::int64_t>(files.size());
}

}  // namespace

Json inspect_model(const std::string& directory, const InspectOptions& options) {
  const Checkpoint checkpoint = open_model(directory, {.file = options.arch_file});
  const std::unique_ptr<Decoder> decoder = load_decoder(checkpoint);
  Surveyor surveyor(options.kernels);
  decoder->visit(surveyor);

  const Config& c = checkpoint.model;
  std::int64_t bytes = 0;
  Json tensors = Json::array();
  for (const TensorInfo& tensor : checkpoint.source->tensors()) {
    const std::int64_t size =
        tensor.shape.size() * static_cast<std::int64_t>(size_of(tensor.dtype));
    bytes += size;
    if (options.tensors)
      tensors.push_back({{"name", tensor.name},
                         {"dtype", name_of(tensor.dtype)},
                         {"shape", shape_json(tensor.shape)},
                         {"bytes", size}});
  }
  Json report{{"model", directory},
              {"architecture", checkpoint.arch->name},
              {"model_type", checkpoint.arch->model_type},
              {"shape",
               {{"layers", c.layers},
                {"hidden", c.hidden},
                {"heads", c.heads},
                {"kv_heads", c.kv_heads},
                {"vocabulary", c.vocab},
                {"context", c.max_positions}}},
              {"parameters", surveyor.parameters},
              {"weight_bytes", bytes},
              {"weight_files", count_weight_files(*checkpoint.source)},
              {"bits_per_weight", bits_per_weight(surveyor.modules, checkpoint.arch->blocks)},
              {"quantization", quantization_json(checkpoint.quantization)},
              {"stored_as", checkpoint.encoding.empty() ? Json() : Json(checkpoint.encoding)},
              {"modules", std::move(surveyor.modules)},
              {"tokenizer", tokenizer_json(directory)}};
  if (options.tensors) report["tensors"] = std::move(tensors);
  return report;
}

}  // namespace quaver
