#include "core/options.h"

#include <gtest/gtest.h>

#include "core/log.h"

namespace quaver {
namespace {

struct Sample {
  std::string method = "gptq";
  int bits = 4;
  std::int64_t group_size = 128;
  bool sym = true;
  bool desc_act = false;
  bool no_stream = false;
  std::optional<bool> aware;
  std::optional<std::string> early;
  std::optional<std::uint64_t> seed;
  double damp = 0.01;
  std::vector<std::string> rules;
  std::string prompts = "512", out;

  void visit(auto&& field) {
    field("method", method, "how codes are chosen");
    field("bits", bits, "bits a weight");
    field("group-size", group_size, "input columns that share a scale");
    field("sym", sym, "symmetric grid");
    field("desc-act", desc_act, "falling activation");
    field("no-stream", no_stream, "print at the end");
    field("aware", aware, "group aware order");
    field("early", early, "stop early", "[=never]");
    field("seed", seed, "seed");
    field("damp", damp, "damping");
    field("rule", rules, "a rule");
    field("p", prompts, "prompt lengths");
    field("out", out, "where", "FILE");
  }
};

Flags read(Sample& sample, std::vector<std::string> words) {
  return read_flags(words, options_of(sample));
}

std::string flag_refusal(std::vector<std::string> words) {
  Sample sample;
  try {
    read(sample, std::move(words));
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::bad_argument);
    return error.what();
  }
  return "accepted";
}

TEST(Options, ReadsEveryKindOfField) {
  Sample s;
  const Flags flags = read(s, {"model", "--method", "rtn", "--bits=3", "--group-size", "-1",
                               "--asym", "--desc-act", "--no-aware", "--seed", "7", "--damp=0.5",
                               "--rule", "a=skip", "--rule=b=bits:8", "-p", "1,2", "out"});
  EXPECT_EQ(flags.words, (std::vector<std::string>{"model", "out"}));
  EXPECT_EQ(s.method, "rtn");
  EXPECT_EQ(s.bits, 3);
  EXPECT_EQ(s.group_size, -1);
  EXPECT_FALSE(s.sym);
  EXPECT_TRUE(s.desc_act);
  EXPECT_EQ(s.aware, false);
  EXPECT_EQ(s.seed, 7u);
  EXPECT_DOUBLE_EQ(s.damp, 0.5);
  EXPECT_EQ(s.rules, (std::vector<std::string>{"a=skip", "b=bits:8"}));
  EXPECT_EQ(s.prompts, "1,2");
  EXPECT_TRUE(flags.given.contains("sym"));
  EXPECT_FALSE(flags.given.contains("no-stream"));
}

TEST(Options, LastFlagWinsAndDoubleHyphenEndsThem) {
  Sample s;
  const Flags flags = read(s, {"--desc-act", "--no-desc-act", "--no-stream", "--", "--bits", "-"});
  EXPECT_FALSE(s.desc_act);
  EXPECT_TRUE(s.no_stream);
  EXPECT_EQ(s.bits, 4);
  EXPECT_EQ(flags.words, (std::vector<std::string>{"--bits", "-"}));
}

TEST(Options, UnknownOptionNamesTheNearest) {
  EXPECT_EQ(flag_refusal({"--bit", "4"}), "unknown option '--bit'; nearest known: --bits, --out");
  EXPECT_EQ(flag_refusal({"--groupsize=4"}),
            "unknown option '--groupsize'; nearest known: --group-size");
  EXPECT_EQ(flag_refusal({"--no-sym"}),
            "unknown option '--no-sym'; nearest known: --sym, --asym, --no-stream");
  EXPECT_NE(flag_refusal({"--no-no-stream"}).find("--no-stream"), std::string::npos);
}

TEST(Options, BadValuesSayOptionGivenAndExpected) {
  EXPECT_EQ(flag_refusal({"--bits", "four"}), "--bits: got 'four', expected a whole number");
  EXPECT_EQ(flag_refusal({"--bits="}), "--bits: got '', expected a whole number");
  EXPECT_EQ(flag_refusal({"--bits", "4x"}), "--bits: got '4x', expected a whole number");
  EXPECT_EQ(flag_refusal({"--bits", "4294967296"}),
            "--bits: got '4294967296', expected a whole number from -2147483648 to 2147483647");
  EXPECT_EQ(flag_refusal({"--seed", "-1"}),
            "--seed: got '-1', expected a whole number from 0 to 18446744073709551615");
  EXPECT_EQ(flag_refusal({"--damp", "nan"}), "--damp: got 'nan', expected a number");
  EXPECT_EQ(flag_refusal({"--damp"}), "--damp: needs a value (F)");
  EXPECT_EQ(flag_refusal({"--sym=1"}), "--sym: is a switch and takes no value, got '1'");
}

TEST(Options, ASwitchMayTakeAWord) {
  for (const auto& [flag, value] :
       {std::pair{"--early", "true"}, {"--no-early", "false"}, {"--early=never", "never"}}) {
    Sample s;
    read(s, {flag});
    EXPECT_EQ(s.early, value);
  }
  EXPECT_EQ(flag_refusal({"--no-early=never"}),
            "--no-early: is a switch and takes no value, got 'never'");
  Sample s;
  const std::vector<Option> options = options_of(s);
  read_config({{"early", "never"}}, options, {}, "c");
  EXPECT_EQ(s.early, "never");
  read_config({{"early", true}}, options, {}, "c");
  EXPECT_EQ(s.early, "true");
  EXPECT_THROW(read_config({{"early", 3}}, options, {}, "c"), Error);
  EXPECT_NE(help_text(options).find("--early[=never], --no-early"), std::string::npos);
}

TEST(Options, ConfigSetsWhatNoFlagHasSet) {
  Sample s;
  const std::vector<std::string> words{"--bits", "3", "--rule", "x=skip"};
  const Flags flags = read_flags(words, options_of(s));
  read_config(
      parse_json(R"({"bits": 8, "group_size": 64, "sym": false, "seed": 18446744073709551615,
                             "damp": 1, "aware": null, "rule": ["y=skip"], "p": "1"})",
                 "c.json"),
      options_of(s), flags.given, "c.json");
  EXPECT_EQ(s.bits, 3);
  EXPECT_EQ(s.group_size, 64);
  EXPECT_FALSE(s.sym);
  EXPECT_EQ(s.seed, 18446744073709551615u);
  EXPECT_DOUBLE_EQ(s.damp, 1);
  EXPECT_EQ(s.rules, (std::vector<std::string>{"x=skip"}));
  EXPECT_EQ(s.prompts, "1");
}

