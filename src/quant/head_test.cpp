// Jobs that quantize the output head too.
#include "quant/head.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "core/file.h"
#include "core/threads.h"
#include "io/hf_directory.h"
#include "quant/pipeline.h"
#include "quant/staged.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t window_count = 40, window_size = 16;

std::int32_t head_test_id(std::int64_t i) {
  return static_cast<std::int32_t>((i * i * 7 + i * 13) % 90 + 3);
}

class HeadTest : public testing::Test {
 protected:
  HeadTest() {
    std::string name = (fs::temp_directory_path() / "quaver_head_XXXXXX").string();
    if (!mkdtemp(name.data())) fail(Fault::io, "mkdtemp ", name);
    path_ = name;
    Json list = Json::array();
    for (std::int64_t i = 0; i < window_count * window_size; ++i) list.push_back(head_test_id(i));
    std::ofstream(path_ / "ids.json") << list;
    options_.lm_head = true;
    options_.group_size = 32;
    options_.samples = window_count;
    options_.seqlen = window_size;
    options_.calibration = path_ / "ids.json";
  }
  ~HeadTest() override {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  static fs::path fixture(const std::string& family) {
    return fs::path(QUAVER_TEST_DATA) / "fixtures" / family;
  }
  QuantizeReport quantize(const std::string& family, const std::string& out) const {
    return quantize_checkpoint(fixture(family), path_ / out, options_);
  }
  std::string refusal(const std::string& family) const {
    try {
      quantize(family, "refused");
    } catch (const Error& e) {
      EXPECT_FALSE(fs::exists(path_ / "refused.partial"));
      return e.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }
  std::string weights(const std::string& out) const {
    return read_file(path_ / out / "model.safetensors", 1u << 30);
  }

  fs::path path_;
  QuantizeOptions options_;
};

// Every weight as the numbers it stands for.
class DecodesWeights final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    packed[name] = std::holds_alternative<Packed>(l.weight);
    l.weight = dequantized(l.weight);
    by_name[name] = std::get<Tensor>(l.weight);
  }
  std::map<std::string, bool> packed;
  std::map<std::string, Tensor> by_name;
};

Tensor normed_of(Decoder& decoder) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < window_count * window_size; ++i) ids.push_back(head_test_id(i));
  Step step = step_of(std::vector<std::int64_t>(window_count, window_size), 0);
  return decoder.forward(Tensor::of<std::int32_t>(ids, {window_count * window_size}), step);
}

Tensor logits_of(Decoder& decoder) {
  const Tensor normed = normed_of(decoder);
  Step step = step_of(std::vector<std::int64_t>(window_count, window_size), 0);
  return decoder.ends().logits(normed, step);
}

std::string head_name(const QuantizeReport& report) { return report.modules.back().name; }

struct HeadFamily {
  const char *fixture, *head, *table;
};
// Tied ones first: their table is the head's weight.
constexpr HeadFamily head_families[] = {
    {"opt", "lm_head", "model.decoder.embed_tokens.weight"},
    {"bloom", "lm_head", "transformer.word_embeddings.weight"},
    {"gemma", "lm_head", "model.embed_tokens.weight"},
    {"gpt2", "lm_head", "transformer.wte.weight"},
    {"cohere", "lm_head", "model.embed_tokens.weight"},
    {"opt_post_norm", "lm_head", "model.decoder.embed_tokens.weight"},  // with projections
    {"llama", "lm_head", "lm_head.weight"},
    {"gpt_neox", "embed_out", "embed_out.weight"},
    {"gptj", "lm_head", "lm_head.weight"},  // with a bias
    {"internlm2", "output", "output.weight"},
    {"chatglm", "transformer.output_layer", "transformer.output_layer.weight"}};

