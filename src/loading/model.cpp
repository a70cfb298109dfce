#include "loading/model.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <set>

#include "core/log.h"
#include "core/mapped_file.h"
#include "core/threads.h"
#include "formats/lines.h"
#include "io/dialect.h"
#include "io/encoding.h"
#include "io/hf_directory.h"
#include "loading/prefixed_source.h"
#include "loading/regrouped_source.h"

namespace quaver {
namespace {

constexpr std::size_t most_problems_shown = 8;

// The format and scheme of a module that the checkpoint holds packed; null format: not packed.
struct PackedPlan {
  const Format* format = nullptr;
  Scheme scheme;
};

PackedPlan packed_plan(const Checkpoint& c, const std::string& module) {
  if (c.quantization.is_null()) return {};
  const Dialect* dialect = find_dialect(c.quantization);
  const auto stored = c.stored_modules.find(module);
  const std::optional<Scheme> scheme =
      dialect->scheme(c.quantization, stored == c.stored_modules.end() ? module : stored->second);
  if (!scheme) return {};
  const Format& format = dialect->format(c.quantization);
  // Modules that were left out are stored plain, whether the configuration says so or not.
  const auto parts = format.parts(*scheme, 1, 1);
  if (!c.source->find(text(module, '.', parts.front().name))) return {};
  return {&format, *scheme};
}

// Whether the linear is to be read out of a stacked tensor, and not by itself as in quantized
// checkpoints.
bool is_in_stack(const Checkpoint& c, const std::string& name, const Linear& l) {
  if (!l.stacked) return false;
  if (c.source->find(l.stacked->weight_of(name))) return true;
  return c.quantization.is_null() && !c.source->find(name + ".weight");
}

// Lists what the model needs and compares it with what is there.
class Checker final : public Visitor {
 public:
  explicit Checker(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  void parameter(const std::string& name, Tensor&, const Shape& shape) override {
    need(name, shape, std::nullopt);
  }
  void linear(const std::string& name, Linear& l) override {
    if (is_in_stack(checkpoint_, name, l)) {
      const Stacked& s = *l.stacked;
      need(s.weight_of(name),
           s.transposed ? Shape({s.count, l.inputs, s.width}) : Shape({s.count, s.width, l.inputs}),
           std::nullopt);
      if (l.has_bias) need(s.bias_of(name), {s.count, s.width}, std::nullopt);
      return;
    }
    if (const PackedPlan plan = packed_plan(checkpoint_, name); plan.format) {
      const std::string refusal = plan.format->unreadable(plan.scheme, l.outputs, l.inputs);
      if (!refusal.empty()) problem(text(name, ": ", refusal));
      if (refusal.empty())
        for (const PartInfo& part : plan.format->parts(plan.scheme, l.outputs, l.inputs))
          need_part(text(name, '.', part.name), part);
    } else {
      const Shape shape =
          l.transposed ? Shape({l.inputs, l.outputs}) : Shape({l.outputs, l.inputs});
      need(name + ".weight", shape, std::nullopt);
    }
    if (l.has_bias)
      need(name + ".bias", {l.outputs}, std::nullopt);
    else if (!checkpoint_.quantization.is_null() && checkpoint_.source->find(name + ".bias"))
      allow_zeros(name + ".bias");
  }

  bool needs(const std::string& name) const { return needed_.contains(name); }
  // The first few are kept: a hostile config can promise millions of tensors.
  void problem(std::string what) {
    if (++problem_count_ <= most_problems_shown) problems_.push_back(std::move(what));
  }
  void throw_problems() const {
    if (problem_count_ == 0) return;
    std::string list;
    for (const std::string& p : problems_) list += text("\n  ", p);
    if (problem_count_ > problems_.size())
      list += text("\n  and ", problem_count_ - problems_.size(), " more");
    fail(Fault::bad_file, checkpoint_.directory.string(), ": the tensors do not fit ",
         checkpoint_.arch->name, ":", list);
  }

 private:
  // Old AutoGPTQ files give every packed linear a bias, of zeros; another one would be lost.
  void allow_zeros(const std::string& name) {
    needed_.insert(name);
    const Tensor bias = to_f32(checkpoint_.source->read(name));
    const auto is_zero = [](float v) { return v == 0; };
    if (!std::ranges::all_of(std::as_const(bias).data<float>(), is_zero))
      problem(text("tensor '", name, "' is not zero, and this family has no such bias"));
  }
  void need_part(const std::string& name, const PartInfo& part) {
    const TensorInfo* found = checkpoint_.source->find(name);
    const bool ordered =
        json_bool(checkpoint_.quantization, "desc_act", "desc_act", false) &&
        !json_bool(checkpoint_.quantization, "static_groups", "static_groups", false);
    if (!found && part.freedom == PartInfo::optional && !ordered) return;
    const bool wide = found && part.freedom == PartInfo::any_float &&
                      (found->dtype == DType::f32 || found->dtype == DType::bf16);
    need(name, part.shape, wide ? found->dtype : part.dtype);
  }
  void need(const std::string& name, const Shape& shape, std::optional<DType> dtype) {
    needed_.insert(name);
    const TensorInfo* found = checkpoint_.source->find(name);
    if (!found)
      problem(text("tensor '", name, "' is missing"));
    else if (found->shape != shape)
      problem(text("tensor '", name, "' has shape ", found->shape, ", expected ", shape));
    else if (dtype && found->dtype != *dtype)
      problem(text("tensor '", name, "' holds ", found->dtype, ", expected ", *dtype));
  }

  const Checkpoint& checkpoint_;
  std::set<std::string> needed_;
  std::vector<std::string> problems_;
  std::size_t problem_count_ = 0;
};

// The modules of a family outside its inner model: the head, as a rule.
class OuterNames final : public Visitor {
 public:
  explicit OuterNames(std::string inner) : inner_(std::move(inner)) {}
  void parameter(const std::string& name, Tensor&, const Shape&) override { note(name); }
  void linear(const std::string& name, Linear&) override { note(name + "."); }
  // A tied head is not visited, and many files hold it.
  std::vector<std::string> names{"lm_head.", "embed_out."};

