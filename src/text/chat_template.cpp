#include "text/chat_template.h"

#include <ctime>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "text/jinja/interpreter.h"
#include "text/utf8.h"

namespace quaver {

namespace jinja {
struct ParsedTemplate {
  std::string name;
  ChatLimits limits;
  Body body;
};
}  // namespace jinja

namespace {

namespace fs = std::filesystem;
using jinja::Value;

constexpr int deepest_input = 90;  // below what a container of a template may be

Value converted(const OrderedJson& json, int level) {
  ensure(level <= deepest_input, "the conversation is nested deeper than ", deepest_input,
         " levels");
  switch (json.type()) {
    case OrderedJson::value_t::null:
      return Value();
    case OrderedJson::value_t::boolean:
      return Value(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return Value(json.get<std::int64_t>());
    case OrderedJson::value_t::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      if (number > INT64_MAX) fail(Fault::unsupported, "integer ", number, " in the conversation");
      return Value(static_cast<std::int64_t>(number));
    }
    case OrderedJson::value_t::number_float:
      return Value(json.get<double>());
    case OrderedJson::value_t::string:
      return Value::text(tokens::replaced_invalid(json.get_ref<const std::string&>()));
    case OrderedJson::value_t::array: {
      std::vector<Value> values;
      for (const OrderedJson& entry : json) values.push_back(converted(entry, level + 1));
      return Value::list(std::move(values));
    }
    case OrderedJson::value_t::object: {
      jinja::Dict dict;
      for (const auto& [key, value] : json.items())
        dict.set(Value::text(tokens::replaced_invalid(key)), converted(value, level + 1));
      return jinja::make_dict(std::move(dict));
    }
    default:
      fail(Fault::bad_argument, "the conversation has a value that JSON has not");
  }
}

// A message's reasoning has had several names: as transformers does, the first that is there also
// becomes `reasoning_content`, and `thinking` unless that is there.
OrderedJson with_reasoning(const OrderedJson& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    OrderedJson made = {{"thinking", *found}};
    for (const auto& [key, value] : message.items()) made[key] = value;
    made["reasoning_content"] = *found;
    return made;
  }
  return message;
}

Value messages_of(const OrderedJson& given) {
  ensure(given.is_array(), "messages are ", given.type_name(), ", expected an array");
  std::vector<Value> messages;
  for (const OrderedJson& message : given) {
    ensure(message.is_object(), "message ", messages.size(), " is ", message.type_name(),
           ", expected an object");
    messages.push_back(converted(with_reasoning(message), 2));
  }
  return Value::list(std::move(messages));
}

std::map<std::string, Value> variables_of(const ChatInput& input) {
  std::map<std::string, Value> variables;
  variables["documents"] = Value();
  if (!input.variables.is_null()) {
    ensure(input.variables.is_object(), "variables are ", input.variables.type_name(),
           ", expected an object");
    for (const auto& [name, value] : input.variables.items()) variables[name] = converted(value, 1);
  }
  ensure(input.tools.is_null() || input.tools.is_array(), "tools are ", input.tools.type_name(),
         ", expected an array");
  variables["messages"] = messages_of(input.messages);
  variables["tools"] = converted(input.tools, 1);
  variables["add_generation_prompt"] = Value(input.add_generation_prompt);
  return variables;
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return parts;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string name, const ChatLimits& limits) {
  ensure_file(static_cast<std::int64_t>(source.size()) <= limits.template_size, name, ": ",
              source.size(), " bytes, the limit is ", limits.template_size);
  ensure_file(tokens::is_valid_utf8(source), name, ": not valid UTF-8");
  auto parsed = std::make_shared<jinja::ParsedTemplate>();
  try {
    parsed->body = jinja::parse(source);
  } catch (const Error& error) {
    throw Error(error.fault, name + ": " + error.what());
  }
  parsed->name = std::move(name);
  parsed->limits = limits;
  parsed_ = std::move(parsed);
}

std::string ChatTemplate::render(const ChatInput& input) const {
  const ChatLimits& limits = parsed_->limits;
  std::map<std::string, Value> variables;
  try {
    variables = variables_of(input);
  } catch (const Error& error) {
    throw Error(error.fault, parsed_->name + ": " + error.what());
  }
  jinja::Budget budget(limits.steps, limits.bytes, limits.output);
  jinja::Interpreter interpreter(variables, jinja::Date{input.now ? *input.now : local_time()},
                                 budget, limits.output);
  try {
    return interpreter.run(parsed_->body);
  } catch (const Error& error) {
    throw Error(error.fault,
                text(parsed_->name, ": line ", interpreter.line(), ": ", error.what()));
  }
}

namespace {

constexpr std::uint64_t largest_template = 1 << 20;

std::string shown(const fs::path& path) { return path.filename().string(); }

std::map<std::string, ChatTemplate> templates_of_files(const fs::path& directory) {
  std::map<std::string, ChatTemplate> found;
  const auto add = [&found](std::string name, const fs::path& path) {
    found.emplace(std::move(name), ChatTemplate(read_file(path, largest_template), shown(path)));
  };
  if (fs::exists(directory / "chat_template.jinja"))
    add("default", directory / "chat_template.jinja");
  const fs::path more = directory / "additional_chat_templates";
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(more, absent)) {
    if (entry.path().extension() == ".jinja") add(entry.path().stem().string(), entry.path());
  }
  return found;
}

// The value of `chat_template`: a text, or a list of {name, template}.
std::map<std::string, ChatTemplate> templates_of_config(const Json& config,
                                                        const std::string& where) {
  std::map<std::string, ChatTemplate> found;
  const auto place = config.find("chat_template");
  if (place == config.end() || place->is_null()) return found;
  const std::string name = where + " chat_template";
  if (place->is_string()) {
    found.emplace("default", ChatTemplate(place->get_ref<const std::string&>(), name));
    return found;
  }
  ensure_file(place->is_array(), where, ": 'chat_template' is ", place->type_name(),
              ", expected a string or a list");
  for (const Json& entry : *place) {
    const std::string key = json_string(entry, "name", name);
    ensure_file(found
                    .emplace(key, ChatTemplate(json_string(entry, "template", name),
                                               name + " '" + key + "'"))
                    .second,
                name, ": two templates are named '", key, "'");
  }
  return found;
}

// bos_token and its like: a text, or an added token's object.
void add_special_tokens(const Json& config, OrderedJson& tokens) {
  for (const auto& [key, value] : config.items()) {
    if (!key.ends_with("_token") || tokens.contains(key)) continue;
    if (value.is_string()) tokens[key] = value.get<std::string>();
    if (!value.is_object()) continue;
    const auto content = value.find("content");
    if (content != value.end() && content->is_string()) tokens[key] = content->get<std::string>();
  }
}

Json object_of(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  Json json = read_json_file(path.string());
  ensure_file(json.is_object(), shown(path), ": expected an object, found ", json.type_name());
  return json;
}

}  // namespace

