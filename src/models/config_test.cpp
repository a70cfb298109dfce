#include <gtest/gtest.h>

#include "models/arch.h"

namespace quaver {
namespace {

Json llama_config() {
  return parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 160, "rms_norm_eps": 1e-5})",
                    "test");
}

std::string refusal(const Json& j) {
  try {
    find_arch(j).config(j);
  } catch (const Error& e) {
    EXPECT_TRUE(e.fault == Fault::bad_file || e.fault == Fault::unsupported);
    return e.what();
  }
  return "";
}

TEST(Config, ReadsOldAndNewNames) {
  Json j = llama_config();
  j["rope_theta"] = 5e5;
  const Config c = find_arch(j).config(j);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_FLOAT_EQ(c.norm_eps, 1e-5f);
  EXPECT_EQ(config_rope(j).theta, 5e5);
  Json modern = llama_config();
  modern["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  EXPECT_EQ(config_rope(modern).theta, 5e5);
}

TEST(Config, FindsByArchitectureThenByType) {
  Json j = llama_config();
  EXPECT_EQ(find_arch(j).name, "LlamaForCausalLM");
  j.erase("architectures");
  EXPECT_EQ(find_arch(j).name, "LlamaForCausalLM");
  j["architectures"] = {"SomethingElse"};
  EXPECT_NE(refusal(j).find("unknown architecture 'SomethingElse'; known: Arcee"),
            std::string::npos);
}

TEST(Config, RefusesImpossibleNumbers) {
  for (const auto& [key, value] :
       std::initializer_list<std::pair<const char*, Json>>{{"hidden_size", 0},
                                                           {"hidden_size", -64},
                                                           {"hidden_size", "64"},
                                                           {"hidden_size", 1ll << 40},
                                                           {"num_attention_heads", 5},
                                                           {"num_key_value_heads", 3},
                                                           {"vocab_size", 1ll << 40},
                                                           {"num_hidden_layers", 1000000},
                                                           {"head_dim", 1 << 20},
                                                           {"hidden_act", "tanhshrink"},
                                                           {"rope_theta", -1}}) {
    Json j = llama_config();
    j[key] = value;
    EXPECT_NE(refusal(j), "") << key << " = " << value;
  }
  Json j = llama_config();
  j.erase("hidden_size");
  EXPECT_NE(refusal(j).find("'hidden_size' is missing"), std::string::npos);
}

// A switch that changes the function is honoured or refused by name, never ignored.
TEST(Config, RefusesSwitchesItDoesNotCompute) {
  Json j = llama_config();
  j["rope_scaling"] = {{"rope_type", "mrope"}, {"factor", 8.0}};
  EXPECT_NE(refusal(j).find("rope_scaling of type 'mrope'"), std::string::npos);
  Json opt_config = parse_json(R"({"model_type": "opt", "hidden_size": 64, "ffn_dim": 96,
    "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 160})",
                               "test");
  EXPECT_EQ(refusal(opt_config), "");
  opt_config["num_key_value_heads"] = 2;
  EXPECT_NE(refusal(opt_config).find("key heads"), std::string::npos);
  Json neox = llama_config();
  neox["architectures"] = {"GPTNeoXForCausalLM"};
  EXPECT_NE(refusal(neox).find("key heads"), std::string::npos);
}

// The same of the families that only their own repositories define: what each refuses.
TEST(Config, RefusesSwitchesOfPublishedCode) {
  const auto with = [](const char* architecture, const char* key, const Json& value) {
    Json j = llama_config();
    j["architectures"] = {architecture};
    j.erase("num_key_value_heads");
    j["max_position_embeddings"] = 64;
    j["num_experts_per_tok"] = 2;
    j["n_routed_experts"] = 4;
    j[key] = value;
    return refusal(j);
  };
  struct Switch {
    const char *architecture, *key;
    Json value;
  };
  const std::vector<Switch> switches = {
      {"QWenLMHeadModel", "kv_channels", 32},
      {"QWenLMHeadModel", "scale_attn_weights", false},
      {"QWenLMHeadModel", "rope_scaling", {{"type", "dynamic"}}},
      {"QWenLMHeadModel", "seq_length", 1},
      {"QWenLMHeadModel", "intermediate_size", 97},
      {"InternLMForCausalLM", "rotary", {{"type", "spiral"}}},
      {"InternLMForCausalLM", "rotary", "dynamic"},
      {"InternLM2ForCausalLM", "rope_scaling", {{"type", "spiral"}}},
      {"ChatGLMModel", "apply_residual_connection_post_layernorm", true},
      {"ChatGLMModel", "position_encoding_2d", true},
      {"ChatGLMModel", "original_rope", false},
      {"ChatGLMModel", "quantization_bit", 4},
      {"ChatGLMModel", "pre_seq_len", 128},
      {"ChatGLMModel", "rope_ratio", -1},
      {"DeepseekForCausalLM", "scoring_func", "sigmoid"},
      {"DeepseekForCausalLM", "num_experts_per_tok", 0},
  };
  for (const Switch& s : switches) {
    EXPECT_EQ(with(s.architecture, "unused", 1), "");
    EXPECT_NE(with(s.architecture, s.key, s.value).find(s.key), std::string::npos)
        << s.architecture << " " << s.key << ": " << with(s.architecture, s.key, s.value);
  }
}

class HeadFinder final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string&, Linear& l) override { unit_rows = l.unit_rows; }
  bool unit_rows = false;
};

// One name, in two spellings, for models with rotary positions and with ALiBi.
TEST(Config, TellsBaichuanFromBaichuan) {
  Json j = llama_config();
  j.erase("num_key_value_heads");
  for (const char* spelling : {"BaichuanForCausalLM", "BaiChuanForCausalLM"}) {
    j["architectures"] = {spelling};
    EXPECT_EQ(find_arch(j).name, "BaichuanForCausalLM");
  }
  EXPECT_NE(refusal(j).find("'model_max_length'"), std::string::npos);
  j["model_max_length"] = 4096;
  EXPECT_EQ(refusal(j), "");
  j["rope_theta"] = 1e6;  // ALiBi has no such thing
  EXPECT_NE(refusal(j).find("rope_theta"), std::string::npos);
  j["max_position_embeddings"] = 4096;
  EXPECT_EQ(refusal(j), "");
  for (const std::int64_t vocabulary : {64000, 125696}) {
    j["vocab_size"] = vocabulary;
    HeadFinder head;
    const Arch& baichuan = find_arch(j);
    baichuan.ends(baichuan.config(j))->visit(head);
    EXPECT_EQ(head.unit_rows, vocabulary == 125696);
  }
  j["tie_word_embeddings"] = true;
  EXPECT_NE(refusal(j).find("tie_word_embeddings"), std::string::npos);
}

TEST(Table, RowsAreComplete) {
  for (const Arch* arch : archs()) {
    EXPECT_FALSE(arch->name.empty());
    EXPECT_FALSE(arch->blocks.empty());
    EXPECT_TRUE(arch->config && arch->block && arch->ends) << arch->name;
  }
}

}  // namespace
}  // namespace quaver
