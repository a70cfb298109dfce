// Whole jobs on the tiny checkpoints of the five families.
#include "quant/pipeline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "core/file.h"
#include "core/threads.h"
#include "io/hf_directory.h"
#include "io/shard_writer.h"
#include "loading/model.h"
#include "loading/unprefixed_test.h"
#include "quant/baton.h"
#include "quant/calibration.h"
#include "quant/plan.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> families = {"opt", "bloom", "gpt_neox", "gptj", "llama"};

fs::path fixture(const std::string& family) {
  return fs::path(QUAVER_TEST_DATA) / "fixtures" / family;
}

// A directory that goes away with the test.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "quaver_quant_XXXXXX").string();
    if (!mkdtemp(name.data())) fail(Fault::io, "mkdtemp ", name);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const std::string& name) const { return path_ / name; }

  // 40 windows of 16 ids.
  std::string ids() const {
    Json list = Json::array();
    for (int i = 0; i < 640; ++i) list.push_back((i * i * 7 + i * 13) % 90 + 3);
    std::ofstream(path_ / "ids.json") << list;
    return (path_ / "ids.json").string();
  }

 private:
  fs::path path_;
};

QuantizeOptions options_for(const Scratch& scratch) {
  QuantizeOptions options;
  options.group_size = 32;
  options.samples = 40;
  options.seqlen = 16;
  options.calibration = scratch.ids();
  return options;
}

std::string bytes_of(const fs::path& file) { return read_file(file, 1u << 30); }

std::string message_of(const std::function<void()>& action, Fault fault) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault, fault) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

class LinearWeights final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    by_name[name] = dequantized(l.weight);
  }
  std::map<std::string, Tensor> by_name;
};

TEST(Pipeline, EveryFamilyAndMethodKeepsTheRestByteForByte) {
  for (const std::string& family : families)
    for (const std::string method : {"rtn", "gptq"}) {
      SCOPED_TRACE(family + " " + method);
      const Scratch scratch;
      QuantizeOptions options = options_for(scratch);
      options.method = method;
      const QuantizeReport report = quantize_checkpoint(fixture(family), scratch / "out", options);
      EXPECT_FALSE(report.modules.empty());
      for (const QuantizedModule& m : report.modules) {
        EXPECT_EQ(m.method, method) << m.name;
        EXPECT_LT(m.error, 0.05) << m.name;
      }
      EXPECT_FALSE(fs::exists(scratch / "out.partial"));
      EXPECT_FALSE(fs::exists(scratch / "out" / "job.json"));

      const Checkpoint source = open_model(fixture(family)), made = open_model(scratch / "out");
      std::set<std::string> quantized;
      for (const QuantizedModule& m : report.modules) {
        quantized.insert(m.name + ".weight");
        EXPECT_TRUE(made.source->find(m.name + ".qweight"));
        EXPECT_FALSE(made.source->find(m.name + ".weight"));
      }
      for (const TensorInfo& t : source.source->tensors()) {
        if (quantized.contains(t.name)) continue;
        const Tensor a = source.source->read(t.name), b = made.source->read(t.name);
        ASSERT_EQ(a.bytes(), b.bytes()) << t.name;
        EXPECT_EQ(a.dtype(), b.dtype());
        EXPECT_EQ(std::memcmp(a.host(), b.host(), a.bytes()), 0) << t.name;
      }
      EXPECT_EQ(made.source->tensors().size(),
                source.source->tensors().size() + 3 * report.modules.size());
      EXPECT_EQ(made.config["quantization_config"],
                read_json_file((scratch / "out" / "quantize_config.json").string()));
    }
}

// Packed and plain tensors get their full names, so that the result opens without guessing.
TEST(Pipeline, CompletesNamesWithoutPrefix) {
  for (const auto& [family, prefix] :
       {std::pair{"gpt2", "transformer."}, {"bloom", "transformer."}, {"opt", "model."}}) {
    SCOPED_TRACE(family);
    const Scratch scratch;
    write_without_prefix(fixture(family), scratch / "bare", prefix);
    const QuantizeOptions options = options_for(scratch);
    quantize_checkpoint(fixture(family), scratch / "whole", options);
    quantize_checkpoint(scratch / "bare", scratch / "out", options);
    EXPECT_EQ(bytes_of(scratch / "out/model.safetensors"),
              bytes_of(scratch / "whole/model.safetensors"));
  }
}

