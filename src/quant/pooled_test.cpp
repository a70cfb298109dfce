// Experts that see few tokens or none.
#include "quant/pooled.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "core/file.h"
#include "core/random.h"
#include "core/threads.h"
#include "io/hf_directory.h"
#include "io/shard_writer.h"
#include "loading/model.h"
#include "quant/pipeline.h"
#include "quant/staged.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

fs::path mixture(const std::string& family) {
  return fs::path(QUAVER_TEST_DATA) / "fixtures" / family;
}

std::string file_bytes(const fs::path& file) { return read_file(file, 1u << 30); }

Tensor some_values(Shape shape, int seed) {
  Tensor t(shape);
  auto v = t.data<float>();
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = std::sin(static_cast<float>((i + 1) * (i + 7) % 1009) + static_cast<float>(seed));
  return t;
}

using Matrix = std::vector<double>;

// Sums of x x^T, by definition.
Matrix plain_gram(const std::vector<Tensor>& inputs) {
  const std::int64_t n = inputs.front().dim(1);
  Matrix h(static_cast<std::size_t>(n * n));
  for (const Tensor& x : inputs)
    for (std::int64_t t = 0; t < x.dim(0); ++t)
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j)
          h[static_cast<std::size_t>(i * n + j)] +=
              double{x.data<float>()[static_cast<std::size_t>(t * n + i)]} *
              x.data<float>()[static_cast<std::size_t>(t * n + j)];
  return h;
}

// The sum of (row H row^T) over the rows of w - q.
double objective(const Matrix& h, const Tensor& w, const Tensor* q) {
  const std::int64_t n = w.dim(1);
  double sum = 0;
  for (std::int64_t r = 0; r < w.dim(0); ++r)
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        const auto at = [&](std::int64_t c) {
          const auto k = static_cast<std::size_t>(r * n + c);
          return double{w.data<float>()[k]} - (q ? q->data<float>()[k] : 0.0f);
        };
        sum += at(i) * h[static_cast<std::size_t>(i * n + j)] * at(j);
      }
  return sum;
}

TEST(Pooled, ShrinksAsTheFormulaSays) {
  constexpr std::int64_t n = 37;
  const Tensor all = some_values({900, n}, 3), mine = some_values({11, n}, 5);
  const Matrix layer = plain_gram({all}), expert = plain_gram({mine});
  Tensor pooled({n, n});
  add_gram(pooled, all);
  for (const std::int64_t tokens : {0, 11}) {
    Tensor hessian;
    if (tokens > 0) {
      hessian = Tensor({n, n});
      add_gram(hessian, mine);
      for (float& h : hessian.data<float>()) h /= static_cast<float>(tokens);
    }
    const double l = static_cast<double>(n) / static_cast<double>(n + tokens);
    EXPECT_DOUBLE_EQ(shrink(hessian, tokens, pooled, 900), l);
    for (std::int64_t r = 0; r < n; ++r)
      for (std::int64_t c = 0; c <= r; ++c) {
        const auto at = static_cast<std::size_t>(r * n + c);
        // Sums, as the formula has them; then the mean.
        const double sum = (1 - l) * expert[at] + l * static_cast<double>(tokens) / 900 * layer[at];
        const double wanted = tokens > 0 ? sum / static_cast<double>(tokens) : layer[at] / 900;
        EXPECT_NEAR(hessian.data<float>()[at], wanted, 2e-6) << tokens << ' ' << r << ' ' << c;
      }
  }
  Tensor other({n + 1, n + 1});
  EXPECT_THROW(shrink(other, 1, pooled, 900), Error);
  EXPECT_THROW(shrink(other, 1, pooled, 0), Error);
}

// Notes what the linears of a block see.
class Inputs final : public Observer, public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override { names_[&l] = name; }
  void input_of(const Linear& linear, const Tensor& x) override { by_name[names_.at(&linear)] = x; }
  std::map<std::string, Tensor> by_name;

 private:
  std::map<const Linear*, std::string> names_;
};