 private:
  void note(const std::string& name) {
    if (!name.starts_with(inner_)) names.push_back(name);
  }
  std::string inner_;
};

bool known_buffer(const Checkpoint& c, const std::string& name) {
  const auto ends_with = [&](std::string_view ending) {
    return name == ending || name.ends_with(text('.', ending));
  };
  if (c.model.tied_head && (ends_with("lm_head.weight") || ends_with("embed_out.weight")))
    return true;
  return c.arch->buffers && std::ranges::any_of(c.arch->buffers(), ends_with);
}

void check_names(Checkpoint& c) {
  Checker checker(c);
  c.arch->ends(c.model)->visit(checker);
  for (int i = 0; i < c.model.layers; ++i) {
    const auto block = c.arch->block(c.model, i);
    checker(text(c.arch->blocks, '.', i), *block);
  }
  for (const TensorInfo& tensor : c.source->tensors()) {
    if (checker.needs(tensor.name)) continue;
    if (known_buffer(c, tensor.name))
      c.ignored.push_back(tensor.name);
    else
      checker.problem(text("tensor '", tensor.name, "' is not part of this family"));
  }
  checker.throw_problems();
}

// The columns from `first` of [a, b] as rows, of any element size.
Tensor transposed(const Tensor& t, std::int64_t first, std::int64_t cols) {
  const std::int64_t rows = t.dim(0), width = t.dim(1);
  const auto size = static_cast<std::int64_t>(size_of(t.dtype()));
  Tensor turned = Tensor::raw({cols, rows}, t.dtype());
  const auto* from = static_cast<const std::byte*>(t.host());
  auto* to = static_cast<std::byte*>(turned.host());
  parallel_for(cols, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = begin; c < end; ++c)
        std::memcpy(to + (c * rows + r) * size, from + (r * width + first + c) * size,
                    static_cast<std::size_t>(size));
  });
  return turned;
}

// The outputs of one linear, [outputs, inputs], out of [count, width, inputs] (or [count, inputs,
// width], or with one input [count, width]).
Tensor part_of(const Tensor& stack, const Linear& l, std::int64_t inputs) {
  const Stacked& s = *l.stacked;
  const bool turned = s.transposed && inputs > 1;
  const Tensor all = stack.reshaped(turned ? Shape({s.count * inputs, s.width})
                                           : Shape({s.count * s.width, inputs}));
  const std::int64_t rows = all.dim(0) / s.count;
  const Tensor mine = all.rows(s.index * rows, (s.index + 1) * rows);
  return turned ? transposed(mine, s.begin, l.outputs) : mine.rows(s.begin, s.begin + l.outputs);
}

// Each row divided by its length and rounded to the type that is stored, as the published code
// does.
template <class Element, class Round>
Tensor with_unit_rows(const Tensor& stored, Round round) {
  const Tensor wide = to_f32(stored);
  Tensor unit = Tensor::raw(stored.shape(), dtype_of<Element>);
  const std::int64_t cols = stored.dim(1);
  const float* from = wide.data<float>().data();
  Element* to = unit.data<Element>().data();
  parallel_for(stored.dim(0), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      double sum = 0;
      for (std::int64_t c = 0; c < cols; ++c)
        sum += double{from[r * cols + c]} * from[r * cols + c];
      const double length = std::max(std::sqrt(sum), 1e-12);
      for (std::int64_t c = 0; c < cols; ++c)
        to[r * cols + c] = round(static_cast<float>(from[r * cols + c] / length));
    }
  });
  return unit;
}

