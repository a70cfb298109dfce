#!/usr/bin/env python3
"""chat_test.py QUAVER SOURCE: quaver chat through pipes and on a pseudo-terminal."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

from quaver import MODEL, PROGRAM, copy_of, main, run, run_json, tests_of

TEMPLATE = ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}")
SHORT = ["--max-new-tokens", "6", "--ignore-eos"]
LONG = ["--max-new-tokens", "400", "--ignore-eos"]


def chat_model(directory):
    model = copy_of(MODEL, directory)
    with open(os.path.join(model, "chat_template.jinja"), "w") as f:
        f.write(TEMPLATE)
    return model


def answer_to(directory, model, messages, options=SHORT):
    """What the model says to the rendered conversation, by `generate`."""
    text = "".join(f"{role}: {content}\n" for role, content in messages) + "assistant:"
    path = os.path.join(directory, "prompt.json")
    with open(path, "w") as f:
        json.dump(run_json("tokenize", model, text), f)
    return run_json("generate", model, "--ids", path, *options)["text"]


def talk(model, lines, *options, code=0):
    return run("chat", model, *SHORT, *options, stdin="".join(line + "\n" for line in lines), code=code)


def test_a_conversation_is_what_its_prompts_give(directory):
    model = chat_model(directory)
    said = [("system", "Be kind."), ("user", "One day")]
    said.append(("assistant", answer_to(directory, model, said)))
    said.append(("user", "The cat"))
    said.append(("assistant", answer_to(directory, model, said)))
    out, _ = talk(model, ["One day", "", "The cat"], "--system", "Be kind.")
    assert out == said[2][1] + "\n" + said[4][1] + "\n", out
    result = run_json("chat", model, *SHORT, "--system", "Be kind.", stdin="One day\nThe cat\n")
    assert [(m["role"], m["content"]) for m in result["messages"]] == said
    _, err = talk(model, ["One day", "The cat"], "--verbose")
    assert "of them known" in err, err


def test_commands(directory):
    model, saved = chat_model(directory), os.path.join(directory, "saved.json")
    one = answer_to(directory, model, [("user", "One day")])
    two = answer_to(directory, model, [("user", "The cat")])
    other = answer_to(directory, model, [("system", "Be kind."), ("user", "The cat")])
    for command, wanted in (("/reset", two), ("/undo", two), ("/system Be kind.", other)):
        out, _ = talk(model, ["One day", command, "The cat"])
        assert out == one + "\n" + wanted + "\n", f"{command}: {out}"
    out, _ = talk(model, ["One day", "/retry"])
    assert out == (one + "\n") * 2, out
    out, _ = talk(model, ["One day", "/retry"], "--temperature", "2")
    assert out[: len(out) // 2] != out[len(out) // 2:], out
    _, err = talk(model, ["/help", "/undo", "/retry", "/system", "One day", f"/save {saved}", "/history",
                          "/quit", "never"])
    for word in ("/save FILE", "nothing to forget", "no answer to try", "no system prompt",
                 "Wrote 2 messages", "user: One day"):
        assert word in re.sub(" +", " ", err), f"{word} is not in\n{err}"
    with open(saved) as f:
        assert [m["content"] for m in json.load(f)["messages"]] == ["One day", one]
    out, _ = talk(model, ["One \\", "day"])
    assert out == answer_to(directory, model, [("user", "One \nday")]) + "\n"
    out, _ = talk(model, ["//x"])
    assert out == answer_to(directory, model, [("user", "/x")]) + "\n"


def test_refusals(directory):
    model = chat_model(directory)
    _, err = talk(model, ["/sav x"], code=2)
    assert "unknown command '/sav', nearest known: /save" in err, err
    assert "needs the name of a file" in talk(model, ["/save"], code=2)[1]
    assert "no chat template" in run("chat", MODEL, code=3)[1]
    assert "answers cannot be streamed" in talk(
        model, ["x"], "--temperature", "1", "--num-return-sequences", "2", code=2)[1]


def test_options_of_generate(directory):
    model = chat_model(directory)
    plain, _ = talk(model, ["One day", "The cat"])
    for options in (["--prompt-lookup-num-tokens", "4"], ["--num-beams", "1"]):
        assert talk(model, ["One day", "The cat"], *options)[0] == plain, options
    beams = answer_to(directory, model, [("user", "One day")], [*SHORT, "--num-beams", "3"])
    assert talk(model, ["One day"], "--num-beams", "3")[0] == beams + "\n"


def test_an_interrupt_stops_the_answer_alone(directory):
    model = chat_model(directory)
    process = subprocess.Popen([PROGRAM, "chat", model, *LONG], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"One day\n")
    process.stdin.flush()
    first = os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGINT)
    process.stdin.write(b"/history\n")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"(stopped)" in err and b"assistant: " + (first + out).rstrip(b"\n") in err, err
    assert len(first + out) < len(answer_to(directory, model, [("user", "One day")], LONG))


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, *words):
        self.seen = ""
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(PROGRAM, [PROGRAM, *words])

    def type(self, keys):
        os.write(self.file, keys.encode())

    def wait_for(self, pattern, seconds=60):
        """Reads until the pattern comes; returns what came with it, and goes on behind it."""
        end = time.time() + seconds
        while not (found := re.search(pattern, self.seen, re.S)):
            assert time.time() < end, f"{pattern!r} did not come: {self.seen!r}"
            if select.select([self.file], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.file, 4096).decode(errors="replace")
                except OSError:  # the other side is closed
                    assert re.search(pattern, self.seen, re.S), f"{pattern!r} did not come: {self.seen!r}"
        text, self.seen = self.seen[: found.end()], self.seen[found.end():]
        return text

    def exit_code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


PROMPT = r"\r> \x1b\[K"


def asked(terminal):
    """What the model was asked last, from /history."""
    terminal.type("/history\r")
    return re.findall(r"user: (.*?)\r\n", terminal.wait_for(r"assistant: .*?" + PROMPT))[-1]


def test_lines_are_edited_on_a_terminal(directory):
    model = chat_model(directory)
    terminal = Terminal("chat", model, *SHORT)
    terminal.wait_for(PROMPT)
    cases = [
        ("Ona\x7fe day\r", "One day"),                       # backspace
        ("day\x01One \x05!\r", "One day!"),                  # to the beginning, to the end
        ("thé cat\x1b[D\x1b[D\x1b[D\x1b[D\x7fe\r", "the cat"),  # left over letters of two bytes
        ("one two\x17three\r", "one three"),                 # the word before
        ("xx\x15yes\x01\x1b[3~Y\r", "Yes"),                  # all before; the letter under the cursor
        ("\x1b[A\x1b[A\x1b[B\r", "/history"),                # history: that was asked() itself
        ("gone\x03kept\r", "kept"),                          # Ctrl-C drops the line
    ]
    for keys, wanted in cases:
        terminal.type(keys)
        terminal.wait_for(r"\r\n.*?" + PROMPT if "\x03" not in keys else r"\^C\r\n.*?kept.*?\r\n.*?" + PROMPT)
        if wanted != "/history":
            got = asked(terminal)
            assert got == wanted, f"{keys!r}: {got!r}"
    terminal.type("\x1b[200~two\rlines\x1b[201~\r")           # a paste with a line end is one question
    terminal.wait_for(r"two\u21b5lines.*?\r\n.*?" + PROMPT)
    terminal.type("a\x7f\x04")
    terminal.wait_for(r"2004l")
    assert terminal.exit_code() == 0


def test_ctrl_c_on_a_terminal(directory):
    model = chat_model(directory)
    terminal = Terminal("chat", model, *LONG)
    terminal.wait_for(PROMPT)
    terminal.type("One day\r")
    terminal.wait_for(r"2004l.")
    terminal.type("\x03")
    terminal.wait_for(r"\(stopped.*?" + PROMPT)
    terminal.type("The cat\r")
    terminal.wait_for(r"2004l.")
    terminal.type("\x03\x03")  # an impatient person
    terminal.wait_for(r"\(stopped.*?" + PROMPT)
    terminal.type("/quit\r")
    terminal.wait_for(r"2004l")
    assert terminal.exit_code() == 0


main(tests_of(globals()))