// Mixtral's two layers, the router of the first of which sends every token to experts 0 and 1: of
// equal scores the first count.
class Starved : public ::testing::Test {
 protected:
  Starved() {
    std::string name = (fs::temp_directory_path() / "quaver_pooled_XXXXXX").string();
    if (!mkdtemp(name.data())) fail(Fault::io, "mkdtemp ", name);
    path = name;
    fs::create_directories(path / "model");
    fs::copy_file(mixture("mixtral") / "config.json", path / "model/config.json");
    const auto source = open_checkpoint(mixture("mixtral"));
    ShardWriter writer(path / "model");
    for (const TensorInfo& t : source->tensors()) {
      Tensor value = Tensor::raw(t.shape, t.dtype);
      std::memcpy(value.host(), source->read(t.name).host(), value.bytes());
      if (t.name == "model.layers.0.block_sparse_moe.gate.weight") {
        const auto row = value.bytes() / static_cast<std::size_t>(value.dim(0));
        auto* bytes = static_cast<std::byte*>(value.host());
        for (std::size_t e = 1; e < 4; ++e) std::memcpy(bytes + e * row, bytes, row);
      }
      writer.write(t.name, value);
    }
    writer.finish();
    Json list = Json::array();
    for (int i = 0; i < 640; ++i) list.push_back((i * i * 7 + i * 13) % 90 + 3);
    std::ofstream(path / "ids.json") << list;
    options.group_size = 32;
    options.samples = 40;
    options.seqlen = 16;
    options.calibration = (path / "ids.json").string();
    // The experts of the first layer then see what they see in the model as it was.
    options.rules = {"self_attn=skip"};
  }
  ~Starved() override {
    set_thread_count(2);
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }

  // The inputs of the linears of the first layer, in the model as it was.
  std::map<std::string, Tensor> first_inputs() const {
    const Checkpoint c = open_model(path / "model");
    const auto ends = c.arch->ends(c.model);
    load(c, *ends);
    const auto block = c.arch->block(c.model, 0);
    load(c, "model.layers.0", *block);
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 640; ++i) ids.push_back((i * i * 7 + i * 13) % 90 + 3);
    Step step = step_of(std::vector<std::int64_t>(40, 16), 0);
    const Tensor x = ends->embed(Tensor::of<std::int32_t>(ids, {640}), step);
    Inputs inputs;
    inputs("model.layers.0", *block);
    step.observer = &inputs;
    block->forward(x, step);
    return inputs.by_name;
  }

  static Tensor weight_of(const fs::path& directory, const std::string& name) {
    const Checkpoint c = open_model(directory);
    const auto block = c.arch->block(c.model, 0);
    load(c, "model.layers.0", *block);
    struct Finder final : Visitor {
      void parameter(const std::string&, Tensor&, const Shape&) override {}
      void linear(const std::string& name, Linear& l) override {
        if (name == wanted) found = dequantized(l.weight);
      }
      std::string wanted;
      Tensor found;
    } finder;
    finder.wanted = name;
    finder("model.layers.0", *block);
    return finder.found;
  }

  fs::path path;
  QuantizeOptions options;
};

const QuantizedModule& module_of(const QuantizeReport& report, const std::string& name) {
  for (const QuantizedModule& m : report.modules)
    if (m.name == name) return m;
  fail(Fault::bad_argument, "no module ", name);
}

const std::string experts = "model.layers.0.block_sparse_moe.experts.";

TEST_F(Starved, UnreachedExpertsTakeThePooledHessian) {
  const auto inputs = first_inputs();
  const std::vector<Tensor> entered{inputs.at("model.layers.0.block_sparse_moe.gate")};
  std::vector<Tensor> inner;
  for (const char* e : {"0", "1", "2", "3"}) inner.push_back(inputs.at(experts + e + ".w2"));
  ASSERT_EQ(inner[0].dim(0), 640);
  ASSERT_EQ(inner[2].dim(0), 0);
  QuantizeOptions rounding = options;
  rounding.method = "rtn";
  quantize_checkpoint(path / "model", path / "rtn", rounding);
  for (const bool sequential : {true, false}) {
    options.true_sequential = sequential;
    const fs::path out = path / (sequential ? "staged" : "at_once");
    const QuantizeReport report = quantize_checkpoint(path / "model", out, options);
    for (const char* linear : {"2.w1", "2.w3", "3.w2"}) {
      const std::string name = experts + linear;
      const QuantizedModule& m = module_of(report, name);
      EXPECT_EQ(m.method, "gptq") << name;
      EXPECT_EQ(m.fallback, "") << name;
      EXPECT_EQ(m.rows, 0) << name;
      EXPECT_EQ(m.pooled, 1) << name;
      const Matrix h = plain_gram(name.ends_with("w2") ? inner : entered);
      const Tensor w = weight_of(path / "model", name), q = weight_of(out, name),
                   rounded = weight_of(path / "rtn", name);
      const double whole = objective(h, w, nullptr), lost = objective(h, w, &q);
      EXPECT_LT(lost, 0.8 * objective(h, w, &rounded)) << name;
      // The solver's own figure is that of the pooled Hessian.
      EXPECT_NEAR(m.error, lost / whole, 1e-3 * m.error) << name;
    }
    for (const char* linear : {"0.w1", "1.w3", "1.w2"}) {
      const QuantizedModule& m = module_of(report, experts + linear);
      EXPECT_EQ(m.rows, 640);
      EXPECT_DOUBLE_EQ(m.pooled,
                       static_cast<double>(m.inputs) / static_cast<double>(m.inputs + m.rows));
    }
    std::int64_t routed = 0;
    for (int e = 0; e < 4; ++e)
      routed += module_of(report, text("model.layers.1.block_sparse_moe.experts.", e, ".w1")).rows;
    EXPECT_EQ(routed, 2 * 640);
  }
}

