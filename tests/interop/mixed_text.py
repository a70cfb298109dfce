#!/usr/bin/env python3
"""Mixed text for comparisons of tokenizers, the same bytes on every run: mixed_text.py OUT MEGABYTES FILE...

Thirty percent English from FILE..., a fifth each code (this repository's) and the lines of tests/golden/tokenizers, the rest words of all
scripts, emoji, odd white space, any code points, invalid UTF-8, token names, long runs.
"""
import glob
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "golden", "tokenizers"))
from make_mixed_text import line_of  # noqa: E402
from make_odd_lines import CONTROL, EMOJI, INVALID, MARKS, SPACES, SPECIAL, WORDS  # noqa: E402

# Letters of scripts as (first, last); what is unassigned between them is wanted, too.
BLOCKS = [(0x41, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58A), (0x591, 0x5F4), (0x600, 0x6FF), (0x710, 0x74A), (0x780, 0x7B1),
          (0x900, 0x97F), (0x980, 0x9FE), (0xA01, 0xA76), (0xA81, 0xAFF), (0xB01, 0xB77), (0xB82, 0xBFA), (0xC00, 0xC7F), (0xC80, 0xCF2), (0xD00, 0xD7F), (0xD81, 0xDF4),
          (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x13FD), (0x1400, 0x167F),
          (0x1780, 0x17F9), (0x1800, 0x18AA), (0x1E00, 0x1FFF), (0x2C00, 0x2DFF), (0x3041, 0x30FF), (0x3105, 0x312F), (0x3131, 0x318E), (0x4E00, 0x9FFF), (0xA000, 0xA4C6),
          (0xA640, 0xA7FF), (0xAC00, 0xD7A3), (0xF900, 0xFAD9), (0xFB00, 0xFDFF), (0xFE70, 0xFEFC), (0xFF01, 0xFFEE), (0x10000, 0x100FA), (0x10330, 0x1034A), (0x10400, 0x104FB),
          (0x11000, 0x1107F), (0x12000, 0x12399), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x20000, 0x2A6DF), (0x30000, 0x3134A)]
TOKENS = SPECIAL + ["[CLS]", "[SEP]", "[UNK]", "[MASK]", "##ing", "the</w>", "<|im_end|>", "<|im_start|>user", "<bos>", "<eos>", "<start_of_turn>model", "<end_of_turn>", "<unused12>", "<|fim_prefix|>",
                    "<|extra_7|>", "<|endofprompt|>", "<repo_name>", "<file_sep>", "<tool_call>", "<ctl>", "<sep>", "girl", "<mask>", "</tool_call>", "<|object_ref_start|>", "<0xE4><0xBD><0xA0>", "\n\n\n"]


def character(rng, first, last):
    while 0xD800 <= (code := rng.randint(first, last)) <= 0xDFFF or code == 10:
        pass
    return chr(code)


def foreign(rng):
    first, last = rng.choice(BLOCKS)
    if rng.random() < 0.5:  # a few neighbours, as in a language
        first = rng.randint(first, last)
        last = min(last, first + 40)
    word = lambda: "".join(character(rng, first, last) for _ in range(rng.randint(1, 9)))
    return rng.choice([" ", " ", "", ", "]).join(word() for _ in range(rng.randint(1, 16))).encode()


def emoji(rng):
    sign = lambda: rng.choice(EMOJI + MARKS) if rng.random() < 0.5 else chr(rng.randint(0x1F300, 0x1FAFF)) + rng.choice(["", "\u200d", "\ufe0f", chr(rng.randint(0x1F3FB, 0x1F3FF))])
    return rng.choice(["", " ", "ok "]).join(sign() for _ in range(rng.randint(1, 20))).encode()


def white(rng):
    part = lambda: rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 3, 17]) + rng.choice(["", "", "x", "word", "7", "été", "你", ".", "\x00", rng.choice(CONTROL)])
    return "".join(part() for _ in range(rng.randint(1, 14))).encode()


def anything(rng):
    return "".join(character(rng, 0, rng.choice([0x7F, 0x7FF, 0xFFFF, 0x10FFFF])) for _ in range(rng.randint(1, 40))).encode()


def invalid(rng):
    kind = rng.random()
    if kind < 0.3:
        return rng.randbytes(rng.randint(1, 60))
    line = bytearray(" ".join(rng.choice(WORDS[name]) for name in WORDS).encode())
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(line))
        if kind < 0.5:
            line[at] = rng.randrange(256)
        elif kind < 0.7:
            del line[at]
        else:
            line[at:at] = rng.choice(INVALID)
    return bytes(line)


def names(rng):
    return rng.choice(["", " ", " x ", "  "]).join(rng.choice(TOKENS) for _ in range(rng.randint(1, 8))).encode()


def run(rng):
    unit = rng.choice(["a", " ", "=", "-", "0", "的", "é", "😀", "\t", "ab", "A", "!", "\u3000", "\u0301", " a", "the", "\r", "//", "12", "▁", "x1", rng.choice(TOKENS), "".join(chr(rng.randint(97, 122)) for _ in range(50))])
    return (unit * rng.randint(1, rng.choice([10, 100, 1000]))).encode()


def lines_of(files):
    lines = []
    for file in files:
        with open(file, "rb") as source:
            lines += [line for line in source.read().split(b"\n") if line.strip()]
    return lines


def mixed_text(size, english_files):
    """`size` bytes or a little more. Lines end at "\\n", some after a "\\r", some lines are empty."""
    rng = random.Random(20251123)
    english = lines_of(english_files)
    code = lines_of(sorted(glob.glob(os.path.join(ROOT, "src", "**", "*.cpp"), recursive=True) + glob.glob(os.path.join(ROOT, "tests", "**", "*.py"), recursive=True)))
    stories = lines_of([os.path.join(ROOT, "tests", "data", "text", "heldout.txt")])

    def some(lines):
        at = rng.randrange(len(lines))
        return b"\n".join(lines[at : at + rng.randint(1, 30)])

    makers = [(0.30, lambda _: some(english)), (0.20, lambda _: some(code)), (0.20, lambda _: line_of(rng, stories)), (0.12, foreign), (0.04, emoji), (0.03, white), (0.04, anything),
              (0.04, invalid), (0.02, names), (0.01, run)]
    made, total, parts = [0.0] * len(makers), 0, []
    while total < size:
        row = min(range(len(makers)), key=lambda i: made[i] / makers[i][0] + rng.random() * 0.01 * size)
        part = makers[row][1](rng) + rng.choice([b"\n"] * 12 + [b"\r\n", b"\n\n", b"\n \n"])
        parts.append(part)
        made[row] += len(part)
        total += len(part)
    return b"".join(parts)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as out:
        out.write(mixed_text(int(float(sys.argv[2]) * 1e6), sys.argv[3:]))