TEST_F(HeadTest, IsPackedInEveryKindOfFamilyAndRunsAsItsNumbersSay) {
  options_.group_size = 16;
  for (const auto& [family, head, table] : head_families)
    for (const std::string method : {"rtn", "gptq"}) {
      SCOPED_TRACE(std::string(family) + " " + method);
      options_.method = method;
      const std::string out = family + method;
      const QuantizeReport report = quantize(family, out);
      EXPECT_EQ(head_name(report), head);
      EXPECT_EQ(report.modules.back().method, method);
      const Checkpoint source = open_model(fixture(family)), made = open_model(path_ / out);
      EXPECT_FALSE(made.model.tied_head);
      EXPECT_TRUE(made.config["quantization_config"]["lm_head"]);
      EXPECT_EQ(made.config["quantization_config"].dump().find(std::string(head) + "\"]"),
                std::string::npos);  // no module of a block
      EXPECT_FALSE(made.source->find(text(head, ".weight")));
      if (source.model.tied_head) {
        EXPECT_EQ(made.config["tie_word_embeddings"], false);
        const Tensor a = source.source->read(table), b = made.source->read(table);
        ASSERT_EQ(a.bytes(), b.bytes());
        EXPECT_EQ(std::memcmp(a.host(), b.host(), a.bytes()), 0);
      }
      const auto packed = load_decoder(made), plain = load_decoder(made);
      DecodesWeights decoded;
      plain->visit(decoded);
      EXPECT_TRUE(decoded.packed.at(head));
      const Tensor x = logits_of(*packed), y = logits_of(*plain);
      double worst = 0, most = 0;
      for (std::size_t i = 0; i < x.data<float>().size(); ++i) {
        worst = std::max<double>(worst, std::abs(x.data<float>()[i] - y.data<float>()[i]));
        most = std::max<double>(most, std::abs(y.data<float>()[i]));
      }
      EXPECT_LE(worst, 1e-5 * most);
      if (method != "rtn") continue;
      const Tensor w = to_f32(source.source->read(table));
      const Tensor rounded = dequantized(round_to_nearest(w, {4, 16, true}, find_format("gptq")));
      EXPECT_EQ(std::memcmp(rounded.host(), decoded.by_name.at(head).host(), rounded.bytes()), 0);
    }
}

// The head's statistics are those of what the quantized blocks give it: the error in the report is
// that of its outputs on the calibration tokens.
TEST_F(HeadTest, SeesTheOutputsOfTheQuantizedModel) {
  options_.stream_target = 0;
  for (const auto& [family, sequential] :
       {std::pair{"llama", true}, {"opt", true}, {"opt", false}}) {
    SCOPED_TRACE(text(family, sequential ? " sequential" : ""));
    options_.true_sequential = sequential;
    const std::string out = text(family, sequential);
    const QuantizeReport report = quantize(family, out);
    const auto decoder = load_decoder(open_model(path_ / out));
    const Tensor x = normed_of(*decoder);
    DecodesWeights made, meant;
    decoder->visit(made);
    const auto source = load_head(open_model(fixture(family)));
    meant("", *source);
    const Tensor &q = made.by_name.at("lm_head"), &w = meant.by_name.at("lm_head");
    const std::int64_t rows = x.dim(0), n = x.dim(1), outputs = w.dim(0);
    double lost = 0, whole = 0;
    for (std::int64_t t = 0; t < rows; ++t)
      for (std::int64_t o = 0; o < outputs; ++o) {
        double right = 0, wrong = 0;
        for (std::int64_t k = 0; k < n; ++k) {
          const double input = x.data<float>()[t * n + k], exact = w.data<float>()[o * n + k];
          right += input * exact;
          wrong += input * (q.data<float>()[o * n + k] - exact);
        }
        lost += wrong * wrong;
        whole += right * right;
      }
    EXPECT_EQ(report.modules.back().rows, rows);
    EXPECT_NEAR(report.modules.back().error, lost / whole, 0.01 * lost / whole);
  }
}