Tensor with_unit_rows(const Tensor& stored) {
  if (stored.dtype() == DType::f16)
    return with_unit_rows<Half>(stored, [](float f) { return to_half(f); });
  if (stored.dtype() == DType::bf16)
    return with_unit_rows<BFloat16>(stored, [](float f) { return to_bfloat16(f); });
  return with_unit_rows<float>(stored, [](float f) { return f; });
}

class Loader final : public Visitor {
 public:
  explicit Loader(const Checkpoint& checkpoint, bool exact = true)
      : checkpoint_(checkpoint), exact_(exact) {}

  void parameter(const std::string& name, Tensor& t, const Shape& shape) override {
    t = shape.rank() == 1 ? vector(name) : matrix(name);
  }
  void linear(const std::string& name, Linear& l) override {
    if (is_in_stack(checkpoint_, name, l)) {
      l.weight = part_of(matrix(l.stacked->weight_of(name)), l, l.inputs);
      if (l.has_bias)
        l.bias = to_f32(part_of(matrix(l.stacked->bias_of(name)), l, 1)).reshaped({l.outputs});
      return;
    }
    if (const PackedPlan plan = packed_plan(checkpoint_, name); plan.format) {
      Packed packed{
          .format = plan.format, .scheme = plan.scheme, .rows = l.outputs, .cols = l.inputs};
      for (const PartInfo& part : plan.format->parts(plan.scheme, l.outputs, l.inputs))
        if (const std::string whole = text(name, '.', part.name); checkpoint_.source->find(whole))
          packed.parts.emplace(part.name, read(whole));
      correct_format(packed, name);
      correct_zeros(packed, name);
      correct_groups(packed, name);
      narrow_scales(packed);
      if (l.unit_rows) {
        l.weight = dequantized(packed);
      } else {
        std::optional<Packed> fast = exact_ ? std::nullopt : in_lines(packed);
        l.weight = fast ? std::move(*fast) : std::move(packed);
      }
    } else {
      const Tensor stored = matrix(name + ".weight");
      l.weight = l.transposed ? transposed(stored, 0, stored.dim(1)) : stored;
    }
    if (l.unit_rows) l.weight = with_unit_rows(std::get<Tensor>(l.weight));
    if (l.has_bias) l.bias = vector(name + ".bias");
  }