TEST(Options, ConfigRefusesWrongTypesAndKeys) {
  const auto refusal_of = [](const char* json) -> std::string {
    Sample s;
    try {
      read_config(parse_json(json, "c.json"), options_of(s), {}, "c.json");
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal_of(R"({"bits": "4"})"), R"(c.json: bits: got "4", expected a number)");
  EXPECT_EQ(refusal_of(R"({"bits": 4.5})"), "c.json: bits: got '4.5', expected a whole number");
  EXPECT_EQ(refusal_of(R"({"sym": 1})"), "c.json: sym: got 1, expected true or false");
  EXPECT_EQ(refusal_of(R"({"rule": [1]})"), "c.json: rule: got 1, expected a string");
  EXPECT_EQ(refusal_of(R"({"group-size": 1})"),
            "c.json: unknown key 'group-size'; nearest known: group_size");
  EXPECT_EQ(refusal_of("[1]"), "c.json: expected an object of options, got a JSON array");
}

TEST(Options, HelpShowsFlagsAndDefaults) {
  Sample s;
  const std::string help = help_text(options_of(s));
  EXPECT_NE(help.find("  --bits N                  bits a weight [4]\n"), std::string::npos)
      << help;
  EXPECT_NE(help.find("  --sym, --asym             symmetric grid [on]\n"), std::string::npos)
      << help;
  EXPECT_NE(help.find("  --desc-act                falling activation\n"), std::string::npos)
      << help;
  EXPECT_NE(help.find("  --aware, --no-aware       group aware"), std::string::npos) << help;
  EXPECT_NE(help.find("  --out FILE                where\n"), std::string::npos) << help;
  EXPECT_NE(help.find("  --no-stream               print"), std::string::npos) << help;
  EXPECT_NE(help.find("  --rule TEXT               a rule; repeatable\n"), std::string::npos)
      << help;
  EXPECT_NE(help.find("  -p TEXT                   prompt lengths [512]\n"), std::string::npos)
      << help;
}

TEST(Options, JsonHoldsTheCurrentValues) {
  Sample s;
  s.rules = {"a"};
  const Json json = to_json(options_of(s));
  EXPECT_EQ(json["group_size"], 128);
  EXPECT_EQ(json["sym"], true);
  EXPECT_TRUE(json["seed"].is_null());
  EXPECT_EQ(json["rule"], Json::array({"a"}));
}

TEST(Options, NearestNames) {
  const std::vector<std::string> known{"quantize", "generate", "eval", "inspect"};
  EXPECT_EQ(nearest_names("quantise", known), (std::vector<std::string>{"quantize"}));
  EXPECT_EQ(nearest_names("evla", known)[0], "eval");
  EXPECT_TRUE(nearest_names("x", {}).empty());
}

TEST(Log, GoesToTheSinkOrNowhere) {
  std::string seen;
  log(LogLevel::warning, "lost");
  set_log_sink([&](LogLevel level, std::string_view message) {
    seen += level == LogLevel::warning ? "W:" : "I:";
    seen += message;
  });
  log(LogLevel::warning, "tensor ", 3);
  set_log_sink({});
  log(LogLevel::info, "lost");
  EXPECT_EQ(seen, "W:tensor 3");
}

}  // namespace
}  // namespace quaver
