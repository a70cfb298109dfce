// Families that stack their experts: quantized linear by linear, and read back.
#include "quant/unstacked.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>

#include "io/hf_directory.h"
#include "models/decoder.h"
#include "quant/pipeline.h"
#include "quant/staged.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

class StackedExperts : public ::testing::TestWithParam<std::string> {
 protected:
  StackedExperts() {
    std::string name = (fs::temp_directory_path() / "quaver_unstacked_XXXXXX").string();
    if (!mkdtemp(name.data())) fail(Fault::io, "mkdtemp ", name);
    path = name;
    Json list = Json::array();
    for (int i = 0; i < 640; ++i) list.push_back((i * i * 7 + i * 13) % 90 + 3);
    std::ofstream(path / "ids.json") << list;
    options.group_size = 16;
    options.samples = 40;
    options.seqlen = 16;
    options.calibration = (path / "ids.json").string();
  }
  ~StackedExperts() override {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path model() const { return fs::path(QUAVER_TEST_DATA) / "fixtures" / GetParam(); }

  fs::path path;
  QuantizeOptions options;
};

// Every linear's weight by its name, and what it was made of.
class AllLinears final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    EXPECT_TRUE(all.emplace(name, &l).second) << name << " twice";
  }
  std::map<std::string, Linear*> all;
};

Tensor outputs_of(Decoder& decoder) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 24; ++i) ids.push_back((i * 11) % 90 + 3);
  Step step = step_of({24}, 0);
  return decoder.logits(decoder.forward(Tensor::of<std::int32_t>(ids, {24}), step), step);
}

double largest_gap(const Tensor& a, const Tensor& b) {
  double gap = 0;
  const auto x = a.data<float>(), y = b.data<float>();
  EXPECT_EQ(x.size(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) gap = std::max<double>(gap, std::abs(x[i] - y[i]));
  return gap;
}

TEST_P(StackedExperts, AreQuantizedAndReadBackPacked) {
  options.bits = 8;
  const QuantizeReport report = quantize_checkpoint(model(), path / "out", options);
  const Checkpoint source = open_model(model()), made = open_model(path / "out");
  const bool fused = GetParam() == "granitemoe";
  EXPECT_EQ(report.modules.size(), 2u * (4 + 4 * (fused ? 2 : 3)));
  const std::string first = fused ? "model.layers.0.block_sparse_moe.input_linear.3.linear"
                                  : "model.layers.0.mlp.experts.3.up_proj";
  EXPECT_TRUE(made.source->find(first + ".qweight"));
  EXPECT_EQ(made.source->find(first + ".bias") != nullptr, !fused);
  for (const TensorInfo& t : made.source->tensors())
    EXPECT_TRUE(t.shape.rank() < 3) << t.name << ' ' << t.shape;

  const auto plain = load_decoder(source), packed = load_decoder(made),
             unpacked = load_decoder(made);
  AllLinears before, after, decoded;
  plain->visit(before);
  packed->visit(after);
  unpacked->visit(decoded);
  int checked = 0;
  for (auto& [name, l] : decoded.all) {
    const bool routed = l->routed;
    EXPECT_EQ(std::holds_alternative<Packed>(after.all.at(name)->weight),
              !l->keep_precision && name != "lm_head")
        << name;
    l->weight = dequantized(l->weight);
    if (!routed) continue;
    ++checked;
    const Linear& was = *before.all.at(name);
    const Tensor w = dequantized(was.weight);
    double largest = 0;
    for (const float f : w.data<float>()) largest = std::max<double>(largest, std::abs(f));
    EXPECT_LT(largest_gap(w, dequantized(l->weight)), 0.05 * largest) << name;
    if (was.bias) {
      EXPECT_EQ(largest_gap(was.bias, l->bias), 0) << name;
    }
  }
  EXPECT_EQ(checked, 2 * 4 * (fused ? 2 : 3));
  const Tensor a = outputs_of(*plain), b = outputs_of(*packed), c = outputs_of(*unpacked);
  EXPECT_LT(largest_gap(b, c), 1e-5);
  EXPECT_GT(largest_gap(a, b), 0);
  // The stacked model with the same values: its parts are where the linears by themselves are.
  for (auto& [name, l] : before.all) l->weight = dequantized(after.all.at(name)->weight);
  EXPECT_LT(largest_gap(outputs_of(*plain), b), 1e-5);
}

// What stays plain beside packed experts is taken apart with them, its values as they were.
TEST_P(StackedExperts, RulesLeaveSomePlain) {
  options.method = "rtn";
  options.rules = {GetParam() == "granitemoe" ? "output_linear=skip" : "down_proj=skip",
                   "layers\\.1\\.(mlp|block_sparse_moe)=skip"};
  quantize_checkpoint(model(), path / "out", options);
  const Checkpoint source = open_model(model()), made = open_model(path / "out");
  const auto plain = load_decoder(source), packed = load_decoder(made);
  AllLinears before, after;
  plain->visit(before);
  packed->visit(after);
  int same = 0;
  for (const auto& [name, l] : after.all) {
    if (!l->routed || std::holds_alternative<Packed>(l->weight)) continue;
    const Tensor &a = std::get<Tensor>(before.all.at(name)->weight),
                 &b = std::get<Tensor>(l->weight);
    ASSERT_EQ(a.dtype(), b.dtype());
    ASSERT_EQ(a.shape(), b.shape());
    EXPECT_EQ(std::memcmp(a.host(), b.host(), a.bytes()), 0) << name;
    ++same;
  }
  EXPECT_EQ(same, GetParam() == "granitemoe" ? 4 + 8 : 4 + 12);
}

// Without a quantized expert the tensors stay stacked.
TEST_P(StackedExperts, StayStackedWhereNoneIsQuantized) {
  options.method = "rtn";
  options.rules = {"mlp|block_sparse_moe=skip"};
  quantize_checkpoint(model(), path / "out", options);
  const Checkpoint source = open_model(model()), made = open_model(path / "out");
  for (const TensorInfo& t : source.source->tensors())
    if (t.shape.rank() == 3) {
      EXPECT_TRUE(made.source->find(t.name)) << t.name;
    }
  EXPECT_NO_THROW(load_decoder(made));
}

INSTANTIATE_TEST_SUITE_P(Families, StackedExperts,
                         ::testing::Values("gpt_oss", "gpt_oss_mxfp4", "granitemoe"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace quaver
