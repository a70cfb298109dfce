#!/usr/bin/env python3
"""Writes tests/data/tokenizers/mixed.txt, 3,000 lines: python make_mixed_text.py [LINES OUT]

English, code, Chinese, Japanese, Korean, Arabic, Hebrew, Hindi, Thai, Cyrillic, Greek, emoji sequences, combining marks, odd white space,
control characters, invalid UTF-8. The same bytes on every run. Lines end at "\\n" only.
"""
import os
import random
import sys

from make_odd_lines import CONTROL, EMOJI, INVALID, MARKS, PUNCT, SPACES, SPECIAL, WORDS

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data")
CODE = ["for (int {0} = 0; {0} < {1}; ++{0}) {{", "    def {0}(self, {2}=None) -> int:", "\treturn {0}[{1}] * {2}_{1};", "#include <{0}/{2}.h>", "}}",
        "if (!{0}->{2}) throw std::runtime_error(\"{0}: {2}\");", "{0} = {{'{2}': {1}, \"b\": [1, 2.5e-{1}]}}", "SELECT {0}, COUNT(*) FROM {2} WHERE {0} >= {1};",
        "    {0}.{2}(lambda x: x ** {1})  # {2} {0}", "<a href='https://{0}.{2}/?q={1}&r=%20'>{0}</a>", "$ {0} --{2}={1} | grep -v '^#' > {0}.{2}", "\\begin{{{0}}} \\alpha_{{{1}}} \\to \\infty \\end{{{0}}}"]
NAMES = "index value parseTree HTTPServer snake_case_name tmp2 buffer Node kMaxSize foo bar_baz __init__ iPhone XMLHttpRequest aB μ_x größe".split()
MORE = ["ẞ ß ſ ŉ ǰ İ ı Σς ﬀ ﬃ ﬅ ǆ ǅ Ǆ ΐ", "ＦＵＬＬ　ｗｉｄｔｈ １２３", "ｶﾞｷﾞ ﾊﾟ ㌔ ㍻ ㎏ ℡ №", "①②③ ⅓ ½ x² H₂O ⑽ Ⅻ ⅷ", "a\u0300\u0316\u0301b\u0334\u0338 \u1e9b\u0323 \ufb2c \u0958 \u0344 \u0374", "각 각 \u1112\u1161\u11ab 한글 ㅎㅏㄴ", "ｱ\u3099 カ\u3099 か\u309a", "٠١٢ ۱۲۳ ०१२ ๐๑๒ 𝟘𝟙𝟚 ፩፪",
        "\U0001d400\U0001d41a \U0001f130\U0001f1fa\U0001f1f8 \U0001fbf0 \ua7f2 \u32ff \U0001e030", "\u0f77 \u0fb3 \u17b4 \u180b \ufe0f \U000e0100", "‘quotes’ “double” „low“ «guillemets» ‹x› ¿qué? ¡sí!", "a\u00adb\u200bc\u2060d\ufeffe\u200ef", "1 000 1'000 1_000 1.000,00 -5 +7 ±3 10% 5‰ €5 £6 ¥7 ₹8"]


def line_of(rng, english):
    kind = rng.random()
    if kind < 0.30:
        return rng.choice(english)
    if kind < 0.45:
        return rng.choice(CODE).format(rng.choice(NAMES), rng.randrange(10 ** rng.randrange(1, 7)), rng.choice(NAMES)).encode()
    if kind < 0.80:
        words, glue = [], ""
        for _ in range(rng.randrange(1, 4)):
            name = rng.choice(list(WORDS))
            glue = "" if name in ("chinese", "japanese", "thai") else " "
            words.append(glue.join(rng.choice(WORDS[name]) for _ in range(rng.randrange(1, 14))))
        return rng.choice(["", " ", ", ", "\t"]).join(words).encode()
    if kind < 0.85:
        return " ".join(rng.choice(MORE) for _ in range(rng.randrange(1, 3))).encode()
    everything = EMOJI + MARKS + SPACES + SPECIAL + PUNCT + CONTROL + MORE + [rng.choice(WORDS[name]) for name in WORDS]
    parts = [rng.choice(everything).encode() if rng.random() < 0.95 else rng.choice(INVALID) for _ in range(rng.randrange(1, 18))]
    return rng.choice([b"", b" ", b"  "]).join(parts)


def main():
    count, out = (int(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 2 else (3000, os.path.join(DATA, "tokenizers", "mixed.txt"))
    rng = random.Random(20250711)
    with open(os.path.join(DATA, "text", "heldout.txt"), "rb") as source:
        english = [line for line in source.read().split(b"\n") if line]
    with open(out, "wb") as file:
        for _ in range(count):
            file.write(line_of(rng, english).replace(b"\n", b" ") + b"\n")


if __name__ == "__main__":
    main()