TEST_F(HeadTest, BlocksKeepTheBytesTheyHaveWithoutIt) {
  const QuantizeReport with = quantize("opt", "with");
  options_.lm_head = false;
  const QuantizeReport without = quantize("opt", "without");
  ASSERT_EQ(with.modules.size(), without.modules.size() + 1);
  const Checkpoint a = open_model(path_ / "with"), b = open_model(path_ / "without");
  for (const TensorInfo& t : b.source->tensors()) {
    const Tensor x = a.source->read(t.name), y = b.source->read(t.name);
    EXPECT_EQ(std::memcmp(x.host(), y.host(), x.bytes()), 0) << t.name;
  }
  EXPECT_EQ(a.config["quantization_config"]["modules_in_block_to_quantize"],
            b.config["quantization_config"]["modules_in_block_to_quantize"]);
}

TEST_F(HeadTest, SameBytesForAnyNumberOfThreads) {
  for (const std::string family : {"bloom", "gpt_neox"}) {
    for (const int threads : {1, 2, 3}) {
      set_thread_count(threads);
      quantize(family, text(family, threads));
    }
    EXPECT_TRUE(weights(family + "1") == weights(family + "2")) << family;
    EXPECT_TRUE(weights(family + "1") == weights(family + "3")) << family;
  }
}

TEST_F(HeadTest, FollowsRules) {
  options_.rules = {"^lm_head$=bits:8,group_size:-1"};
  const QuantizeReport report = quantize("llama", "eight");
  EXPECT_EQ(report.modules.back().bits, 8);
  EXPECT_EQ(report.modules.back().group_size, -1);
  EXPECT_NO_THROW(load_decoder(open_model(path_ / "eight")));
  options_.rules = {"head=method:rtn"};
  EXPECT_EQ(quantize("llama", "rtn").modules.back().method, "rtn");
  options_.rules = {"layers=skip"};
  const QuantizeReport alone = quantize("bloom", "alone");
  EXPECT_GT(alone.modules.size(), 1u);  // bloom's blocks are called "h"
  options_.rules = {"\\.h\\.=skip"};
  ASSERT_EQ(quantize("bloom", "head").modules.size(), 1u);
  EXPECT_NO_THROW(load_decoder(open_model(path_ / "head")));
  options_.rules = {"lm_head=skip"};
  EXPECT_NE(head_name(quantize("bloom", "none")), "lm_head");
  const Checkpoint none = open_model(path_ / "none");
  EXPECT_TRUE(none.model.tied_head);
  EXPECT_EQ(none.config["quantization_config"]["lm_head"], false);
}

TEST_F(HeadTest, RefusesHeadsOfOtherKindsBeforeAnyWork) {
  options_.group_size = 48;
  EXPECT_NE(refusal("llama").find("group"), std::string::npos);
  options_.group_size = 32;
  fs::copy(fixture("baichuan_rope"), path_ / "model");
  Json config = read_json_file((path_ / "model/config.json").string());
  // Baichuan 2 is told from Baichuan 1 by its vocabulary.
  config["vocab_size"] = 125696;
  std::ofstream(path_ / "model/config.json") << config;
  Checkpoint checkpoint = open_model(fixture("baichuan_rope"));
  checkpoint.model = checkpoint.arch->config(config);
  try {
    find_head(checkpoint);
    ADD_FAILURE() << "a head of unit rows was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault, Fault::unsupported);
    EXPECT_NE(std::string(e.what()).find("no plain product"), std::string::npos) << e.what();
  }
  // An arch file that ties the head whatever config.json says.
  fs::copy(fixture("llama"), path_ / "own");
  Json own = read_json_file((path_ / "own/config.json").string());
  own.erase("tie_word_embeddings");
  own["architectures"] = {"OwnForCausalLM"};
  std::ofstream(path_ / "own/config.json") << own;
  std::ofstream(path_ / "own/quaver_arch.json")
      << R"({"base": "llama", "architecture": "OwnForCausalLM",
             "config_values": {"tie_word_embeddings": true}})";
  const Checkpoint tied = open_model(path_ / "own");
  ASSERT_TRUE(tied.model.tied_head);
  EXPECT_THROW(find_head(tied), Error);
}

}  // namespace
}  // namespace quaver
