// Templates that want too much, that this does not know, and directories of models.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "text/chat_template.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

ChatInput hello() {
  ChatInput input;
  input.messages = OrderedJson::parse(R"([{"role": "user", "content": "Hi"}])");
  return input;
}

struct Refusal {
  Fault fault;
  std::string message;
};

std::optional<Refusal> refusal(const std::string& source, const ChatInput& input = hello()) {
  try {
    ChatTemplate(source, "t").render(input);
    return std::nullopt;
  } catch (const Error& error) {
    return Refusal{error.fault, error.what()};
  }
}

void expect_refused(const std::string& source, Fault fault, const std::string& message) {
  const auto start = std::chrono::steady_clock::now();
  const auto found = refusal(source);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(found.has_value()) << source.substr(0, 200);
  EXPECT_EQ(found->fault, fault) << found->message;
  EXPECT_NE(found->message.find(message), std::string::npos) << found->message;
  EXPECT_LT(seconds.count(), 20) << source.substr(0, 200);
}

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(ChatTemplateHostile, WorkIsBounded) {
  const std::string loop = "{% for i in range(100000) %}";
  expect_refused("{% for i in range(1000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
                 Fault::resource, "t: line 1: the template takes more than 1000000 steps");
  expect_refused("{{ range(100001)|length }}", Fault::resource, "Range too big");
  expect_refused("{{ range(-9223372036854775807, 9223372036854775807)|list }}", Fault::resource,
                 "Range too big");
  expect_refused(loop + "{{ 'x' * 1000 }}{% endfor %}", Fault::resource,
                 "the output is longer than 16777216 bytes");
  expect_refused("{{ 'x' * 1000000000000 }}", Fault::resource, "the limit is 16777216");
  expect_refused("{{ [0] * 1000000000000 }}", Fault::resource, "the limit is 16777216");
  expect_refused("{{ 'x'.center(99999999999) }}", Fault::resource, "the limit is");
  expect_refused("{{ 'x'|indent(99999999999, true) }}", Fault::resource, "the limit is");
  expect_refused("{{ '%99999999999d' % 1 }}", Fault::unsupported, "width or precision");
  expect_refused("{{ '{:99999999999}'.format(1) }}", Fault::unsupported, "width or precision");
  expect_refused("{{ [1]|batch(99999999999, 0)|list }}", Fault::resource, "the limit is");
  expect_refused("{{ [1]|slice(99999999999)|list }}", Fault::resource, "steps");
  expect_refused("{{ ('x' * 4000000).replace('', 'y' * 1000) }}", Fault::resource, "bytes");
  expect_refused("{% set x = 'x' * 16000000 %}" + loop + "{% set y = x.upper() %}{% endfor %}",
                 Fault::resource, "the template handles more than");
  expect_refused(
      "{% set ns = namespace(x='a') %}" + loop + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
      Fault::resource, "");
}

TEST(ChatTemplateHostile, DepthIsBounded) {
  expect_refused("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}", Fault::bad_file,
                 "nested deeper than 64 levels");
  expect_refused("{{ " + repeated("-", 5000) + "1 }}", Fault::bad_file, "nested deeper");
  expect_refused("{{ " + repeated("not ", 5000) + "1 }}", Fault::bad_file, "nested deeper");
  expect_refused("{{ 1" + repeated("|string", 5000) + " }}", Fault::bad_file,
                 "deeper than 200 levels");
  expect_refused("{{ 1" + repeated(" if 1 else 1", 5000) + " }}", Fault::bad_file, "nested deeper");
  expect_refused(repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000), Fault::bad_file,
                 "nested deeper");
  expect_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", Fault::resource,
                 "nested deeper than 64 levels");
  expect_refused(
      "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}"
      "{% endfor %}",
      Fault::bad_argument, "containers are nested deeper");
  EXPECT_FALSE(refusal("{{ 1" + repeated(" + 1", 2000) + " }}").has_value());
  EXPECT_FALSE(refusal("{{ ''" + repeated(" ~ 'a'", 2000) + " }}").has_value());
}

TEST(ChatTemplateHostile, ChainsAndRingsOfObjectsAreFreed) {
  // Each would overflow the stack when freed link by link, or leak, if objects owned each other.
  for (const char* body :
       {"{% set p = ns.m %}{% macro m() %}{{ p }}{% endmacro %}{% set ns.m = m %}",
        "{% for x in [ns.m] %}{% set ns.m = loop %}{% endfor %}",
        "{% for x in [1] %}{% if loop.changed(ns.m) %}{% endif %}{% set ns.m = loop %}{% endfor %}",
        "{% set n = namespace(p=ns.m) %}{% set ns.m = n %}", "{% set ns.m = cycler(ns.m) %}",
        "{% set ns.m = ns %}"}) {
    const std::string source = std::string("{% set ns = namespace(m=none) %}") +
                               "{% for i in range(50000) %}" + body + "{% endfor %}" +
                               "{% set ns.m = none %}";
    const auto found = refusal(source);
    EXPECT_NE(found ? found->fault : Fault::resource, Fault::internal) << body;
  }
}

