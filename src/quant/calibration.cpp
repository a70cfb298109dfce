#include "quant/calibration.h"

#include <zstd.h>

#include <functional>
#include <optional>

#include "core/file.h"
#include "core/random.h"
#include "io/checkpoint.h"
#include "text/tokenizer.h"

extern "C" {
extern const unsigned char quaver_calibration_text[];
extern const unsigned char quaver_calibration_text_end[];
}

namespace quaver {
namespace {

constexpr std::uint64_t largest_file = 2'000'000'000;

// A .jsonl file in the program, as a zstd frame (data/calibration.jsonl.zst, made by
// scripts/make_builtin_text.py).
std::string built_in_text() {
  const auto bytes =
      static_cast<std::size_t>(quaver_calibration_text_end - quaver_calibration_text);
  const unsigned long long size = ZSTD_getFrameContentSize(quaver_calibration_text, bytes);
  if (size > (1u << 26)) fail(Fault::internal, "[calibration] the built-in text is damaged");
  std::string text(static_cast<std::size_t>(size), '\0');
  if (ZSTD_decompress(text.data(), text.size(), quaver_calibration_text, bytes) != text.size())
    fail(Fault::internal, "[calibration] the built-in text is damaged");
  return text;
}

// Ids as they come in, until there are enough.
class Ids {
 public:
  Ids(std::int64_t wanted, std::int64_t vocabulary, std::string where)
      : wanted_(wanted), vocabulary_(vocabulary), where_(std::move(where)) {}

  bool enough() const { return static_cast<std::int64_t>(ids_.size()) >= wanted_; }
  void add(std::int64_t id) {
    ensure_file(id >= 0 && id < vocabulary_, where_, ": token id ", id, " at place ", ids_.size(),
                "; the model knows 0 to ", vocabulary_ - 1);
    if (!enough()) ids_.push_back(static_cast<std::int32_t>(id));
  }
  const std::vector<std::int32_t>& all() const { return ids_; }
  const std::string& where() const { return where_; }

 private:
  std::int64_t wanted_, vocabulary_;
  std::string where_;
  std::vector<std::int32_t> ids_;
};

void add_text(const Tokenizer& tokenizer, std::string_view document, Ids& ids) {
  for (const std::int32_t id : tokenizer.encode(document, false)) ids.add(id);
}

void add_lines(const Tokenizer& tokenizer, std::string_view lines, const std::string& field,
               Ids& ids) {
  for (std::int64_t number = 1; !lines.empty() && !ids.enough(); ++number) {
    const std::size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = text(ids.where(), ", line ", number);
    const Json document = parse_json(line, where);
    ensure_file(document.is_object(), where, ": expected an object, found ", document.type_name());
    add_text(tokenizer, json_string(document, field.c_str(), where), ids);
  }
}

void add_json(const Json& list, Ids& ids) {
  ensure_file(list.is_array(), ids.where(), ": expected a list of token ids, found ",
              list.type_name());
  for (const Json& item : list) {
    if (item.is_array()) {
      add_json(item, ids);
      continue;
    }
    ensure_file(item.is_number_integer(), ids.where(), ": expected a token id, found ",
                item.type_name());
    ids.add(item.get<std::int64_t>());
  }
}

void add_tensor(const Tensor& t, Ids& ids) {
  if (t.dtype() == DType::i64) {
    for (const std::int64_t id : t.data<std::int64_t>()) ids.add(id);
  } else {
    ensure_file(t.dtype() == DType::i32, ids.where(), ": input_ids hold ", t.dtype(),
                "; expected i64 or i32");
    for (const std::int32_t id : t.data<std::int32_t>()) ids.add(id);
  }
}

Tokenizer tokenizer_of(const std::filesystem::path& model) {
  std::optional<Tokenizer> tokenizer = Tokenizer::find(model);
  ensure(tokenizer.has_value(), model.string(), ": ", no_tokenizer,
         ", so calibration needs token ids: give --calibration a .json or .safetensors file");
  return *std::move(tokenizer);
}

void read_documents(const QuantizeOptions& options, const std::filesystem::path& model, Ids& ids) {
  const std::filesystem::path file = options.calibration;
  if (file.empty()) {
    const Tokenizer tokenizer = tokenizer_of(model);
    return add_lines(tokenizer, built_in_text(), "text", ids);
  }
  const std::string ending = file.extension().string();
  if (ending == ".txt") return add_text(tokenizer_of(model), read_file(file, largest_file), ids);
  if (ending == ".jsonl")
    return add_lines(tokenizer_of(model), read_file(file, largest_file), options.text_field, ids);
  if (ending == ".json") return add_json(read_json_file(file.string()), ids);
  if (ending == ".safetensors") return add_tensor(open_safetensors(file)->read("input_ids"), ids);
  fail(Fault::bad_argument, "--calibration ", file.string(),
       ": expected a .txt, .jsonl, .json or .safetensors file");
}

}  // namespace

Calibration read_calibration(const QuantizeOptions& options, const std::filesystem::path& model,
                             const Config& config) {
  ensure(options.samples >= 1 && options.samples <= 1'000'000, "--samples ", options.samples,
         "; expected 1 to 1000000");
  ensure(options.seqlen >= 1 && options.seqlen <= 1'000'000, "--seqlen ", options.seqlen,
         "; expected 1 to 1000000");
  const std::int64_t length =
      config.max_positions > 0 ? std::min(options.seqlen, config.max_positions) : options.seqlen;
  const std::int64_t wanted = options.samples * length;
  Ids source(options.seed ? std::int64_t{1} << 40 : wanted, config.vocab,
             options.calibration.empty() ? "built-in text" : options.calibration);
  read_documents(options, model, source);
  const std::vector<std::int32_t>& ids = source.all();
  const auto total = static_cast<std::int64_t>(ids.size());
  if (total == 0) fail(Fault::bad_file, source.where(), ": no tokens to calibrate on");
  Calibration result;
  const auto add_window = [&](std::int64_t begin, std::int64_t count) {
    result.windows.emplace_back(ids.begin() + begin, ids.begin() + begin + count);
  };
  if (options.seed && total > length) {
    Random random(*options.seed);
    for (std::int64_t i = 0; i < options.samples; ++i)
      add_window(
          static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(total - length + 1))),
          length);
    return result;
  }
  for (std::int64_t begin = 0; begin < std::min(total, wanted); begin += length)
    add_window(begin, std::min(length, total - begin));
  if (total < wanted)
    result.remark = text(source.where(), ": ", total, " tokens to calibrate on, fewer than the ",
                         wanted, " asked for (", options.samples, " x ", length, ")");
  return result;
}

}  // namespace quaver
