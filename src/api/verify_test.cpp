// Every check of `verify` on a checkpoint that is broken in that way alone, and on one that is not.
#include "api/verify.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>

#include "core/file.h"
#include "formats/format.h"
#include "io/manifest.h"
#include "io/shard_writer.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

const fs::path test_data = QUAVER_TEST_DATA;
const std::string block = "model.layers.0.";

struct Grid {
  Scheme scheme{4, 32, true};
  std::string format = "gptq";
};

class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "quaver-verify-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory = name;
    config = {{"architectures", {"LlamaForCausalLM"}},
              {"model_type", "llama"},
              {"hidden_act", "silu"},
              {"hidden_size", 256},
              {"intermediate_size", 512},
              {"num_attention_heads", 4},
              {"num_key_value_heads", 4},
              {"num_hidden_layers", 1},
              {"vocab_size", 16},
              {"rms_norm_eps", 1e-6},
              {"max_position_embeddings", 64},
              {"tie_word_embeddings", false}};
    quantization = {{"quant_method", "gptq"},      {"bits", 4},           {"group_size", 32},
                    {"desc_act", false},           {"sym", true},         {"lm_head", false},
                    {"checkpoint_format", "gptq"}, {"damp_percent", 0.01}};
    put("tokenizer.json", "{}");
  }
  void TearDown() override { fs::remove_all(directory); }

  void put(const std::string& name, const std::string& bytes) {
    write_file_atomically(directory / name, bytes);
  }
  static Tensor table() {
    Tensor t({16, 256}, DType::f16);
    for (std::int64_t i = 0; i < t.size(); ++i)
      t.data<Half>()[i] = to_half(std::sin(static_cast<float>(i)));
    return t;
  }
  void plain(const std::string& linear, std::int64_t outputs, std::int64_t inputs) {
    for (const char* part : {"qweight", "qzeros", "scales", "g_idx"})
      tensors.erase(block + linear + "." + part);
    tensors[block + linear + ".weight"] = Tensor({outputs, inputs}, DType::f16);
  }
  // Weights around zero, as real ones are: codes follow their zero points.
  void packed(const std::string& linear, std::int64_t outputs, std::int64_t inputs, Grid g = {}) {
    const std::int64_t groups = group_count(g.scheme, inputs);
    const int top = (1 << g.scheme.bits) - 1, middle = 1 << (g.scheme.bits - 1);
    Quantized q{.scheme = g.scheme,
                .rows = outputs,
                .cols = inputs,
                .codes = Tensor({outputs, inputs}, DType::u8),
                .scales = Tensor({outputs, groups}),
                .zeros = Tensor({outputs, groups})};
    for (auto& s : q.scales.data<float>())
      s = (random() % 2 ? 1.0f : -1.0f) * (0.01f + static_cast<float>(random() % 100) * 1e-4f);
    for (auto& z : q.zeros.data<float>())
      z = static_cast<float>(g.scheme.symmetric ? middle
                                                : middle - 1 + static_cast<int>(random() % 3));
    const std::int64_t size = g.scheme.group_size == -1 ? inputs : g.scheme.group_size;
    for (std::int64_t r = 0; r < outputs; ++r)
      for (std::int64_t c = 0; c < inputs; ++c) {
        const float zero = q.zeros.data<float>()[r * groups + c / size];
        const int code = static_cast<int>(zero) + static_cast<int>(random() % 5) - 2;
        q.codes.data<std::uint8_t>()[r * inputs + c] =
            static_cast<std::uint8_t>(std::clamp(code, 0, top));
      }
    const Format& format = find_format(g.format);
    format.snap(q);
    const Packed p = format.pack(q);
    for (const auto& [part, tensor] : p.parts) tensors[block + linear + "." + part] = tensor;
  }
  void all_linears(const Grid& g = {}) {
    for (const char* name : {"q", "k", "v", "o"})
      packed(text("self_attn.", name, "_proj"), 256, 256, g);
    packed("mlp.gate_proj", 512, 256, g);
    packed("mlp.up_proj", 512, 256, g);
    packed("mlp.down_proj", 256, 512, g);
  }
  void ends() {
    Tensor gains({256}, DType::f16);
    for (auto& h : gains.data<Half>()) h = to_half(1);
    for (const std::string name : {"model.norm.weight", "model.layers.0.input_layernorm.weight",
                                   "model.layers.0.post_attention_layernorm.weight"})
      tensors[name] = gains;
    tensors["model.embed_tokens.weight"] = table();
    tensors["lm_head.weight"] = table();
  }
  void clean(const Grid& g = {}) {
    all_linears(g);
    ends();
    quantization["bits"] = g.scheme.bits;
    quantization["group_size"] = g.scheme.group_size;
    quantization["sym"] = g.scheme.symmetric;
    quantization["checkpoint_format"] = g.format;
  }
  void write(std::uint64_t shard_bytes = default_shard_bytes) {
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    put("config.json", config.dump());
    ShardWriter writer(directory, shard_bytes);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.finish();
  }
  Json look(const VerifyOptions& options = {}) {
    return verify_checkpoint(directory.string(), options);
  }
  static std::string words(const Json& finding, const char* key) { return finding.at(key); }
  // The report holds a finding of this check and severity with `part` in its words, and none that
  // is worse.
  void finds(const char* severity, const char* check, const std::string& part,
             bool nothing_worse = true, const VerifyOptions& options = {}) {
    const Json report = look(options);
    bool found = false;
    for (const Json& f : report.at("findings"))
      found =
          found || (f.at("severity") == severity && f.at("check") == check &&
                    text(words(f, "subject"), ' ', words(f, "problem"), ' ', words(f, "expected"))
                            .find(part) != std::string::npos);
    EXPECT_TRUE(found) << check << " " << part << "\n" << report.at("findings").dump(1);
    if (!nothing_worse) return;
    const std::string kind = severity;
    if (kind != "error") {
      EXPECT_EQ(report.at("errors"), 0) << report.at("findings").dump(1);
    }
    if (kind == "note") {
      EXPECT_EQ(report.at("warnings"), 0) << report.at("findings").dump(1);
    }
  }
  void finds_nothing(const VerifyOptions& options = {}) {
    const Json report = look(options);
    EXPECT_EQ(report.at("findings").size(), 0u) << report.at("findings").dump(1);
  }
  Tensor& part(const std::string& linear, const char* name) {
    Tensor& t = tensors.at(block + linear + "." + name);
    t = copy(t);
    return t;
  }
  static Tensor copy(const Tensor& t) {
    Tensor c = Tensor::raw(t.shape(), t.dtype());
    std::copy(t.host(), t.host() + t.bytes(), c.host());
    return c;
  }

  fs::path directory;
  Json config, quantization;
  std::map<std::string, Tensor> tensors;
  std::mt19937 random{7};
};

