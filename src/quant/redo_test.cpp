// Modules of a finished output that are quantized again.
#include "quant/redo.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "core/file.h"
#include "io/hf_directory.h"
#include "io/manifest.h"
#include "quant/pipeline.h"
#include "quant/report.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

class RedoTest : public testing::Test {
 protected:
  RedoTest() {
    std::string name = (fs::temp_directory_path() / "quaver_redo_XXXXXX").string();
    if (!mkdtemp(name.data())) fail(Fault::io, "mkdtemp ", name);
    path_ = name;
    Json list = Json::array();
    for (int i = 0; i < 640; ++i) list.push_back((i * i * 7 + i * 13) % 90 + 3);
    std::ofstream(path_ / "ids.json") << list;
    options_.group_size = 32;
    options_.samples = 40;
    options_.seqlen = 16;
    options_.calibration = path_ / "ids.json";
  }
  ~RedoTest() override {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  QuantizeReport quantize(const std::string& out, const std::string& redo = {},
                          const std::vector<std::string>& set = {}) {
    QuantizeOptions options = options_;
    options.redo = redo;
    options.redo_settings = set;
    QuantizeHooks hooks;
    hooks.describe = [](const fs::path& made, const QuantizeReport&) {
      Manifest manifest{.quaver = "test", .inputs = {}, .outputs = {}};
      for (const char* file : {"model.safetensors", "config.json"})
        manifest.outputs.emplace(file, hash_file(made / file));
      write_manifest(made, manifest);
    };
    return quantize_checkpoint(fs::path(QUAVER_TEST_DATA) / "fixtures" / family_, path_ / out,
                               options, hooks);
  }
  std::string refusal(const std::string& out, const std::string& redo,
                      const std::vector<std::string>& set, Fault fault = Fault::bad_argument) {
    try {
      quantize(out, redo, set);
    } catch (const Error& e) {
      EXPECT_EQ(e.fault, fault) << e.what();
      EXPECT_FALSE(fs::exists(path_ / (out + ".partial")));
      return e.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }
  std::map<std::string, std::string> bytes(const std::string& out) const {
    std::map<std::string, std::string> found;
    for (const char* name : {"model.safetensors", "config.json", "quantize_config.json"})
      found[name] = read_file(path_ / out / name, 1u << 30);
    return found;
  }
  // Tensors of `out` that are not those of `before`.
  std::set<std::string> changed(const std::string& out, const Checkpoint& before) const {
    const Checkpoint after = open_model(path_ / out);
    std::set<std::string> names;
    for (const TensorInfo& t : before.source->tensors()) {
      const Tensor a = before.source->read(t.name), b = after.source->read(t.name);
      if (a.shape() != b.shape() || std::memcmp(a.host(), b.host(), a.bytes()) != 0)
        names.insert(t.name.substr(0, t.name.rfind('.')));
    }
    return names;
  }
  Checkpoint copy_of(const std::string& out) const {
    fs::copy(path_ / out, path_ / (out + "-before"), fs::copy_options::recursive);
    return open_model(path_ / (out + "-before"));
  }
  Json job(const std::string& out) const {
    return read_json_file((path_ / out / report_file).string())["job"];
  }

  fs::path path_;
  std::string family_ = "llama";
  QuantizeOptions options_;
};

// The state of the first run is found again: its own options give its own bytes.
TEST_F(RedoTest, SameOptionsGiveTheSameBytes) {
  struct Case {
    const char *family, *modules;
    void (*change)(QuantizeOptions&);
  };
  const Case cases[] = {
      {"llama", "layers\\.1\\.", [](QuantizeOptions&) {}},
      {"llama", "k_proj|0.*up_proj", [](QuantizeOptions&) {}},
      {"llama", ".", [](QuantizeOptions& o) { o.desc_act = true; }},
      {"opt", "layers.1.fc2", [](QuantizeOptions& o) { o.true_sequential = false; }},
      {"opt", "layers.1", [](QuantizeOptions& o) { o.stream_target = 0; }},
      {"bloom", "h.1.mlp|lm_head", [](QuantizeOptions& o) { o.lm_head = true; }},
      {"gpt_neox", "embed_out",
       [](QuantizeOptions& o) {
         o.lm_head = true;
         o.rules = {"embed_out=method:rtn,bits:8"};
       }},
      {"gptj", "fc_in", [](QuantizeOptions& o) { o.method = "rtn"; }},
      {"gpt_oss", "1.*experts.1.down", [](QuantizeOptions& o) { o.group_size = 16; }},
      {"mixtral", "layers\\.1\\..*w2", [](QuantizeOptions& o) { o.group_size = 16; }}};
  const QuantizeOptions plain = options_;
  int number = 0;
  for (const auto& [family, modules, change] : cases) {
    SCOPED_TRACE(text(family, ' ', modules));
    family_ = family;
    options_ = plain;
    change(options_);
    const std::string out = text("out", number++);
    const QuantizeReport first = quantize(out);
    const auto before = bytes(out);
    const QuantizeReport again = quantize(out, modules);
    EXPECT_FALSE(again.already_done);
    EXPECT_TRUE(bytes(out) == before);
    ASSERT_EQ(again.modules.size(), first.modules.size());
    for (std::size_t i = 0; i < first.modules.size(); ++i) {
      EXPECT_EQ(again.modules[i].name, first.modules[i].name);
      EXPECT_EQ(again.modules[i].error, first.modules[i].error) << first.modules[i].name;
    }
    EXPECT_DOUBLE_EQ(again.bits_per_weight, first.bits_per_weight);
    EXPECT_FALSE(fs::exists(path_ / (out + ".partial")));
    EXPECT_FALSE(fs::exists(path_ / out / "replaced"));
  }
}

TEST_F(RedoTest, OnlyTheChosenModulesChange) {
  quantize("out");
  const Checkpoint before = copy_of("out");
  const std::string chosen = "model.layers.0.mlp.down_proj";
  const QuantizeReport report = quantize("out", "0.mlp.down", {"damp=0.2", "coordinate-descent=0"});
  EXPECT_EQ(changed("out", before), std::set<std::string>{chosen});
  for (const QuantizedModule& m : report.modules)
    EXPECT_DOUBLE_EQ(m.damp, m.name == chosen ? 0.2 : 0.01) << m.name;
  EXPECT_EQ(read_config(path_ / "out"), before.config);
  EXPECT_EQ(job("out")["redo"], Json::parse(R"([{"modules": "0.mlp.down",
                             "set": {"damp": "0.2", "coordinate_descent": "0"}}])"));
  // The same again is done; the first command is another one's by now.
  EXPECT_TRUE(quantize("out", "0.mlp.down", {"coordinate_descent=0,damp=0.2"}).already_done);
  const std::string other = refusal("out", "", {});
  EXPECT_NE(other.find("--redo"), std::string::npos) << other;
  // Without a setting it becomes again what it was.
  EXPECT_FALSE(quantize("out", "0.mlp.down").already_done);
  EXPECT_EQ(changed("out", before), std::set<std::string>{});
  EXPECT_EQ(job("out")["redo"].size(), 2u);
}

TEST_F(RedoTest, GivesModulesOtherGridsAndMethods) {
  options_.rules = {"v_proj=bits:8", "k_proj=skip"};
  quantize("out");
  const Checkpoint before = copy_of("out");
  const QuantizeReport finer =
      quantize("out", "layers\\.1\\..*(v|o)_proj", {"bits=3,group_size=16", "sym=false"});
  for (const QuantizedModule& m : finer.modules) {
    const bool chosen = m.name.find("layers.1") != std::string::npos &&
                        (m.name.ends_with("v_proj") || m.name.ends_with("o_proj"));
    const bool eight = !chosen && m.name.ends_with("v_proj");
    EXPECT_EQ(m.bits, chosen ? 3 : eight ? 8 : 4) << m.name;
    EXPECT_EQ(m.group_size, chosen ? 16 : 32) << m.name;
    EXPECT_EQ(m.sym, !chosen) << m.name;
  }
  EXPECT_NO_THROW(load_decoder(open_model(path_ / "out")));
  // What an earlier one changed stays.
  const QuantizeReport rounded = quantize("out", "gate_proj", {"method=rtn"});
  for (const QuantizedModule& m : rounded.modules) {
    EXPECT_EQ(m.method, m.name.ends_with("gate_proj") ? "rtn" : "gptq") << m.name;
    if (m.name == "model.layers.1.self_attn.v_proj") {
      EXPECT_EQ(m.bits, 3);
    }
  }
  EXPECT_NO_THROW(load_decoder(open_model(path_ / "out")));
  const Json config = read_config(path_ / "out")["quantization_config"];
  EXPECT_EQ(config["dynamic"].size(), 2u + 1 + 2);  // skipped, 8 bits, 3 bits
  EXPECT_EQ(config["modules_in_block_to_quantize"],
            before.config["quantization_config"]["modules_in_block_to_quantize"]);
  // Back to what the command and its rules say.
  quantize("out", "gate_proj|layers\\.1\\..*(v|o)_proj");
  EXPECT_EQ(changed("out", before), std::set<std::string>{});
  EXPECT_EQ(read_config(path_ / "out"), before.config);
}

TEST_F(RedoTest, RefusesBeforeAnyWork) {
  EXPECT_NE(refusal("out", "q_proj", {}).find("finished output"), std::string::npos);
  quantize("out");
  const auto before = bytes("out");
  const auto expect = [&](const std::string& what, const std::string& part) {
    EXPECT_NE(what.find(part), std::string::npos) << what;
  };
  expect(refusal("out", "qproj", {}), "model.layers.0.self_attn.q_proj");
  expect(refusal("out", "q_proj(", {}), "--redo");
  expect(refusal("out", "", {"damp=0.1"}), "no --redo");
  expect(refusal("out", "q_proj", {"desc_act=true"}), "known: method, bits");
  expect(refusal("out", "q_proj", {"damp"}), "KEY=VALUE");
  expect(refusal("out", "q_proj", {"damp=much"}), "damp=much");
  expect(refusal("out", "q_proj", {"damp=7"}), "0 to 1");
  expect(refusal("out", "q_proj", {"bits=4", "bits=3"}), "twice");
  expect(refusal("out", "q_proj", {"bits=7"}), "q_proj");
  expect(refusal("out", "q_proj", {"group_size=48"}), "q_proj");
  refusal("out", "q_proj", {"method=best"});
  options_.bits = 8;
  expect(refusal("out", "q_proj", {}), "options.bits is 4 there, 8 here");
  options_.bits = 4;
  EXPECT_TRUE(bytes("out") == before);
  fs::resize_file(path_ / "out/model.safetensors", 1000);
  expect(refusal("out", "q_proj", {}, Fault::bad_file), "model.safetensors");
}

}  // namespace
}  // namespace quaver
