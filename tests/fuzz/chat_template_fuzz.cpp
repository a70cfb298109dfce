// Bytes as a chat template: it must render, or throw an Error within its budget. What follows a
// zero byte, if it is JSON, is the conversation.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "text/chat_template.h"

namespace {

constexpr std::string_view conversation = R"([
  {"role": "system", "content": " Be kind. "},
  {"role": "user", "content": [{"type": "text", "text": "h\u00e9 \ud83d\ude00"}], "n": 1.5},
  {"role": "assistant", "content": null, "tool_calls": [
    {"id": "a", "function": {"name": "f", "arguments": {"x": [1, true, {}]}}}]},
  {"role": "tool", "content": ""}])";

quaver::OrderedJson messages_of(std::string_view text) {
  try {
    return quaver::parse_ordered_json(text, "fuzz");
  } catch (const quaver::Error&) {
    return quaver::parse_ordered_json(conversation, "fuzz");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(bytes.find('\0'), bytes.size());
  try {
    quaver::ChatInput input;
    input.messages = messages_of(bytes.substr(end == bytes.size() ? end : end + 1));
    input.tools = quaver::parse_ordered_json(R"([{"function": {"name": "f"}}])", "fuzz");
    input.add_generation_prompt = true;
    input.variables = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    input.now = std::tm{};
    const quaver::ChatLimits limits{
        .steps = 20'000, .output = 1 << 20, .bytes = 16 << 20, .template_size = 1 << 16};
    quaver::ChatTemplate(bytes.substr(0, end), "fuzz", limits).render(input);
  } catch (const quaver::Error& error) {
    if (error.fault == quaver::Fault::internal) __builtin_trap();
  }
  return 0;
}
