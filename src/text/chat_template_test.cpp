// Rendered text against transformers' and jinja2's (tests/golden/make_chat_templates.py).
#include "text/chat_template.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <fstream>
#include <iterator>
#include <set>

#include "core/error.h"

namespace quaver {
namespace {

const OrderedJson& goldens() {
  static const OrderedJson json = [] {
    std::ifstream in(QUAVER_TEST_DATA "/chat_templates.json.zst", std::ios::binary);
    const std::string packed(std::istreambuf_iterator<char>(in), {});
    std::string content(ZSTD_getFrameContentSize(packed.data(), packed.size()), '\0');
    const std::size_t size =
        ZSTD_decompress(content.data(), content.size(), packed.data(), packed.size());
    EXPECT_EQ(size, content.size());
    return parse_ordered_json(content, "chat_templates.json");
  }();
  return json;
}

// The date that the goldens were made on: Tuesday, 5 March 2024, 14:07:09.
std::tm golden_date() {
  std::tm date{};
  date.tm_year = 124;
  date.tm_mon = 2;
  date.tm_mday = 5;
  date.tm_hour = 14;
  date.tm_min = 7;
  date.tm_sec = 9;
  date.tm_wday = 2;
  date.tm_yday = 64;
  return date;
}

ChatInput input_of(const OrderedJson& conversation) {
  ChatInput input;
  input.messages = conversation.at("messages");
  if (conversation.contains("tools")) input.tools = conversation.at("tools");
  input.add_generation_prompt = conversation.value("add_generation_prompt", false);
  input.variables = goldens().at("special_tokens");
  if (conversation.contains("variables")) {
    for (const auto& [name, value] : conversation.at("variables").items())
      input.variables[name] = value;
  }
  input.now = golden_date();
  return input;
}

struct Outcome {
  std::string output, error;
  bool failed = false;
  std::optional<Fault> fault;
};

Outcome outcome(const std::string& source, const ChatInput& input) {
  Outcome found;
  try {
    found.output = ChatTemplate(source, "t").render(input);
  } catch (const Error& error) {
    found.failed = true;
    found.error = error.what();
    found.fault = error.fault;
  }
  return found;
}

void expect_golden(const OrderedJson& golden, const Outcome& found, const std::string& what) {
  if (golden.contains("output")) {
    EXPECT_FALSE(found.failed) << what << "\nrefused: " << found.error;
    EXPECT_EQ(found.output, golden.at("output").get<std::string>()) << what;
    return;
  }
  const auto message = golden.at("error").get<std::string>();
  EXPECT_TRUE(found.failed) << what << "\ngave: " << found.output << "\nexpected: " << message;
  if (!found.failed) return;
  EXPECT_NE(found.fault, Fault::internal) << what << "\n" << found.error;
  EXPECT_NE(found.error.find("t: line "), std::string::npos) << found.error;
  EXPECT_NE(found.error.find(message), std::string::npos)
      << what << "\nsaid: " << found.error << "\nexpected: " << message;
}

TEST(ChatTemplate, SmallTemplatesGiveWhatJinjaGives) {
  ChatInput input;
  input.messages = OrderedJson::array();
  input.variables = goldens().at("context");
  input.now = golden_date();
  for (const OrderedJson& golden : goldens().at("cases")) {
    const auto source = golden.at("template").get<std::string>();
    expect_golden(golden, outcome(source, input), source);
  }
}

TEST(ChatTemplate, ModelsTemplatesGiveWhatTransformersGives) {
  const OrderedJson& conversations = goldens().at("conversations");
  EXPECT_GE(goldens().at("models").size(), 30u);
  for (const OrderedJson& model : goldens().at("models")) {
    const auto source = model.at("template").get<std::string>();
    const OrderedJson& outcomes = model.at("outcomes");
    ASSERT_EQ(outcomes.size(), conversations.size());
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      expect_golden(outcomes[i], outcome(source, input_of(conversations[i])),
                    model.at("name").get<std::string>() + ", conversation " + std::to_string(i));
    }
  }
}

}  // namespace
}  // namespace quaver