TEST_F(Verify, CleanCheckpointsHaveNoFindings) {
  clean();
  write();
  finds_nothing();
  const Json report = look();
  EXPECT_EQ(report.at("errors"), 0);
  EXPECT_EQ(report.at("tensor_parallel").size(), 7u);
  for (const Json& row : report.at("tensor_parallel")) {
    EXPECT_EQ(row.at("ranks"), (Json{2, 4, 8})) << row;
    const bool inputs = row.at("linears") == "o_proj" || row.at("linears") == "down_proj";
    EXPECT_EQ(row.at("split"), inputs ? "inputs" : "outputs");
  }
  EXPECT_EQ(report.at("checks").size(), 14u);
  put("quantize_config.json", quantization.dump());
  finds_nothing();
}

TEST_F(Verify, CleanInShardsAndDense) {
  clean({{8, -1, true}, "gptq_v2"});
  write(200'000);
  EXPECT_TRUE(fs::exists(directory / shard_index_file));
  finds_nothing();
  for (const std::string& name : names_in(directory)) fs::remove(directory / name);
  put("tokenizer.json", "{}");
  tensors.clear();
  ends();
  for (const char* name : {"q", "k", "v", "o"}) plain(text("self_attn.", name, "_proj"), 256, 256);
  plain("mlp.gate_proj", 512, 256);
  plain("mlp.up_proj", 512, 256);
  plain("mlp.down_proj", 256, 512);
  quantization = nullptr;
  config.erase("quantization_config");
  write();
  finds_nothing();
}

TEST_F(Verify, NoFamilyRaisesAFalseAlarm) {
  for (const auto& entry : fs::directory_iterator(test_data / "fixtures")) {
    const Json report = verify_checkpoint(entry.path().string(), {});
    EXPECT_EQ(report.at("errors"), 0) << entry.path() << report.at("findings").dump(1);
    EXPECT_EQ(report.at("warnings"), 0) << entry.path() << report.at("findings").dump(1);
  }
}

TEST_F(Verify, Files) {
  EXPECT_THROW(verify_checkpoint((directory / "none").string(), {}), Error);
  clean();
  write();
  fs::remove(directory / "tokenizer.json");
  finds("note", "files", "tokenizer");
  put("tokenizer.json", "{}");
  const fs::path usual = directory / "model.safetensors";
  fs::rename(usual, directory / "gptq_model-4bit-32g.safetensors");
  finds("warning", "files", "gptq_model-4bit-32g.safetensors");
  fs::rename(directory / "gptq_model-4bit-32g.safetensors", usual);
  put(std::string(shard_index_file), "{}");
  finds("warning", "files", "both claim the weights");
  fs::remove(directory / shard_index_file);
  std::string bytes = read_file(usual, 1 << 30);
  const std::size_t at = bytes.find("\"pt\"");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 1] = 'n';
  put("model.safetensors", bytes);
  finds("warning", "files", "metadata");
  put("model.safetensors", bytes.substr(0, bytes.size() - 1));
  finds("error", "read", "model.safetensors");
  fs::remove(usual);
  finds("error", "read", "no file of weights");
  put("config.json", "{\"a\": }");
  finds("error", "read", "config.json");
  fs::remove(directory / "config.json");
  finds("error", "read", "config.json is missing");
}

