"""Renders the templates of chat_templates/ with transformers and jinja2, for
src/text/chat_template_test.cpp. Needs transformers, jinja2 3.1 and the zstd program.

usage: make_chat_templates.py [--check]     (--check: only tell how many outputs and errors there are)
"""
import datetime
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "chat_templates"))

import conversations  # noqa: E402
import expressions  # noqa: E402
import jinja2  # noqa: E402
from transformers.utils import chat_template_utils as reference  # noqa: E402

NOW = datetime.datetime(2024, 3, 5, 14, 7, 9)
TARGET = HERE.parent / "data" / "chat_templates.json.zst"


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def outcome(render):
    """{"output": text} or {"error": message}; the message is kept where Jinja wrote it itself."""
    try:
        return {"output": render()}
    except jinja2.exceptions.TemplateSyntaxError:
        return {"error": ""}
    except (jinja2.exceptions.UndefinedError, jinja2.exceptions.SecurityError) as error:
        return {"error": str(error)}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error) if "named" not in str(error) else ""}
    except Exception:  # any that a template can raise in Python
        return {"error": ""}


def small_templates():
    lines = expressions.EXPRESSIONS.replace("\\\n", "\\\x00").split("\n")
    for line in lines:
        if line:
            yield "{{ " + line.replace("\x00", "\n") + " }}"
    yield from expressions.TEMPLATES


def render_chat(template, conversation, special_tokens):
    given = dict(conversation)
    variables = {**special_tokens, **given.pop("variables", {})}
    rendered, _ = reference.render_jinja_template(
        conversations=[given["messages"]],
        tools=given.get("tools"),
        chat_template=template,
        add_generation_prompt=given.get("add_generation_prompt", False),
        **variables,
    )
    return rendered[0]


def main():
    reference.datetime = FixedClock
    cases = []
    for template in small_templates():
        compiled = lambda: reference._compile_jinja_template(template).render(**expressions.CONTEXT)
        cases.append({"template": template, **outcome(compiled)})
    models = []
    for path in sorted((HERE / "chat_templates").glob("*.jinja")):
        template = path.read_text()
        outcomes = [
            outcome(lambda: render_chat(template, conversation, conversations.SPECIAL_TOKENS))
            for conversation in conversations.CONVERSATIONS
        ]
        models.append({"name": path.stem, "template": template, "outcomes": outcomes})
    golden = {
        "context": expressions.CONTEXT,
        "cases": cases,
        "special_tokens": conversations.SPECIAL_TOKENS,
        "conversations": conversations.CONVERSATIONS,
        "models": models,
    }
    everything = cases + [one for model in models for one in model["outcomes"]]
    errors = sum("error" in one for one in everything)
    print(len(cases), "small templates,", len(models), "models,", len(everything), "renderings,",
          errors, "errors")
    for model in models:
        failed = sum("error" in one for one in model["outcomes"])
        print(f"  {model['name']}: {len(model['outcomes']) - failed} outputs, {failed} errors")
    if "--check" not in sys.argv:
        content = json.dumps(golden, ensure_ascii=False, separators=(",", ":")).encode()
        subprocess.run(["zstd", "-19", f"--stream-size={len(content)}", "-f", "-q", "-o",
                        str(TARGET)], input=content, check=True)
        print(TARGET.name, TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
