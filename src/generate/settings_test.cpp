#include "generate/settings.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"

namespace quaver {
namespace {

// The message of the error that `options` over `config` give; empty: none.
std::string refusal(const GenerateOptions& options, const Json& config = nullptr) {
  try {
    resolve(options, config);
    return {};
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(Settings, nothing_given_is_greedy) {
  const GenerateSettings s = resolve({}, nullptr);
  EXPECT_FALSE(s.sample);
  EXPECT_EQ(s.num_beams, 1);
  EXPECT_EQ(s.repetition_penalty, 1);
  EXPECT_EQ(s.early_stopping, EarlyStopping::no);
  EXPECT_TRUE(s.eos.empty());
  EXPECT_EQ(new_token_limit(s, 10, 0), 128);
}

TEST(Settings, the_model_says_what_the_user_leaves_open) {
  const Json config = {
      {"do_sample", true},         {"temperature", 0.6},        {"top_p", 0.9},
      {"repetition_penalty", 1.1}, {"max_new_tokens", 7},       {"eos_token_id", {2, 5}},
      {"bos_token_id", 1},         {"early_stopping", "never"}, {"length_penalty", -0.5}};
  const GenerateSettings s = resolve({}, config);
  EXPECT_TRUE(s.sample);
  EXPECT_EQ(s.temperature, 0.6);
  EXPECT_EQ(s.top_k, 50);
  EXPECT_EQ(s.top_p, 0.9);
  EXPECT_EQ(s.repetition_penalty, 1.1);
  EXPECT_EQ(s.max_new_tokens, 7);
  EXPECT_EQ(s.eos, (std::vector<std::int32_t>{2, 5}));
  EXPECT_EQ(s.bos, 1);
  EXPECT_EQ(s.early_stopping, EarlyStopping::never);
  EXPECT_EQ(resolve({.early_stopping = "true"}, config).early_stopping, EarlyStopping::yes);
  EXPECT_EQ(resolve({.early_stopping = "never"}, {}).early_stopping, EarlyStopping::never);
  EXPECT_EQ(s.length_penalty, -0.5);

  const GenerateSettings own =
      resolve({.max_new_tokens = 9, .temperature = 0.0, .ignore_eos = true}, config);
  EXPECT_FALSE(own.sample);
  EXPECT_EQ(own.temperature, 1);
  EXPECT_EQ(own.max_new_tokens, 9);
  EXPECT_TRUE(own.eos.empty());
}

TEST(Settings, a_sampling_option_turns_sampling_on) {
  EXPECT_TRUE(resolve({.temperature = 0.7}, nullptr).sample);
  EXPECT_TRUE(resolve({.top_k = 5}, nullptr).sample);
  EXPECT_TRUE(resolve({.top_p = 0.5}, nullptr).sample);
  EXPECT_TRUE(resolve({.min_p = 0.1}, nullptr).sample);
  EXPECT_TRUE(resolve({.typical_p = 0.5}, nullptr).sample);
  EXPECT_FALSE(resolve({.temperature = 0.0, .top_k = 5}, nullptr).sample);
  EXPECT_FALSE(resolve({.repetition_penalty = 1.2, .num_beams = 4, .seed = 3}, nullptr).sample);
  EXPECT_FALSE(resolve({.temperature = 0.0}, Json{{"do_sample", true}}).sample);
}

TEST(Settings, refuses_what_is_out_of_range_by_name) {
  EXPECT_EQ(refusal({.max_new_tokens = 0}),
            "[generate] --max-new-tokens 0: expected 1 to 2147483648");
  EXPECT_EQ(refusal({.temperature = -1.0}),
            "[generate] --temperature -1: expected a number of at least 0");
  EXPECT_EQ(refusal({.top_k = -3}), "[generate] --top-k -3: expected 0 to 2147483648");
  EXPECT_EQ(refusal({.top_p = 1.5}),
            "[generate] --top-p 1.5: expected a number of at least 0 and at most 1");
  EXPECT_EQ(refusal({.repetition_penalty = 0.0}),
            "[generate] --repetition-penalty 0: expected a number above 0");
  EXPECT_EQ(refusal({.num_beams = 0}), "[generate] --num-beams 0: expected 1 to 1024");
  EXPECT_EQ(refusal({.stop = {"a", ""}}),
            "[generate] --stop is empty: expected a string of at least one byte");
  EXPECT_EQ(refusal({}, {{"top_p", -1}}),
            "[generate] generation_config.json: top_p -1: expected a number of at least 0 and at "
            "most 1");
  EXPECT_NE(refusal({}, {{"temperature", "hot"}}), "");
  EXPECT_NE(refusal({}, {{"eos_token_id", "x"}}), "");
  EXPECT_NE(refusal({}, {{"eos_token_id", 1e40}}), "");
  EXPECT_NE(refusal({}, {{"early_stopping", 3}}), "");
  EXPECT_EQ(refusal({.early_stopping = "always"}),
            "early_stopping: got 'always', expected true, false or never");
  EXPECT_NE(refusal({}, Json::array()), "");
}

TEST(Settings, refuses_what_it_cannot_follow) {
  EXPECT_EQ(refusal({}, {{"guidance_scale", 1.5}}),
            "generation_config.json: guidance_scale is 1.5: quaver cannot do that");
  EXPECT_EQ(
      refusal({}, {{"guidance_scale", 1.0}, {"num_beam_groups", 1}, {"bad_words_ids", nullptr}}),
      "");
  for (const char* key : {"num_beam_groups", "diversity_penalty", "penalty_alpha", "dola_layers",
                          "constraints", "force_words_ids", "watermarking_config", "token_healing",
                          "max_time", "cache_implementation"})
    EXPECT_NE(refusal({}, {{key, 7}}).find(text(key, " is 7: quaver cannot do that")),
              std::string::npos)
        << key;
  EXPECT_EQ(refusal({}, {{"token_healing", false}, {"cache_implementation", "hybrid"}}), "");
}

TEST(Settings, refuses_what_does_not_go_together) {
  EXPECT_EQ(refusal({.num_return_sequences = 2}),
            "[generate] --num-return-sequences 2: the likeliest tokens give one; expected "
            "--num-beams or sampling");
  EXPECT_EQ(refusal({.num_beams = 2, .num_return_sequences = 3}),
            "[generate] --num-return-sequences 3: expected at most --num-beams, which is 2");
  EXPECT_EQ(refusal({.temperature = 1.0, .num_return_sequences = 3}), "");
  EXPECT_EQ(refusal({.num_beams = 2, .prompt_lookup_num_tokens = 3}),
            "[generate] --prompt-lookup-num-tokens beside 2 beams: expected --num-beams 1");
  EXPECT_EQ(refusal({.kv_cache = "f64"}), "[generate] --kv-cache f64: expected f32, f16 or bf16");
}

TEST(Settings, biases_come_from_the_file_and_from_the_user) {
  const Json config = {{"sequence_bias", {{{7}, -1.0}, {{7, 9}, 2.0}}},
                       {"bad_words_ids", {{2}, {5}, {2, 3}}},
                       {"eos_token_id", 2}};
  const auto path = std::filesystem::temp_directory_path() / "quaver_bias_test.json";
  std::ofstream(path) << R"({"7": 3.5, "0": -100})";
  const GenerateSettings s = resolve({.logit_bias = path.string()}, config);
  ASSERT_EQ(s.sequence_bias.size(), 3u);
  EXPECT_EQ(s.sequence_bias[0].ids, (std::vector<std::int32_t>{7, 9}));
  EXPECT_EQ(s.sequence_bias[1].ids, (std::vector<std::int32_t>{0}));
  EXPECT_EQ(s.sequence_bias[2].bias, 3.5f);
  ASSERT_EQ(s.bad_words.size(), 2u);  // the end token by itself stays allowed
  EXPECT_EQ(s.bad_words[0].ids, (std::vector<std::int32_t>{5}));
  std::filesystem::remove(path);
  for (const char* bad : {R"({"x": 1})", R"({"7": "a"})", "3", R"([[7, 1]])", R"([[[], 1]])",
                          R"([[[-1], 1]])", R"([[[7], null]])"}) {
    EXPECT_NE(refusal({}, {{"sequence_bias", Json::parse(bad)}}).find("sequence_bias"),
              std::string::npos)
        << bad;
  }
  EXPECT_NE(refusal({}, {{"bad_words_ids", {7}}}), "");
  EXPECT_NE(refusal({}, {{"exponential_decay_length_penalty", 1.5}}), "");
  EXPECT_NE(refusal({}, {{"stop_strings", {""}}}), "");
}

TEST(Settings, lengths_fit_the_model) {
  GenerateSettings s;
  EXPECT_EQ(new_token_limit(s, 100, 128), 28);  // the default gives way
  s.max_length = 50;
  EXPECT_EQ(new_token_limit(s, 20, 0), 30);
  EXPECT_EQ(new_token_limit(s, 20, 40), 20);
  EXPECT_THROW(new_token_limit(s, 50, 0), Error);
  s.max_new_tokens = 60;
  EXPECT_EQ(new_token_limit(s, 68, 128), 60);
  EXPECT_THROW(new_token_limit(s, 69, 128), Error);
  EXPECT_THROW(new_token_limit(s, 128, 128), Error);
}

TEST(Settings, token_ids_come_from_config_json_where_nothing_else_says) {
  const auto directory = std::filesystem::temp_directory_path() / "quaver_settings_test";
  std::filesystem::create_directories(directory);
  std::filesystem::remove(directory / "generation_config.json");
  std::ofstream(directory / "config.json") << R"({"eos_token_id": [3, 4], "temperature": 0.1})";
  EXPECT_EQ(read_generation_config(directory), (Json{{"eos_token_id", {3, 4}}}));
  std::ofstream(directory / "generation_config.json") << R"({"eos_token_id": 2})";
  EXPECT_EQ(resolve({}, read_generation_config(directory)).eos, (std::vector<std::int32_t>{2}));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace quaver