TEST_F(Verify, Index) {
  clean();
  write(200'000);
  const std::string name(shard_index_file);
  const Json good = read_json_file((directory / name).string());
  const auto with = [&](const std::function<void(Json&)>& change) {
    Json j = good;
    change(j);
    put(name, j.dump());
  };
  with([](Json& j) { j["metadata"]["total_size"] = 12; });
  finds("warning", "index", "total_size is 12");
  with([](Json& j) { j["weight_map"].erase("model.norm.weight"); });
  finds("error", "index", "model.norm.weight' stands in");
  EXPECT_EQ(look().at("errors"), 1);
  with([](Json& j) { j["weight_map"]["other"] = "model-00001-of-00003.safetensors"; });
  finds("error", "index", "other");
  with([](Json& j) { j["weight_map"]["other"] = "../x.safetensors"; });
  finds("error", "read", "plain name");
  put(name, "[]");
  finds("error", "read", "expected an object");
  put(name, good.dump());
  finds_nothing();
  put("stray.safetensors", "");
  finds("warning", "index", "stray.safetensors");
  fs::remove(directory / "stray.safetensors");
  fs::remove(directory / good["weight_map"]["model.norm.weight"].get<std::string>());
  finds("error", "index", "is missing; the index places");
}

TEST_F(Verify, Agreement) {
  clean();
  write();
  Json other = quantization;
  other["damp_percent"] = 0.05;
  put("quantize_config.json", other.dump());
  finds("warning", "agreement", "damp_percent");
  other["bits"] = 8;
  put("quantize_config.json", other.dump());
  finds("error", "agreement", "'bits' is 4 in config.json and 8");
  config.erase("quantization_config");
  put("config.json", config.dump());
  put("quantize_config.json", quantization.dump());
  finds("warning", "agreement", "only quantize_config.json");
  put("quantize_config.json", "[1]");
  finds("error", "read", "quantize_config.json");
}

TEST_F(Verify, KeysThatReadersNeed) {
  clean();
  write();
  const auto with = [&](const std::function<void(Json&)>& change) {
    Json j = config;
    change(j["quantization_config"]);
    put("config.json", j.dump());
  };
  with([](Json& q) { q.erase("bits"); });
  finds("error", "keys", "bits is missing");
  EXPECT_EQ(look().at("errors"), 1);
  with([](Json& q) { q.erase("group_size"); });
  finds("error", "keys", "group_size is missing");
  with([](Json& q) { q.erase("quant_method"); });
  finds("error", "read", "quant_method");
  with([](Json& q) { q.erase("desc_act"); });
  finds("warning", "keys", "desc_act is missing");
  with([](Json& q) { q.erase("sym"); });
  finds("warning", "keys", "sym is missing");
  with([](Json& q) { q.erase("checkpoint_format"); });
  finds("note", "keys", "checkpoint_format is missing");
  with([](Json& q) { q["desc_act"] = "no"; });
  finds("error", "keys", "desc_act is \"no\"");
  with([](Json& q) { q["group_size"] = 0; });
  finds("error", "read", "'group_size' is 0");
  with([](Json& q) { q["lm_head"] = true; });
  finds("error", "keys", "lm_head is true");
  with([](Json& q) { q["quant_method"] = "other"; });
  finds("warning", "read", "unknown quant_method");
  with([](Json& q) { q["dynamic"]["+:.*q_proj"]["desc_act"] = true; });
  finds("warning", "keys", "dynamic");
  with([](Json& q) { q["modules_in_block_to_quantize"] = {{"self_attn.q_proj"}}; });
  finds("warning", "keys", "is packed, but not in");
  with([](Json& q) { q = nullptr; });
  finds("error", "keys", "no configuration tells how");
}

TEST_F(Verify, PlainLinearsMustBeListed) {
  clean();
  plain("self_attn.o_proj", 256, 256);
  write();
  finds("warning", "keys", "modules_in_block_to_quantize does not say so");
  config["quantization_config"]["modules_in_block_to_quantize"] = {
      "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj", "o_proj"};
  put("config.json", config.dump());
  finds("warning", "keys", "is plain, but in");
  config["quantization_config"]["modules_in_block_to_quantize"].erase(6);
  put("config.json", config.dump());
  finds_nothing();
}

TEST_F(Verify, DescriptionsOfNothing) {
  ends();
  write();
  finds("error", "keys", "no tensor is one");
}

TEST_F(Verify, SchemesThatFewRead) {
  clean({{3, 32, true}, "gptq"});
  write();
  finds("note", "keys", "3 bits, symmetric");
  clean({{4, 16, true}, "gptq"});
  write();
  finds("note", "keys", "group_size 16");
  clean({{4, 32, false}, "gptq"});
  write();
  finds("warning", "keys", "v1");
  config["quantization_config"]["meta"]["quantizer"] = {"gptqmodel:7.0.0"};
  put("config.json", config.dump());
  finds("note", "keys", "asymmetric");
  clean({{5, 32, true}, "gptq_p"});
  write();
  finds("warning", "keys", "gptq_p");
}

TEST_F(Verify, BlocksThatReadersDoNotFind) {
  clean();
  config = read_json_file((test_data / "fixtures/mpt/config.json").string());
  write();
  finds("warning", "keys", "\"transformer.blocks\"", false);
}

TEST_F(Verify, Family) {
  clean();
  const Tensor norm = tensors.at("model.norm.weight");
  tensors.erase("model.norm.weight");
  write();
  finds("error", "family", "'model.norm.weight' is missing");
  tensors["model.norm.weight"] = norm;
  tensors["model.extra"] = norm;
  write();
  finds("error", "family", "'model.extra' is not part of this family");
  tensors.erase("model.extra");
  write();
  finds_nothing();
  config["architectures"] = {"NobodysModel"};
  config["model_type"] = "nobodys";
  put("config.json", config.dump());
  finds("warning", "read", "NobodysModel");
}

TEST_F(Verify, Packing) {
  clean();
  const auto whole = tensors;
  const std::string q = "self_attn.q_proj";
  tensors[block + q + ".qzeros"] = Tensor({8, 16}, DType::i32);
  write();
  finds("error", "packing", "has shape [8, 16]");
  tensors = whole;
  tensors[block + q + ".qweight"] = Tensor({32, 256}, DType::f32);
  write();
  finds("error", "packing", "holds f32");
  tensors = whole;
  tensors[block + q + ".scales"] = Tensor({8 * 256}, DType::f16);
  write();
  finds("error", "packing", "has 1 dimensions");
  tensors = whole;
  tensors.erase(block + q + ".scales");
  write();
  finds("error", "packing", "scales is missing");
  tensors = whole;
  tensors.erase(block + q + ".g_idx");
  write();
  finds("warning", "packing", "has no g_idx");
  tensors = whole;
  quantization["dynamic"]["-:.*q_proj"] = Json::object();
  write();
  finds("error", "packing", "leaves it out");
  quantization.erase("dynamic");
  quantization["bits"] = 5;
  write();
  finds("error", "packing", "5 bits; this layout holds");
}

TEST_F(Verify, Groups) {
  clean();
  const auto whole = tensors;
  const std::string q = "self_attn.q_proj", down = "mlp.down_proj";
  part(q, "g_idx").data<std::int32_t>()[9] = 8;
  part(down, "g_idx").data<std::int32_t>()[3] = -1;
  write();
  finds("error", "groups", "1 inputs have groups outside, the first is input");
  tensors = whole;
  part(down, "g_idx").data<std::int32_t>()[0] = 1;
  write();
  finds("error", "groups", "2 of 16 groups have not group_size inputs");
  tensors = whole;
  for (auto& g : part(down, "g_idx").data<std::int32_t>()) g = 0;
  write();
  finds("warning", "groups", "all zeros");
  tensors = whole;
  auto index = part(down, "g_idx").data<std::int32_t>();
  std::swap(index[0], index[511]);
  write();
  finds("error", "groups", "is not sequential, although desc_act");
  quantization["desc_act"] = true;
  write();
  finds("note", "parallel", "act-order");
  tensors = whole;
  write();
  finds("note", "groups", "all groups are sequential");
}

TEST_F(Verify, ShortLastGroup) {
  const fs::path from = test_data / "gptq/short_last_group";
  const Json report = verify_checkpoint(from.string(), {});
  EXPECT_NE(report.dump().find("its last group is short: 96 inputs in groups of 40"),
            std::string::npos);
  EXPECT_EQ(report.at("errors"), 0);
}

TEST_F(Verify, Scales) {
  clean();
  const auto whole = tensors;
  const std::string q = "self_attn.q_proj";
  part(q, "scales").data<Half>()[5] = Half{0x7e00};
  write();
  finds("error", "scales", "1 of 2048 scales are NaN or infinite");
  tensors = whole;
  part(q, "scales").data<Half>()[5] = Half{0xfc00};
  write();
  finds("error", "scales", "NaN or infinite");
  tensors = whole;
  part(q, "scales").data<Half>()[7] = Half{0x8000};
  write();
  finds("warning", "scales", "1 of 2048 scales are zero");
}

TEST_F(Verify, ZeroPointsOfTheOtherConvention) {
  clean({{4, 32, true}, "gptq_v2"});
  quantization["checkpoint_format"] = "gptq";
  write();
  finds("error", "zeros", "stored as gptq_v2 does, but checkpoint_format is gptq");
  EXPECT_EQ(look().at("findings")[0].at("more"), 6);
  clean({{3, 32, true}, "gptq"});
  quantization["checkpoint_format"] = "gptq_v2";
  write();
  finds("error", "zeros", "stored as gptq does, but checkpoint_format is gptq_v2");
  // Asymmetric ones betray it by a mean that is a step from zero.
  clean({{4, 32, false}, "gptq_v2"});
  write();
  EXPECT_EQ(look().at("warnings"), 0);
  quantization["checkpoint_format"] = "gptq";
  write();
  finds("warning", "zeros", "is gptq, and the mean weight is then -");
  clean({{4, 32, false}, "gptq"});
  quantization["checkpoint_format"] = "gptq_v2";
  write();
  finds("warning", "zeros", "is gptq_v2, and the mean weight is then ");
}

TEST_F(Verify, ZeroPointsThatSymRulesOut) {
  clean();
  part("self_attn.q_proj", "qzeros").data<std::int32_t>()[3] = 0x77777797;
  write();
  finds("error", "zeros", "1 of 2048 zero points are not 8, although sym is true");
}

TEST_F(Verify, ZeroPointsOutOfRange) {
  clean({{4, 32, false}, "gptq"});
  quantization["meta"]["quantizer"] = {"gptqmodel:7.0.0"};
  part("self_attn.q_proj", "qzeros").data<std::int32_t>()[3] = 0x7777777f;
  write();
  finds("warning", "zeros", "1 of 2048 zero points are 16, beyond the largest code");
}

TEST_F(Verify, Values) {
  clean();
  tensors.at("model.norm.weight") = copy(tensors.at("model.norm.weight"));
  tensors.at("model.norm.weight").data<Half>()[3] = Half{0x7c01};
  write();
  finds("error", "values", "1 of 256 values are NaN or infinite");
}

TEST_F(Verify, Fusion) {
  clean();
  const auto whole = tensors;
  plain("self_attn.k_proj", 256, 256);
  quantization["modules_in_block_to_quantize"] = {"q_proj",    "v_proj",  "o_proj",
                                                  "gate_proj", "up_proj", "down_proj"};
  write();
  finds("warning", "fusion", "k_proj is plain beside it");
  quantization.erase("modules_in_block_to_quantize");
  tensors = whole;
  packed("mlp.up_proj", 512, 256, {{8, 32, true}, "gptq"});
  quantization["dynamic"]["+:.*up_proj"]["bits"] = 8;
  write();
  finds("warning", "fusion", "up_proj has another scheme");
  quantization.erase("dynamic");
  quantization["desc_act"] = true;
  tensors = whole;
  auto order = part("self_attn.v_proj", "g_idx").data<std::int32_t>();
  std::swap(order[0], order[255]);
  write();
  finds("warning", "fusion", "v_proj has another order of columns");
}

TEST_F(Verify, TiedHead) {
  clean();
  config["tie_word_embeddings"] = true;
  write();
  finds("note", "head", "repeats the embedding");
  tensors.at("lm_head.weight").data<Half>()[0] = to_half(3);
  write();
  finds("warning", "head", "differs from model.embed_tokens.weight");
  for (const char* name : {"qweight", "qzeros", "scales", "g_idx"})
    tensors[text("lm_head.", name)] = tensors.at(block + "self_attn.q_proj." + name);
  tensors.erase("lm_head.weight");
  quantization["lm_head"] = true;
  write();
  finds("error", "head", "is packed, although");
}

TEST_F(Verify, TensorParallelism) {
  clean({{4, 128, true}, "gptq"});
  write();
  finds("note", "parallel",
        "[256,512] can be split over 2, 4 ranks, not over 8 ranks: 64 inputs a rank are no "
        "multiple of group_size 128");
}

TEST_F(Verify, ManifestIsCheckedAgain) {
  clean();
  write();
  Manifest m{.quaver = "0.1.0"};
  for (const char* name : {"config.json", "model.safetensors"})
    m.outputs[name] = hash_file(directory / name);
  write_manifest(directory, m);
  finds_nothing();
  put("tokenizer.json", "[]");
  m.inputs["tokenizer.json"] = hash_file(directory / "tokenizer.json");
  write_manifest(directory, m);
  finds("note", "manifest", "1 inputs are not hashed again");
  finds_nothing({.inputs = directory.string()});
  put("tokenizer.json", "{}");
  finds("error", "manifest", "input of the manifest", true, {.inputs = directory.string()});
  put("config.json", config.dump() + "\n");
  finds("error", "manifest", "output of the manifest: found");
  put("config.json", config.dump());
  m.outputs.erase("model.safetensors");
  write_manifest(directory, m);
  finds("warning", "manifest", "model.safetensors is not in the manifest");
  m.outputs["gone"] = {12, std::string(64, '0')};
  write_manifest(directory, m);
  finds("error", "manifest", "gone output of the manifest: found no such file");
  put("quaver-manifest.json", R"({"version":1,"quaver":"0","inputs":{},"outputs":{"/etc/x":{}}})");
  finds("error", "manifest", "relative");
}

// Whatever stands in the files, there is a report.
TEST_F(Verify, ForeignBytesNeverStopIt) {
  for (const char* model : {"autogptq_shards", "dynamic_planar", "fused_llama"}) {
    const fs::path from = test_data / "gptq" / model;
    std::vector<std::string> names;
    for (const std::string& name : names_in(from))
      if (name != "expected.json") names.push_back(name);
    for (int turn = 0; turn < 60; ++turn) {
      for (const std::string& name : names) {
        std::string bytes = read_file(from / name, 1 << 24);
        const std::size_t header = std::min<std::size_t>(bytes.size(), 2500);
        if (random() % names.size() == 0) {
          const std::size_t at = random() % header;
          constexpr std::string_view odd = "0129,:{}[]\"-e\0\xff ";
          if (random() % 3 == 0)
            bytes.erase(at, 1 + random() % 8);
          else
            bytes[at] = odd[random() % odd.size()];
        }
        put(name, bytes);
      }
      const Json report = look();
      EXPECT_TRUE(report.at("findings").is_array());
    }
    for (const std::string& name : names_in(directory)) fs::remove_all(directory / name);
  }
}

}  // namespace
}  // namespace quaver