// Families with linears of other names and kinds: each is found and quantized with its inputs.
TEST(Pipeline, QuantizesFamiliesOfPublishedCode) {
  for (const std::string family : {"qwen", "baichuan_alibi", "internlm", "internlm2", "chatglm",
                                   "deepseek", "opt_post_norm"}) {
    SCOPED_TRACE(family);
    const Scratch scratch;
    QuantizeOptions options = options_for(scratch);
    options.group_size = 16;
    options.bits = 8;
    const QuantizeReport report = quantize_checkpoint(fixture(family), scratch / "out", options);
    EXPECT_GE(report.modules.size(), 8u);
    for (const QuantizedModule& m : report.modules) EXPECT_LT(m.error, 0.01) << m.name;
    EXPECT_NO_THROW(load_decoder(open_model(scratch / "out")));
  }
}

TEST(Pipeline, SameBytesForAnyNumberOfThreads) {
  const Scratch scratch;
  using Change = void (*)(QuantizeOptions&);
  const Change defaults = [](QuantizeOptions&) {};
  std::vector<std::pair<std::string, Change>> jobs;
  for (const std::string& family : families) jobs.emplace_back(family, defaults);
  jobs.emplace_back("llama", [](QuantizeOptions& o) { o.desc_act = true; });
  jobs.emplace_back("llama", [](QuantizeOptions& o) { o.method = "rtn"; });
  jobs.emplace_back("opt", [](QuantizeOptions& o) { o.true_sequential = false, o.mse = true; });
  for (std::size_t job = 0; job < jobs.size(); ++job) {
    QuantizeOptions options = options_for(scratch);
    jobs[job].second(options);
    std::string first;
    for (const int threads : {1, 2, 3, 8}) {
      set_thread_count(threads);
      const fs::path out = scratch / text(job, "-", threads);
      quantize_checkpoint(fixture(jobs[job].first), out, options);
      const std::string bytes = bytes_of(out / "model.safetensors");
      if (first.empty()) first = bytes;
      EXPECT_TRUE(bytes == first) << jobs[job].first << ", job " << job << ", " << threads;
    }
  }
  set_thread_count(2);
}

// One forward a block or two, the statistics of the first stage are the same.
TEST(Pipeline, TrueSequentialChangesOnlyLaterStages) {
  const Scratch scratch;
  QuantizeOptions options = options_for(scratch);
  quantize_checkpoint(fixture("llama"), scratch / "staged", options);
  options.true_sequential = false;
  quantize_checkpoint(fixture("llama"), scratch / "twice", options);
  const auto a = open_model(scratch / "staged"), b = open_model(scratch / "twice");
  const auto same = [&](const std::string& name) {
    const Tensor x = a.source->read(name), y = b.source->read(name);
    return std::memcmp(x.host(), y.host(), x.bytes()) == 0;
  };
  EXPECT_TRUE(same("model.layers.0.self_attn.q_proj.qweight"));
  EXPECT_TRUE(same("model.layers.0.self_attn.v_proj.qweight"));
  EXPECT_FALSE(same("model.layers.0.mlp.down_proj.qweight"));
}

TEST(Pipeline, EveryGridAndOrder) {
  for (const int bits : {2, 3, 4, 8})
    for (const std::int64_t group : {-1, 32})
      for (const bool sym : {true, false})
        for (const bool desc_act : {false, true}) {
          const Scratch scratch;
          QuantizeOptions options = options_for(scratch);
          options.bits = bits;
          options.group_size = group;
          options.sym = sym;
          options.desc_act = desc_act;
          options.format = sym ? "gptq" : "gptq_v2";
          const QuantizeReport report =
              quantize_checkpoint(fixture("opt"), scratch / "out", options);
          for (const QuantizedModule& m : report.modules)
            EXPECT_TRUE(m.fallback.empty() && m.method == "gptq") << m.name;
          const Json config = read_config(scratch / "out")["quantization_config"];
          EXPECT_EQ(config["desc_act"], desc_act && group > 0);
        }
}

