// Checkpoints as other programs write them (tests/golden/make_gptq_files.py), against the weights
// that they stand for.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "core/log.h"
#include "io/manifest.h"
#include "io/shard_writer.h"
#include "loading/model.h"

namespace quaver {
namespace {

const std::filesystem::path gptq_files = std::filesystem::path(QUAVER_TEST_DATA) / "gptq";

std::string hash_of(const Tensor& weight) {
  Sha256 sha;
  sha.update({weight.host(), weight.bytes()});
  return sha.hex();
}

// Compares every linear that expected.json names.
class WeightChecker final : public Visitor {
 public:
  explicit WeightChecker(const std::filesystem::path& directory)
      : expected_(read_json_file((directory / "expected.json").string())) {}
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    if (!expected_["linears"].contains(name)) return;
    ++found;
    bool plain = false;
    for (const Json& other : expected_["plain"]) plain = plain || other == name;
    EXPECT_EQ(std::holds_alternative<Packed>(l.weight), !plain) << name;
    const Tensor values = dequantized(l.weight);
    EXPECT_EQ(hash_of(values), expected_["linears"][name].get<std::string>()) << name;
    if (!plain) kernels.push_back(kernel_for(l.weight, 1));
    // The packed product against the plain one in double precision.
    for (const std::int64_t m : {1, 9}) {
      Tensor x({m, l.inputs});
      for (std::int64_t i = 0; i < x.size(); ++i)
        x.data<float>()[static_cast<std::size_t>(i)] = std::sin(static_cast<float>(i * i % 97));
      const Tensor y = linear_of(x, l.weight);
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t n = 0; n < l.outputs; ++n) {
          double sum = 0;
          for (std::int64_t k = 0; k < l.inputs; ++k)
            sum +=
                double{x.data<float>()[i * l.inputs + k]} * values.data<float>()[n * l.inputs + k];
          ASSERT_NEAR(y.data<float>()[i * l.outputs + n], sum, 2e-5) << name;
        }
    }
  }
  std::size_t expected_linears() const { return expected_["linears"].size(); }
  std::size_t found = 0;
  std::vector<std::string> kernels;  // of the packed ones

 private:
  static Tensor linear_of(const Tensor& x, const Weight& w) { return quaver::linear(x, w, {}); }
  Json expected_;
};

class GptqFiles : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_log_sink([this](LogLevel level, std::string_view message) {
      if (level == LogLevel::warning) warnings_ += text(message, "\n");
    });
  }
  void TearDown() override { set_log_sink({}); }
  std::string warnings_;
};

TEST_P(GptqFiles, ReadToTheirDefinition) {
  const auto directory = gptq_files / GetParam();
  const auto decoder = load_decoder(open_model(directory));
  WeightChecker checker(directory);
  decoder->visit(checker);
  EXPECT_GE(checker.found, 4u);
  EXPECT_EQ(checker.found, checker.expected_linears());
  // What has no kernel runs all the same, packed.
  for (const std::string& kernel : checker.kernels)
    EXPECT_EQ(kernel == "decoded tiles", GetParam() == "f32_scales") << kernel;
  const auto said = [&](const char* part) { return warnings_.find(part) != std::string::npos; };
  EXPECT_EQ(said("stored as 'gptq_v2' does"), GetParam() == "v2_called_v1") << warnings_;
  EXPECT_EQ(said("stored as 'gptq' does"), GetParam() == "v1_called_v2") << warnings_;
  EXPECT_EQ(said("g_idx is all zeros"), GetParam() == "g_idx_of_zeros") << warnings_;
}

std::vector<std::string> gptq_cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(gptq_files))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, GptqFiles, ::testing::ValuesIn(gptq_cases()),
                         [](const auto& info) { return info.param; });

// --- What cannot be read is refused by name ----------------------------------------------------

class GptqMisfits : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void start_from(const char* name) {
    directory_ = std::filesystem::temp_directory_path() / text("quaver_gptq_misfit_", getpid());
    std::filesystem::remove_all(directory_);
    std::filesystem::copy(gptq_files / name, directory_);
  }
  void set(const char* key, const Json& value) {
    Json j = read_json_file((directory_ / "config.json").string());
    j["quantization_config"][key] = value;
    std::ofstream(directory_ / "config.json") << j;
  }
  std::string error(Fault fault = Fault::bad_file) {
    try {
      load_decoder(open_model(directory_));
    } catch (const Error& e) {
      EXPECT_EQ(e.fault, fault) << e.what();
      return e.what();
    }
    return "";
  }
  void expect_said(const std::string& what, const char* part) {
    EXPECT_NE(what.find(part), std::string::npos) << what;
  }
  std::filesystem::path directory_;
};

TEST_F(GptqMisfits, ActOrderNeedsGroups) {
  start_from("no_g_idx");
  const Json quantization{{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}};
  Json j = read_json_file((directory_ / "config.json").string());
  j["quantization_config"] = quantization;
  std::ofstream(directory_ / "config.json") << j;
  EXPECT_EQ(error(), "");
  set("desc_act", true);
  expect_said(error(), "self_attn.q_proj.g_idx' is missing");
}

TEST_F(GptqMisfits, BitsThatTheTensorsDoNotHave) {
  start_from("static_groups");
  set("bits", 8);
  expect_said(error(), "qweight' has shape [8, 64], expected [16, 64]");
  set("bits", 5);
  expect_said(error(), "5 bits; this layout holds 2, 3, 4 or 8");
}

TEST_F(GptqMisfits, PartsOfUnlikeWidths) {
  start_from("split_phi3");
  set("dynamic",
      Json::object({{"-:.*(gate|up)_proj", Json::object()}, {".*v_proj", {{"group_size", 16}}}}));
  EXPECT_EQ(error(), "");  // the file tells, where q's and v's groups are of one size
  const auto source = open_checkpoint(directory_);
  Tensor index = Tensor::raw({64}, DType::i32);
  for (int k = 0; k < 64; ++k) index.data<std::int32_t>()[static_cast<std::size_t>(k)] = k % 2;
  {
    std::filesystem::create_directory(directory_ / "new");
    ShardWriter writer(directory_ / "new");
    for (const TensorInfo& t : source->tensors())
      writer.write(
          t.name, t.name == "model.layers.0.self_attn.v_proj.g_idx" ? index : source->read(t.name));
    writer.finish();
    std::filesystem::rename(directory_ / "new/model.safetensors", directory_ / "model.safetensors");
  }
  expect_said(error(Fault::unsupported), "cannot be joined");
}

}  // namespace
}  // namespace quaver