TEST_F(Starved, WithoutPoolingAnUnreachedExpertFallsBack) {
  options.compat = "autogptq";
  const QuantizeReport report = quantize_checkpoint(path / "model", path / "out", options);
  QuantizeOptions rounding = options;
  rounding.method = "rtn";
  rounding.compat.clear();
  quantize_checkpoint(path / "model", path / "rtn", rounding);
  const QuantizedModule& m = module_of(report, experts + "3.w1");
  EXPECT_EQ(m.method, "rtn");
  EXPECT_NE(m.fallback.find("no calibration token"), std::string::npos) << m.fallback;
  EXPECT_EQ(m.pooled, 0);
  const Tensor a = weight_of(path / "out", m.name), b = weight_of(path / "rtn", m.name);
  EXPECT_EQ(std::memcmp(a.host(), b.host(), a.bytes()), 0);
  EXPECT_EQ(module_of(report, experts + "0.w1").fallback, "");
}

// Kinds of mixtures: with shared experts, with normed scores, in groups.
TEST_F(Starved, EveryMixtureCountsItsTokens) {
  options.group_size = -1;  // a shared expert has 20 inputs
  options.bits = 8;
  options.rules.clear();
  for (const std::string family : {"qwen2_moe", "olmoe", "qwen3_moe", "deepseek_v2_lite"}) {
    SCOPED_TRACE(family);
    const QuantizeReport report = quantize_checkpoint(mixture(family), path / family, options);
    std::int64_t pooled = 0;
    for (const QuantizedModule& m : report.modules) {
      const bool routed = m.name.find(".experts.") != std::string::npos;
      EXPECT_EQ(m.fallback, "") << m.name;
      EXPECT_DOUBLE_EQ(
          m.pooled,
          routed ? static_cast<double>(m.inputs) / static_cast<double>(m.inputs + m.rows) : 0.0)
          << m.name;
      pooled += routed;
    }
    EXPECT_GE(pooled, 12);
  }
}

struct Stop {};

TEST_F(Starved, SameBytesForAnyThreadsAndAfterAnyStop) {
  for (const bool sequential : {true, false}) {
    options.rules.clear();
    options.true_sequential = sequential;
    std::string wanted;
    int modules = 0;
    for (const int threads : {1, 2, 3}) {
      set_thread_count(threads);
      const fs::path out = path / text("threads", threads, sequential);
      modules = static_cast<int>(quantize_checkpoint(path / "model", out, options).modules.size());
      const std::string made = file_bytes(out / "model.safetensors");
      if (wanted.empty()) wanted = made;
      EXPECT_TRUE(made == wanted) << threads;
    }
    set_thread_count(2);
    ASSERT_EQ(modules, 32);
    for (int stop = 1; stop <= modules; stop += 7) {
      const fs::path out = path / text("stopped", stop, sequential);
      const QuantizeHooks hooks{.progress =
                                    [&](const QuantizeProgress& p) {
                                      if (p.done == stop && p.stage == "quantize") throw Stop();
                                    },
                                .evaluate = {},
                                .describe = {}};
      EXPECT_THROW(quantize_checkpoint(path / "model", out, options, hooks), Stop) << stop;
      const QuantizeReport report = quantize_checkpoint(path / "model", out, options);
      EXPECT_TRUE(file_bytes(out / "model.safetensors") == wanted) << stop;
      EXPECT_EQ(module_of(report, experts + "3.w2").pooled, 1);
    }
  }
}

}  // namespace
}  // namespace quaver
