// `quaver chat`: a conversation in the model's own template, on a terminal or through pipes.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/line_editor.h"
#include "cli/terminal.h"
#include "quaver/model.h"

namespace quaver::cli {
namespace {

constexpr std::int64_t longest_answer = 2048;  // where nothing else limits it

struct ChatOptions {
  std::string system;

  void visit(auto&& field) { field("system", system, "the system prompt"); }
};

// What a command answers: on standard error, as standard output is the model's alone. Not a note:
// --quiet does not take it away.
void reply(std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

class Chat {
 public:
  Chat(const Model& model, GenerateOptions options, const ChatOptions& chat,
       const CommonOptions& common)
      : model_(&model),
        options_(std::move(options)),
        common_(&common),
        first_seed_(options_.seed.value_or(0)) {
    options_.default_new_tokens = longest_answer;
    set_system(chat.system);
  }

  // Reads lines until the end of input or /quit.
  void run();
  Json messages_json() const;

 private:
  struct Command {
    std::string_view name, argument, what;
    void (Chat::*run)(const std::string& argument);
  };
  static std::span<const Command> commands();

  std::optional<std::string> next_line();
  void take(const std::string& line);
  void ask(const std::string& question);
  void answer();
  void obey(const std::string& line);
  void set_system(const std::string& text);
  bool forget_exchange();
  void say(std::string_view line) const { note(*common_, line); }

  void help(const std::string&);
  void reset(const std::string&);
  void system(const std::string& text);
  void undo(const std::string&);
  void retry(const std::string&);
  void history(const std::string&);
  void save(const std::string& path);
  void quit(const std::string&) { open_ = false; }

  const Model* model_;
  GenerateOptions options_;
  const CommonOptions* common_;
  std::uint64_t first_seed_, answers_ = 0;
  std::vector<ChatMessage> messages_;
  PromptCache cache_;
  LineReader lines_{"> "};
  bool open_ = true;
};

std::span<const Chat::Command> Chat::commands() {
  static constexpr Command table[] = {
      {"/help", "", "this list", &Chat::help},
      {"/reset", "", "forget all but the system prompt", &Chat::reset},
      {"/system", "TEXT", "begin anew with this system prompt; without TEXT show it",
       &Chat::system},
      {"/undo", "", "forget the last question and its answer", &Chat::undo},
      {"/retry", "", "answer the last question again, with the next seed", &Chat::retry},
      {"/history", "", "show the conversation", &Chat::history},
      {"/save", "FILE", "write the conversation as JSON", &Chat::save},
      {"/quit", "", "end; so does Ctrl-D", &Chat::quit},
      {"/exit", "", "the same", &Chat::quit},
  };
  return table;
}

Json Chat::messages_json() const {
  Json list = Json::array();
  for (const ChatMessage& m : messages_) list.push_back({{"role", m.role}, {"content", m.content}});
  return {{"messages", list}};
}

void Chat::set_system(const std::string& text) {
  messages_.clear();
  if (!text.empty()) messages_.push_back({"system", text});
}

// Drops the last question and what answers it; false if there is none.
bool Chat::forget_exchange() {
  if (messages_.empty() || messages_.back().role == "system") return false;
  if (messages_.back().role == "assistant") messages_.pop_back();
  if (!messages_.empty() && messages_.back().role == "user") messages_.pop_back();
  return true;
}

void Chat::help(const std::string&) {
  std::vector<std::vector<std::string>> rows = {{"command", "", "what it does"}};
  for (const Command& c : commands())
    rows.push_back({std::string(c.name), std::string(c.argument), std::string(c.what)});
  reply(aligned(rows) +
        "A line that ends in \\ goes on in the next one; a line that begins with // is text that\n"
        "begins with /. Ctrl-C stops the answer.");
}

void Chat::reset(const std::string&) {
  const bool has_system = !messages_.empty() && messages_.front().role == "system";
  messages_.resize(has_system ? 1 : 0);
  reply("The conversation is forgotten.");
}

void Chat::system(const std::string& text) {
  if (!text.empty()) {
    set_system(text);
    reply("A new conversation with this system prompt.");
    return;
  }
  const bool has_system = !messages_.empty() && messages_.front().role == "system";
  reply(has_system ? messages_.front().content : "There is no system prompt.");
}

void Chat::undo(const std::string&) {
  reply(forget_exchange() ? "The last question is forgotten." : "There is nothing to forget.");
}

void Chat::retry(const std::string&) {
  if (messages_.empty() || messages_.back().role != "assistant") {
    reply("There is no answer to try again.");
    return;
  }
  messages_.pop_back();
  answer();
}

void Chat::history(const std::string&) {
  for (const ChatMessage& m : messages_) reply(m.role + ": " + m.content);
}

void Chat::save(const std::string& path) {
  ensure(!path.empty(), "/save: needs the name of a file");
  std::ofstream out(path, std::ios::trunc);
  out << messages_json().dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  out.close();
  if (!out) fail(Fault::io, path, ": cannot write the conversation");
  reply(text("Wrote ", messages_.size(), " messages to ", path, "."));
}

void Chat::obey(const std::string& line) {
  const std::size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
  argument.erase(0, argument.find_first_not_of(' '));
  argument.erase(argument.find_last_not_of(' ') + 1);
  std::vector<std::string> names;
  for (const Command& c : commands()) {
    if (c.name == name) return (this->*c.run)(argument);
    names.emplace_back(c.name);
  }
  const auto near = nearest_names(name, names);
  fail(Fault::bad_argument, "unknown command '", name,
       "', nearest known: ", near.empty() ? "/help" : near.front(),
       "; a text that begins with / is written //");
}

// Answers the question that stands last in the conversation.
void Chat::answer() {
  options_.seed = first_seed_ + answers_++;
  catch_all_interrupts();
  GenerateResult result;
  bool stopped = false;
  try {
    result = model_->generate(model_->chat_prompt(messages_), cache_, options_,
                              [this](std::string_view piece) {
                                if (!common_->json) print(piece);
                                return !interrupted();
                              });
    stopped = interrupted();
  } catch (const Error& error) {
    release_interrupts();
    forget_exchange();  // two questions in a row are no conversation
    if (error.fault != Fault::interrupted) throw;
    say("(stopped; the question is forgotten)");
    return;
  } catch (...) {
    release_interrupts();
    throw;
  }
  release_interrupts();
  if (!common_->json) print("\n");
  if (stopped) say("(stopped)");
  messages_.push_back({"assistant", result.text.value_or("")});
  if (common_->verbose) say(speed_in_words(result));
}

void Chat::ask(const std::string& question) {
  messages_.push_back({"user", question});
  answer();
}

void Chat::take(const std::string& line) {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return;
  if (line.starts_with("//")) return ask(line.substr(1));
  if (line.starts_with('/')) return obey(line);
  ask(line);
}

std::optional<std::string> Chat::next_line() {
  std::optional<std::string> line = lines_.read();
  while (line && line->ends_with('\\')) {
    line->back() = '\n';
    const std::optional<std::string> more = lines_.read();
    if (!more) break;
    *line += *more;
  }
  return line;
}

void Chat::run() {
  const bool person = LineReader::interactive();
  if (person) say("Ctrl-C stops an answer, Ctrl-D ends, /help lists commands.");
  while (open_) {
    const std::optional<std::string> line = next_line();
    if (!line) break;
    try {
      take(*line);
    } catch (const Error& error) {
      // A person can try again; a script should hear of it by the exit code.
      if (!person) throw;
      std::fprintf(stderr, "%s\n", error.what());
    }
  }
}

int run(const cli::Command& self, std::span<const std::string> arguments) {
  GenerateOptions options;
  ChatOptions chat_options;
  PrecisionOptions precision{.exact = false};
  CommonOptions common;
  ModelOptions source;
  const auto words = begin(self, arguments, 1, 1, common, source, chat_options, options, precision);
  if (!words) return 0;
  check_model_path((*words)[0]);
  const Model model = Model::load((*words)[0], source.load(precision.exact));
  model.check_chat();
  Chat chat(model, options, chat_options, common);
  chat.run();
  if (common.json) print_json(chat.messages_json());
  return 0;
}

}  // namespace

constinit const Command chat = {
    .name = "chat",
    .arguments = "MODEL",
    .summary = "talk with a model",
    .help =
        "Reads a question a line and prints the answers, each with all that was said before in\n"
        "the model's own chat template. On a terminal lines can be edited; /help lists the\n"
        "commands. Ctrl-C stops the answer and not the program. Answers have up to 2048 tokens\n"
        "where neither --max-new-tokens nor the model's generation_config.json says otherwise.\n"
        "\n"
        "Examples:\n"
        "  quaver chat Qwen2.5-0.5B-Instruct --system \"You answer in one sentence.\"\n"
        "  echo \"What is a quaver?\" | quaver chat Qwen2.5-0.5B-Instruct --max-new-tokens 60\n",
    .run = run,
};

}  // namespace quaver::cli
