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
  EXPECT_EQ(&find_arch(j), &llama);
  j.erase("architectures");
  EXPECT_EQ(&find_arch(j), &llama);
  j["architectures"] = {"SomethingElse"};
  EXPECT_NE(
      refusal(j).find("unknown architecture 'SomethingElse'; known: BloomForCausalLM, CodeGen"),
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

TEST(Table, RowsAreComplete) {
  for (const Arch* arch : archs()) {
    EXPECT_FALSE(arch->name.empty());
    EXPECT_FALSE(arch->blocks.empty());
    EXPECT_TRUE(arch->config && arch->block && arch->ends) << arch->name;
  }
}

}  // namespace
}  // namespace quaver
