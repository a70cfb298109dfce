#include "api/forward.h"

#include <chrono>
#include <filesystem>
#include <limits>
#include <vector>

#include "api/ids.h"
#include "api/loaded_model.h"
#include "core/error.h"
#include "core/file.h"
#include "generate/forward.h"
#include "io/checkpoint.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

// A tensor of whole numbers, i32 or i64 [batch, tokens], each from 0 to `most`.
std::vector<std::vector<std::int64_t>> read_rows(const TensorSource& source, std::string_view name,
                                                 std::int64_t most, const std::string& where) {
  const Tensor t = source.read(name);
  ensure_file(t.shape().rank() == 2 && (t.dtype() == DType::i32 || t.dtype() == DType::i64), where,
              ": ", name, " is ", t.dtype(), " ", t.shape(),
              ", expected i32 or i64 [batch, tokens]");
  std::vector<std::vector<std::int64_t>> rows(static_cast<std::size_t>(t.dim(0)));
  for (std::int64_t i = 0; i < t.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t value =
        t.dtype() == DType::i64 ? t.data<std::int64_t>()[at] : t.data<std::int32_t>()[at];
    ensure_file(value >= 0 && value <= most, where, ": ", name, " holds ", value,
                ", expected numbers from 0 to ", most);
    rows[static_cast<std::size_t>(i / t.dim(1))].push_back(value);
  }
  return rows;
}

template <class T>
std::vector<std::vector<T>> narrowed(const std::vector<std::vector<std::int64_t>>& rows) {
  std::vector<std::vector<T>> out;
  for (const auto& row : rows) {
    out.emplace_back();
    for (const std::int64_t value : row) out.back().push_back(static_cast<T>(value));
  }
  return out;
}

ForwardInput read_input(const std::string& path) {
  ForwardInput input;
  if (std::filesystem::path(path).extension() != ".safetensors") {
    input.ids = read_ids(path).lists;
    return input;
  }
  const auto source = open_safetensors(path);
  input.ids = narrowed<std::int32_t>(
      read_rows(*source, "input_ids", std::numeric_limits<std::int32_t>::max(), path));
  if (source->find("attention_mask")) {
    const auto masks = read_rows(*source, "attention_mask", 1, path);
    ensure_file(masks.size() == input.ids.size() && !masks.empty() &&
                    masks[0].size() == input.ids[0].size(),
                path, ": attention_mask has not the shape of input_ids");
    input.masks = narrowed<std::uint8_t>(masks);
  }
  return input;
}

struct NamedTensor {
  std::string name;
  Tensor tensor;  // host
};

void write_tensors(const std::string& path, const std::vector<NamedTensor>& tensors) {
  std::vector<HeaderEntry> entries;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::uint64_t end = at + tensor.bytes();
    entries.push_back({name, &stored_dtype(tensor.dtype()), tensor.shape(), at, end});
    at = end;
  }
  AtomicFile file(path);
  file.write(safetensors_header(entries));
  for (const auto& [name, tensor] : tensors) file.write({tensor.host(), tensor.bytes()});
  file.commit();
}

}  // namespace

ForwardSummary forward_file(const Model& model, const std::string& ids_path,
                            const std::string& out_path, bool hidden) {
  const ForwardInput input = read_input(ids_path);
  check_file_ids(input.ids, model.impl().decoder->config().vocab, ids_path);
  const auto start = std::chrono::steady_clock::now();
  const ForwardResult result = forward_logits(*model.impl().decoder, input, hidden);
  ForwardSummary summary;
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  summary.batch = result.logits.dim(0);
  summary.tokens = result.logits.dim(1);
  summary.vocabulary = result.logits.dim(2);
  summary.hidden = static_cast<std::int64_t>(result.hidden.size());

  std::vector<NamedTensor> tensors{{"logits", result.logits}};
  for (std::size_t i = 0; i < result.hidden.size(); ++i)
    tensors.push_back({text("hidden.", i), result.hidden[i]});
  write_tensors(out_path, tensors);
  return summary;
}

}  // namespace quaver