 private:
  Tensor read(const std::string& name) {
    Tensor t = checkpoint_.source->read(name);
    if (const std::int64_t bad = count_non_finite(t); bad > 0)
      log(LogLevel::warning, text("tensor '", name, "' holds ", bad, " non-finite values"));
    return t;
  }
  // Some writers store zero points in the other of GPTQ's two ways than they say.
  void correct_format(Packed& packed, const std::string& name) {
    const auto zeros = packed.parts.find("qzeros");
    if (!packed.scheme.symmetric || zeros == packed.parts.end() || packed.format->name == "gptq_p")
      return;
    const auto stored = stored_zero_convention(zeros->second, packed.scheme.bits);
    if (!stored || *stored == packed.format->name) return;
    if (!warned_)
      log(LogLevel::warning,
          text(name, ": the configuration says '", packed.format->name,
               "', the zero points are stored as '", *stored, "' does; read so"));
    warned_ = true;
    packed.format = &find_format(*stored);
  }
  // 'gptq' stores a zero point less one and has no place for 0, which some grids have all the same.
  // GPTQModel takes one from each field of a word by one subtraction, whose borrow changes the next
  // field too, and adds it back; 3 bits wrap around.
  void correct_zeros(Packed& packed, const std::string& name) {
    const auto zeros = packed.parts.find("qzeros");
    if (packed.scheme.symmetric || zeros == packed.parts.end() || packed.format->name != "gptq")
      return;
    std::optional<Tensor> whole = zeros_behind_borrows(zeros->second, packed.scheme.bits);
    if (!whole) return;
    if (!warned_of_zeros_)
      log(LogLevel::warning,
          text(name,
               ": has zero points of 0, which 'gptq' cannot store; read as GPTQModel "
               "writes them"));
    warned_of_zeros_ = true;
    zeros->second = *whole;
    packed.format = &find_format("gptq_v2");
  }
  // Some writers left g_idx as it was made, all zeros, where groups are consecutive: no quantizer
  // gives all inputs the first of several groups.
  void correct_groups(Packed& packed, const std::string& name) {
    const auto index = packed.parts.find("g_idx");
    if (index == packed.parts.end() || group_count(packed.scheme, packed.cols) < 2) return;
    if (std::ranges::any_of(std::as_const(index->second).data<std::int32_t>(),
                            [](std::int32_t g) { return g != 0; }))
      return;
    if (!warned_of_groups_)
      log(LogLevel::warning, text(name, ": g_idx is all zeros; read as consecutive groups"));
    warned_of_groups_ = true;
    packed.parts.erase(index);
  }
  // Kernels read f16 scales. What does not fit into f16 without loss stays as it is, and the weight
  // is decoded tile by tile.
  static void narrow_scales(Packed& packed) {
    Tensor& scales = packed.parts.at("scales");
    if (scales.dtype() == DType::f16) return;
    const Tensor wide = to_f32(scales);
    const auto from = wide.data<float>();
    Tensor narrow = Tensor::raw(scales.shape(), DType::f16);
    const auto to = narrow.data<Half>();
    for (std::size_t i = 0; i < from.size(); ++i) {
      to[i] = to_half(from[i]);
      if (to_float(to[i]) != from[i]) return;
    }
    scales = narrow;
  }
  Tensor vector(const std::string& name) { return to_f32(read(name)); }
  Tensor matrix(const std::string& name) {
    Tensor t = read(name);
    const bool direct =
        t.dtype() == DType::f32 || t.dtype() == DType::f16 || t.dtype() == DType::bf16;
    return direct ? t : to_f32(t);
  }

  const Checkpoint& checkpoint_;
  const bool exact_;
  bool warned_ = false, warned_of_groups_ = false, warned_of_zeros_ = false;
};

// How many of words[0 .. count) have all bits of `exponent`; by vectors of 16 bytes, since every
// weight of a checkpoint comes by here.
template <class Word>
std::int64_t count_words_with(const Word* words, std::int64_t count, Word exponent) {
  using Vector [[gnu::vector_size(16)]] = Word;
  constexpr std::int64_t lanes = 16 / sizeof(Word), block = 128 * lanes;  // a lane counts to 255
  const Vector wanted = Vector{} + exponent;
  std::int64_t n = 0, i = 0;
  for (; i + block <= count; i += block) {
    Vector found{};
    for (std::int64_t j = 0; j < block; j += lanes) {
      Vector v;
      std::memcpy(&v, words + i + j, sizeof v);
      found -= static_cast<Vector>((v & wanted) == wanted);  // a lane that does is -1
    }
    for (std::int64_t lane = 0; lane < lanes; ++lane) n += static_cast<std::int64_t>(found[lane]);
  }
  for (; i < count; ++i) n += (words[i] & exponent) == exponent;
  return n;
}

template <class Word>
std::int64_t count_all_ones_exponent(const Tensor& t, Word exponent) {
  const auto* words = reinterpret_cast<const Word*>(t.host());
  std::atomic<std::int64_t> count{0};
  parallel_for(t.size(), 1 << 18, [&](std::int64_t begin, std::int64_t end) {
    count += count_words_with(words + begin, end - begin, exponent);
  });
  return count;
}

}  // namespace

