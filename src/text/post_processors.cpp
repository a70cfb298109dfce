// Post-processors of tokenizer.json: the special tokens around one text.
#include "text/pipeline.h"

namespace quaver::tokens {
namespace {

std::int32_t checked_id(const Json& value, std::string_view where) {
  const bool fits = value.is_number_integer() && value >= 0 && value < largest_vocabulary;
  ensure_file(fits, where, ": post_processor token id ", value.dump(), " is not in [0, ",
              largest_vocabulary, ")");
  return value.get<std::int32_t>();
}

// A template is ids before the text and ids after it: `single` names the text ($A) once.
PostProcessor read_template(const Json& object, std::string_view where) {
  ensure_file(object.contains("single") && object["single"].is_array(), where,
              ": TemplateProcessing has no list 'single'");
  const Json known = object.value("special_tokens", Json::object());
  std::vector<std::int32_t> before, after;
  int texts = 0;
  for (const Json& piece : object["single"]) {
    ensure_file(piece.is_object() && piece.size() == 1, where,
                ": a template piece is {\"SpecialToken\": ...} or {\"Sequence\": ...}, got ",
                piece.dump());
    if (piece.contains("Sequence")) {
      ensure_file(json_string(piece["Sequence"], "id", where) == "A", where,
                  ": the template of one text names another one");
      ++texts;
      continue;
    }
    ensure_file(piece.contains("SpecialToken"), where, ": unknown template piece ", piece.dump());
    const std::string name = json_string(piece["SpecialToken"], "id", where);
    ensure_file(known.is_object() && known.contains(name) && known[name].is_object() &&
                    known[name].contains("ids") && known[name]["ids"].is_array(),
                where, ": the template's special token '", name, "' has no ids");
    for (const Json& id : known[name]["ids"]) {
      (texts == 0 ? before : after).push_back(checked_id(id, where));
    }
  }
  ensure_file(texts == 1, where, ": the template of one text holds it ", texts, " times");
  return [before, after](std::vector<std::int32_t>& ids) {
    ids.insert(ids.begin(), before.begin(), before.end());
    ids.insert(ids.end(), after.begin(), after.end());
  };
}

// ByteLevel changes offsets only.
PostProcessor read_byte_level(const Json&, std::string_view) {
  return [](std::vector<std::int32_t>&) {};
}

// BertProcessing and RobertaProcessing: cls, text, sep, each as ["token", id].
PostProcessor read_enclosing(const Json& object, std::string_view where) {
  const auto id = [&](const char* key) {
    ensure_file(object.contains(key) && object[key].is_array() && object[key].size() == 2, where,
                ": post_processor's '", key, "' is not [token, id]");
    return checked_id(object[key][1], where);
  };
  return [cls = id("cls"), sep = id("sep")](std::vector<std::int32_t>& ids) {
    ids.insert(ids.begin(), cls);
    ids.push_back(sep);
  };
}

PostProcessor read_post_processors(const Json& object, std::string_view where) {
  std::vector<PostProcessor> steps;
  for (const Json& step : stage_list(object, "processors", where)) {
    steps.push_back(read_post_processor(step, where));
  }
  return [steps](std::vector<std::int32_t>& ids) {
    for (const PostProcessor& step : steps) step(ids);
  };
}

constexpr StageRow<PostProcessor> post_processors[] = {
    {"Sequence", read_post_processors},    {"TemplateProcessing", read_template},
    {"ByteLevel", read_byte_level},        {"BertProcessing", read_enclosing},
    {"RobertaProcessing", read_enclosing},
};

}  // namespace

PostProcessor read_post_processor(const Json& object, std::string_view where) {
  return read_by_type(post_processors, "post_processor", object, where);
}

}  // namespace quaver::tokens