std::optional<ChatTemplates> ChatTemplates::find(const fs::path& directory) {
  ChatTemplates found;
  const Json config = object_of(directory / "tokenizer_config.json");
  found.templates_ = templates_of_files(directory);
  if (found.templates_.empty()) {
    found.templates_ =
        templates_of_config(object_of(directory / "chat_template.json"), "chat_template.json");
  }
  if (found.templates_.empty())
    found.templates_ = templates_of_config(config, "tokenizer_config.json");
  if (found.templates_.empty()) return std::nullopt;
  add_special_tokens(config, found.special_tokens_);
  add_special_tokens(object_of(directory / "special_tokens_map.json"), found.special_tokens_);
  return found;
}

const ChatTemplate& ChatTemplates::choose(bool tools) const {
  auto place = templates_.end();
  if (tools) place = templates_.find("tool_use");
  if (place == templates_.end()) place = templates_.find("default");
  if (place != templates_.end()) return place->second;
  std::string names;
  for (const auto& entry : templates_) names += (names.empty() ? "'" : ", '") + entry.first + "'";
  fail(Fault::bad_argument, "the model has no chat template named 'default', only ", names);
}

std::string ChatTemplates::render(const ChatInput& input) const {
  ChatInput with_tokens = input;
  with_tokens.variables = special_tokens_;
  if (input.variables.is_object()) {
    for (const auto& [name, value] : input.variables.items()) with_tokens.variables[name] = value;
  }
  return choose(!input.tools.is_null()).render(with_tokens);
}

}  // namespace quaver