namespace {

// Where no tensor bears the name of the inner model ("transformer." of "transformer.h.0..."), the
// checkpoint was written from the inner model alone: its names lack that prefix.
void complete_names(Checkpoint& c) {
  const std::string prefix(c.arch->blocks.substr(0, c.arch->blocks.find('.') + 1));
  const auto has_prefix = [&](const TensorInfo& t) { return t.name.starts_with(prefix); };
  if (prefix.empty() || std::ranges::any_of(c.source->tensors(), has_prefix)) return;
  OuterNames outer(prefix);
  c.arch->ends(c.model)->visit(outer);
  c.source = with_prefix(std::move(c.source), prefix, outer.names);
}

class OutputCounts final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    if (!l.stacked && !l.transposed) found.emplace(name, l.outputs);
  }
  std::map<std::string, std::int64_t> found;
};

// Where the file has linears in one tensor that the family has apart, or the reverse.
void regroup(Checkpoint& c) {
  OutputCounts linears;
  for (int i = 0; i < c.model.layers; ++i)
    linears(text(c.arch->blocks, '.', i), *c.arch->block(c.model, i));
  Regrouped found = regrouped(std::move(c.source), linears.found);
  c.source = std::move(found.source);
  c.stored_modules = std::move(found.stored);
  if (!c.stored_modules.empty())
    log(LogLevel::detail,
        text(c.directory.string(), ": ", c.stored_modules.size(),
             " linears are cut from, or joined of, those of the file: ",
             c.stored_modules.begin()->first, " from ", c.stored_modules.begin()->second));
}

}  // namespace

Checkpoint open_model(const std::filesystem::path& directory, const ArchSearch& search) {
  Checkpoint c{.directory = directory};
  c.config = read_config(directory);
  ArchSearch complete = search;
  if (search.file.empty() && std::filesystem::is_regular_file(directory / arch_file_name))
    complete.file = directory / arch_file_name;
  FoundArch found = find_model(c.config, complete);
  c.arch = found.arch;
  c.model = std::move(found.config);
  if (c.model.arch_file) c.arch_file = complete.file;
  c.quantization = read_quantization(directory, c.config);
  c.source = open_checkpoint(directory);
  if (const Encoding* encoding = find_encoding(c.quantization)) {
    c.source = decoded(std::move(c.source), *encoding, std::exchange(c.quantization, Json()));
    c.encoding = encoding->quant_method;
  }
  complete_names(c);
  if (c.model.arch_file) c.model.arch_file->check(c.model);
  regroup(c);
  check_names(c);
  return c;
}

void load(const Checkpoint& checkpoint, std::string_view prefix, Block& block) {
  Loader loader(checkpoint);
  loader(prefix, block);
}

void load(const Checkpoint& checkpoint, Ends& ends) {
  Loader loader(checkpoint);
  ends.visit(loader);
}

std::unique_ptr<Decoder> load_decoder(const Checkpoint& checkpoint, bool exact) {
  auto decoder = std::make_unique<Decoder>(*checkpoint.arch, checkpoint.model);
  Loader loader(checkpoint, exact);
  decoder->visit(loader);
  if (!exact) drop_mapped_pages();  // of what lies in memory in another layout now
  return decoder;
}

Tensor stacked_part(const Checkpoint& checkpoint, const std::string& linear, const Linear& l,
                    bool bias) {
  const Stacked& s = *l.stacked;
  const Tensor all = checkpoint.source->read(bias ? s.bias_of(linear) : s.weight_of(linear));
  const Tensor part = part_of(all, l, bias ? 1 : l.inputs);
  return bias ? part.reshaped({l.outputs}) : part;
}

std::int64_t count_non_finite(const Tensor& t) {
  switch (t.dtype()) {
    case DType::f32:
      return count_all_ones_exponent<std::uint32_t>(t, 0x7f800000u);
    case DType::f16:
      return count_all_ones_exponent<std::uint16_t>(t, 0x7c00u);
    case DType::bf16:
      return count_all_ones_exponent<std::uint16_t>(t, 0x7f80u);
    case DType::f64:
      return count_all_ones_exponent<std::uint64_t>(t, std::uint64_t{0x7ff0} << 48);
    case DType::f8_e4m3fn:  // only NaN: all seven bits
      return count_all_ones_exponent<std::uint8_t>(t, 0x7f);
    case DType::f8_e5m2:
      return count_all_ones_exponent<std::uint8_t>(t, 0x7c);
    default:
      return 0;
  }
}

}  // namespace quaver