TEST(Pipeline, FinishedStaleAndForeignOutputs) {
  const Scratch scratch;
  QuantizeOptions options = options_for(scratch);
  const std::string out = scratch / "out";
  EXPECT_FALSE(quantize_checkpoint(fixture("opt"), out, options).already_done);
  const QuantizeReport again = quantize_checkpoint(fixture("opt"), out, options);
  EXPECT_TRUE(again.already_done);
  EXPECT_FALSE(again.modules.empty());
  options.bits = 8;
  EXPECT_NE(
      message_of([&] { quantize_checkpoint(fixture("opt"), out, options); }, Fault::bad_argument)
          .find("--overwrite"),
      std::string::npos);
  options.overwrite = true;
  EXPECT_FALSE(quantize_checkpoint(fixture("opt"), out, options).already_done);
  options.overwrite = false;

  fs::create_directory(scratch / "next.partial");
  std::ofstream(scratch / "next.partial/job.json") << "{\"quaver\": \"another job\"}";
  EXPECT_NE(message_of([&] { quantize_checkpoint(fixture("opt"), scratch / "next", options); },
                       Fault::bad_argument)
                .find("next.partial"),
            std::string::npos);
  options.overwrite = true;
  EXPECT_NO_THROW(quantize_checkpoint(fixture("opt"), scratch / "next", options));
  options.overwrite = false;
  EXPECT_NE(
      message_of([&] { quantize_checkpoint(out, scratch / "twice", options); }, Fault::unsupported)
          .find("quantized already"),
      std::string::npos);
}

TEST(Pipeline, RefusesBeforeAnyWork) {
  const Scratch scratch;
  const auto refusal = [&](auto change, Fault fault = Fault::bad_argument) {
    QuantizeOptions options = options_for(scratch);
    change(options);
    const std::string message =
        message_of([&] { quantize_checkpoint(fixture("llama"), scratch / "out", options); }, fault);
    EXPECT_FALSE(fs::exists(scratch / "out.partial"));
    return message;
  };
  const std::string group = refusal([](QuantizeOptions& o) { o.group_size = 128; });
  EXPECT_NE(group.find("model.layers.0"), std::string::npos) << group;
  EXPECT_NE(group.find("would do: "), std::string::npos) << group;
  refusal([](QuantizeOptions& o) { o.bits = 5; });
  refusal([](QuantizeOptions& o) { o.damp = -1; });
  refusal([](QuantizeOptions& o) { o.method = "gtpq"; });
  refusal([](QuantizeOptions& o) { o.scale_search = "best"; });
  refusal([](QuantizeOptions& o) { o.scale_search = "none", o.mse = true; });
  refusal([](QuantizeOptions& o) { o.compat = "awq"; });
  refusal([](QuantizeOptions& o) { o.coordinate_descent = -1; });
  refusal([](QuantizeOptions& o) { o.stream_target = 1.5; });
  refusal([](QuantizeOptions& o) { o.rules = {"no rule"}; });
  refusal([](QuantizeOptions& o) { o.rules = {"(=skip"}; });
  refusal([](QuantizeOptions& o) { o.rules = {".*=skip"}; });
  refusal([](QuantizeOptions& o) { o.rules = {"q_proj=bits:many"}; });
  refusal([](QuantizeOptions& o) { o.rules = {"q_proj=method:best"}; });
  refusal([](QuantizeOptions& o) { o.shard_size = "5X"; });
  refusal([](QuantizeOptions& o) { o.samples = 0; });
  // These fixtures have no tokenizer.
  EXPECT_NE(refusal([](QuantizeOptions& o) { o.calibration.clear(); }).find("token ids"),
            std::string::npos);
}

TEST(Pipeline, RulesMixSchemes) {
  const Scratch scratch;
  QuantizeOptions options = options_for(scratch);
  options.rules = {"_proj$=bits:8", "layers\\.0\\..*v_proj=skip",
                   "down_proj=group_size:-1,sym:true,method:rtn"};
  const QuantizeReport report = quantize_checkpoint(fixture("llama"), scratch / "out", options);
  for (const QuantizedModule& m : report.modules) {
    EXPECT_NE(m.name, "model.layers.0.self_attn.v_proj");
    const bool down = m.name.ends_with("down_proj");
    EXPECT_EQ(m.bits, down ? 4 : 8) << m.name;
    EXPECT_EQ(m.group_size, down ? -1 : 32) << m.name;
    EXPECT_EQ(m.method, down ? "rtn" : "gptq") << m.name;
  }
  // Opening checks every module against what the config says about it.
  const Checkpoint made = open_model(scratch / "out");
  EXPECT_TRUE(made.source->find("model.layers.0.self_attn.v_proj.weight"));
}