TEST(ChatTemplateHostile, UnknownThingsAreRefusedByName) {
  expect_refused("{% include 'x' %}", Fault::unsupported, "t: line 1: tag 'include'");
  expect_refused("{% extends 'x' %}", Fault::unsupported, "tag 'extends'");
  expect_refused("{% block a %}{% endblock %}", Fault::unsupported, "tag 'block'");
  expect_refused("\n\n{{ 'x'|urlize }}", Fault::unsupported, "line 3: filter 'urlize'");
  expect_refused("{{ 'x'|nope }}", Fault::unsupported, "No filter named 'nope'.");
  expect_refused("{{ 'x' is nope }}", Fault::unsupported, "No test named 'nope'.");
  expect_refused("{{ [1]|random }}", Fault::unsupported, "'random'");
  expect_refused("{{ lipsum() }}", Fault::unsupported, "'lipsum'");
  expect_refused("{{ 'x'.encode() }}", Fault::unsupported, "'encode' of 'str'");
  expect_refused("{{ strftime_now('%Q') }}", Fault::unsupported, "'%Q'");
  expect_refused("{{ 'x'.upper }}", Fault::unsupported, "printing the function 'upper'");
  expect_refused("{{ [1]|map('string') }}", Fault::unsupported, "generator");
  expect_refused("{{ 9223372036854775807 + 1 }}", Fault::unsupported, "more than 64 bits");
  expect_refused("{{ 9223372036854775808 }}", Fault::bad_file, "more than 64 bits");
  expect_refused("{{ ''.__class__.__mro__ }}", Fault::bad_argument,
                 "access to attribute '__class__' of 'str' object is unsafe.");
  expect_refused("{{ [].append(1) }}", Fault::bad_argument, "is unsafe");
}

TEST(ChatTemplateHostile, BadInputIsNamed) {
  EXPECT_THROW(ChatTemplate("\xFF", "t"), Error);
  EXPECT_THROW(ChatTemplate(std::string((1 << 20) + 1, 'x'), "t"), Error);
  ChatInput input = hello();
  input.messages = "text";
  EXPECT_EQ(refusal("x", input)->message, "t: messages are string, expected an array");
  input.messages = OrderedJson::parse("[1]");
  EXPECT_EQ(refusal("x", input)->message, "t: message 0 is number, expected an object");
  input = hello();
  input.tools = 5;
  EXPECT_EQ(refusal("x", input)->message, "t: tools are number, expected an array");
  input = hello();
  input.variables = 5;
  EXPECT_EQ(refusal("x", input)->message, "t: variables are number, expected an object");
  OrderedJson deep = 1;
  for (int i = 0; i < 300; ++i) deep = OrderedJson::array({deep});
  input.variables = {{"deep", deep}};
  EXPECT_NE(refusal("x", input)->message.find("nested deeper"), std::string::npos);
}

TEST(ChatTemplateHostile, OneTemplateServesManyThreads) {
  const ChatTemplate one("{% for m in messages %}{{ m.content|upper }}{{ 'x' * 3 }}{% endfor %}");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&one] {
      for (int turn = 0; turn < 200; ++turn) EXPECT_EQ(one.render(hello()), "HIxxx");
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class ChatTemplateDirectory : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() /
                 ("quaver_chat_" +
                  std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }
  std::string rendered(bool tools = false) const {
    ChatInput input = hello();
    if (tools) input.tools = OrderedJson::array();
    return ChatTemplates::find(directory_)->render(input);
  }
  fs::path directory_;
};

TEST_F(ChatTemplateDirectory, WithoutTemplatesThereIsNone) {
  EXPECT_FALSE(ChatTemplates::find(directory_).has_value());
  write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  EXPECT_FALSE(ChatTemplates::find(directory_).has_value());
}

TEST_F(ChatTemplateDirectory, FilesComeBeforeTheConfig) {
  write("tokenizer_config.json",
        R"({"chat_template": "config {{ bos_token }}{{ eos_token }}{{ unk_token is defined }}",
            "bos_token": {"content": "<b>", "lstrip": false}, "unk_token": null})");
  write("special_tokens_map.json", R"({"bos_token": "<other>", "eos_token": {"content": "</s>"}})");
  EXPECT_EQ(rendered(), "config <b></s>False");
  write("chat_template.json", R"({"chat_template": "processor {{ bos_token }}"})");
  EXPECT_EQ(rendered(), "processor <b>");
  write("chat_template.jinja", "file {{ messages[0].content }}\n");
  EXPECT_EQ(rendered(), "file Hi");
  write("additional_chat_templates/tool_use.jinja", "tools {{ tools }}");
  EXPECT_EQ(rendered(), "file Hi");
  EXPECT_EQ(rendered(true), "tools []");
}

TEST_F(ChatTemplateDirectory, ListsHaveNames) {
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "default", "template": "plain"},
                              {"name": "tool_use", "template": "tools"}]})");
  EXPECT_EQ(rendered(), "plain");
  EXPECT_EQ(rendered(true), "tools");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  try {
    rendered();
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the model has no chat template named 'default', only 'rag'");
  }
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THROW(ChatTemplates::find(directory_), Error);
  write("tokenizer_config.json", R"({"chat_template": "a\n{% if %}"})");
  try {
    ChatTemplates::find(directory_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("tokenizer_config.json chat_template: line 2: ", 0),
              0u)
        << error.what();
  }
}

}  // namespace
}  // namespace quaver
