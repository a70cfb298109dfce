"""The conversations that every model's template is rendered with."""

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A city, e.g. \"Oslo\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": ["integer", "null"], "description": "How many days"},
            },
            "required": ["place"],
        },
        "return": {"type": "string", "description": "One line of text"},
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Searches <documents> & 'notes'.",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for"},
                "limit": {"type": "integer", "description": "At most so many", "default": 10},
                "tags": {"type": "array", "items": {"type": "string"}, "description": "Tags"},
                "exact": {"type": "boolean"},
                "filter": {
                    "type": "object",
                    "properties": {"year": {"type": "number"}, "lang": {"type": "string"}},
                    "required": ["year"],
                },
                "mode": {"oneOf": [{"type": "string"}, {"type": "number"}], "nullable": True},
            },
            "required": ["query", "tags"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, number=1):
    return {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content, name="get_weather", number=1):
    return {"role": "tool", "content": content, "name": name, "tool_call_id": f"call{number:05d}"}


ASK = [user("What is the weather in Oslo?")]
ONE_CALL = ASK + [assistant("", tool_calls=[call("get_weather", {"place": "Oslo", "days": 2})])]
ANSWERED = ONE_CALL + [result('{"temperature": -3.5, "sky": "clear"}')]
TWO_CALLS = [
    system("Use tools."),
    user("Oslo and Bern?"),
    assistant(None, tool_calls=[call("get_weather", {"place": "Oslo"}, 1),
                                call("get_weather", {"place": "Bern", "unit": "celsius"}, 2)]),
    result("cold", number=1),
    result("warm", number=2),
    assistant("Oslo is cold, Bern is warm."),
    user("Thanks!"),
]


def chat(messages, prompt=True, tools=None, **variables):
    made = {"messages": messages, "add_generation_prompt": prompt}
    if tools is not None:
        made["tools"] = tools
    if variables:
        made["variables"] = variables
    return made


HELLO = [user("Hello!")]
TURNS = [user("Hi"), assistant("Hello, how can I help?"), user("Tell a joke."), assistant("No."), user("Please")]
THOUGHT = "<think>\nLet me see.\n</think>\n\nIt is 4."

CONVERSATIONS = [
    chat(HELLO),
    chat(HELLO, False),
    chat(TURNS),
    chat(TURNS + [assistant("Fine: a joke.")], False),
    chat([system("You are terse.")] + HELLO),
    chat([system("You are terse.")] + TURNS),
    chat([system("You are terse.")] + TURNS + [assistant("ok")], False),
    chat([system("  spaced system \n")] + [user("  spaced  \n"), assistant("\n answer \n"), user("\tend")]),
    chat([user(""), assistant(""), user("")]),
    chat([system(""), user("x")]),
    chat([user("\u4f60\u597d\uff0c\u4e16\u754c \U0001f600 na\u00efve \u00df \u2028 \u00a0")]),
    chat([system("\u00dcber \u2603"), user("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"), assistant("\u0416\u0443\u043a"), user("\u200b")]),
    chat([user("line one\nline two\n\n  indented\r\nlast")]),
    chat([user("{{ not a template }} {% if %} {# #} <|im_start|> [INST] </s>")]),
    chat([user("quotes \" ' ` \\ / <b>&amp;</b>\t")]),
    chat([user([{"type": "text", "text": "Listed text."}])]),
    chat([system("Look."), user([{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": " this?"}])]),
    chat([system([{"type": "text", "text": "Listed system."}]), user("x"), assistant([{"type": "text", "text": "y"}]), user("z")]),
    chat(HELLO, tools=[WEATHER]),
    chat([system("Use tools.")] + ASK, tools=[WEATHER, SEARCH]),
    chat(ONE_CALL, False, tools=[WEATHER]),
    chat(ANSWERED, tools=[WEATHER]),
    chat(ANSWERED + [assistant("It is -3.5 degrees."), user("And tomorrow?")], tools=[WEATHER, CLOCK]),
    chat(TWO_CALLS, tools=[WEATHER, SEARCH, CLOCK]),
    chat(TWO_CALLS[:-1], False, tools=[SEARCH]),
    chat(ASK + [assistant("Let me look.", tool_calls=[call("search", '{"query": "Oslo", "tags": []}')]),
                result("[1, 2]", "search")], tools=[SEARCH]),
    chat(ANSWERED),
    chat(HELLO, tools=[]),
    chat([user("2+2?"), assistant(THOUGHT), user("3+3?")]),
    chat([user("2+2?"), assistant("It is 4.", reasoning_content="Let me see."), user("3+3?"),
          assistant("6", thinking="Counting.")], False),
    chat([user("2+2?")], enable_thinking=False, thinking=True, reasoning_effort="high"),
    chat([user("2+2?")], enable_thinking=True, date_string="26 Jul 2024", builtin_tools=["browser", "python"],
         model_identity="You are a test."),
    chat([system("S"), user("U")], False, tools=[WEATHER], tools_in_user_message=False, custom_flag=1.5),
    chat([assistant("I begin."), user("Then me.")]),
    chat([user("a"), user("b")]),
    chat([user("a"), assistant("b"), assistant("c")], False),
    chat([system("one"), system("two"), user("x")]),
    chat([user("x"), system("late"), user("y")]),
    chat([system("only system")]),
    chat([{"role": "developer", "content": "Be kind."}, user("x")]),
    chat([{"role": "narrator", "content": "Once"}, user("x")]),
    chat([user("x"), assistant("y", name="bot", weight=0.5), {"role": "user", "content": "z", "name": "Ann"}]),
    chat([user("long " * 40), assistant("word " * 40), user("end")]),
    chat([]),
]