// Files exist whose configuration names the wrong one of GPTQ's two zero point conventions.
TEST(Loading, ReadsZeroPointsAsTheyAreStored) {
  for (const std::string format : {"gptq", "gptq_v2"}) {
    const Scratch scratch;
    QuantizeOptions options = options_for(scratch);
    options.method = "rtn";
    options.format = format;
    quantize_checkpoint(fixture("llama"), scratch / "out", options);
    const auto weight_of_first_query = [&] {
      const auto decoder = load_decoder(open_model(scratch / "out"));
      LinearWeights weights;
      decoder->visit(weights);
      return weights.by_name.at("model.layers.0.self_attn.q_proj");
    };
    const Tensor right = weight_of_first_query();
    Json config = read_json_file((scratch / "out" / "config.json").string());
    config["quantization_config"]["checkpoint_format"] = format == "gptq" ? "gptq_v2" : "gptq";
    std::ofstream(scratch / "out" / "config.json") << config;
    const Tensor read = weight_of_first_query();
    EXPECT_EQ(std::memcmp(read.host(), right.host(), right.bytes()), 0) << format;
  }
}

// Nothing non-finite gets into a job, and the message says where it stands.
TEST(Pipeline, RefusesNonFiniteWeights) {
  const Scratch scratch;
  fs::copy(fixture("llama"), scratch / "model");
  const auto source = open_checkpoint(scratch / "model");
  ShardWriter writer(scratch / "model");
  for (const TensorInfo& t : source->tensors()) {
    Tensor value = Tensor::raw(t.shape, t.dtype);
    std::memcpy(value.host(), source->read(t.name).host(), value.bytes());
    if (t.name == "model.layers.1.mlp.up_proj.weight") value.data<float>()[7] = INFINITY;
    writer.write(t.name, value);
  }
  writer.finish();
  const std::string what = message_of(
      [&] { quantize_checkpoint(scratch / "model", scratch / "out", options_for(scratch)); },
      Fault::bad_file);
  EXPECT_NE(what.find("model.layers.1.mlp.up_proj.weight"), std::string::npos) << what;
  EXPECT_NE(what.find("1 "), std::string::npos) << what;
}

TEST(Calibration, WindowsSeedsAndRemarks) {
  const Scratch scratch;
  QuantizeOptions options = options_for(scratch);
  const Config config = open_model(fixture("opt")).model;
  const Calibration first = read_calibration(options, fixture("opt"), config);
  ASSERT_EQ(first.windows.size(), 40u);
  EXPECT_EQ(first.windows[1][0], (16 * 16 * 7 + 16 * 13) % 90 + 3);
  EXPECT_EQ(first.remark, "");
  options.seed = 1;
  const Calibration one = read_calibration(options, fixture("opt"), config);
  EXPECT_EQ(one.windows, read_calibration(options, fixture("opt"), config).windows);
  options.seed = 2;
  EXPECT_NE(one.windows, read_calibration(options, fixture("opt"), config).windows);
  options.seed.reset();
  options.samples = 1000;
  const Calibration few = read_calibration(options, fixture("opt"), config);
  EXPECT_EQ(few.windows.size(), 40u);
  EXPECT_NE(few.remark, "");
  std::ofstream(scratch / "bad.json") << "[1, 2, 99999999]";
  options.calibration = scratch / "bad.json";
  EXPECT_NE(message_of([&] { read_calibration(options, fixture("opt"), config); }, Fault::bad_file)
                .find("99999999"),
            std::string::npos);
  std::ofstream(scratch / "empty.json") << "[]";
  options.calibration = scratch / "empty.json";
  message_of([&] { read_calibration(options, fixture("opt"), config); }, Fault::bad_file);
}

TEST(Plan, Sizes) {
  EXPECT_EQ(parse_size("--shard-size", "5G"), 5'000'000'000u);
  EXPECT_EQ(parse_size("--shard-size", "300MB"), 300'000'000u);
  EXPECT_EQ(parse_size("--shard-size", "12"), 12u);
  for (const char* bad : {"", "G", "-1G", "5T", "0", "99999999999999G"})
    EXPECT_THROW(parse_size("--shard-size", bad), Error) << bad;
}

TEST(Baton, PassesErrorsOnAndUnwindsWhatIsParked) {
  bool unwound = false;
  struct Flag {
    bool& set;
    ~Flag() { set = true; }
  };
  {
    Baton parked([&](const Baton::Park& park) {
      const Flag flag{unwound};
      park();
      FAIL() << "resumed";
    });
    EXPECT_TRUE(parked.resume());
    const Baton never([](const Baton::Park&) { FAIL(); });
  }
  EXPECT_TRUE(unwound);
  Baton failing([](const Baton::Park& park) {
    park();
    fail(Fault::numerical, "from inside");
  });
  EXPECT_TRUE(failing.resume());
  EXPECT_THROW(failing.resume(), Error);
  EXPECT_FALSE(failing.resume());
}

}  // namespace
}  // namespace quaver
