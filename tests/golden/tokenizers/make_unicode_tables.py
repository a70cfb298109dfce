#!/usr/bin/env python3
"""Writes src/text/unicode_tables.inl: the character classes that Hugging Face `tokenizers` uses.

    python make_unicode_tables.py > src/text/unicode_tables.inl

The classes are not taken from a Unicode data file but asked of the library itself, one code point at
a time: its splitting patterns (Oniguruma) and its added tokens (Rust's regex) have their own tables,
and ids must equal the library's. Needs: pip install tokenizers.
"""
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers

LETTER, NUMBER, SPACE, WORD, STRIP_SPACE = 1, 2, 4, 8, 16


def removed_by(pattern):
    replace = normalizers.Replace(Regex(pattern), "")
    return lambda c: replace.normalize_str(c) == ""


def added(**options):
    tokenizer = Tokenizer(models.BPE({"\U0010fffd": 0}, []))
    tokenizer.add_tokens([AddedToken("|", normalized=False, **options)])
    return tokenizer


def main():
    letter, number, space = removed_by(r"\p{L}"), removed_by(r"\p{N}"), removed_by(r"\s")
    lone, stripping = added(single_word=True), added(lstrip=True)
    bar = lone.token_to_id("|")
    edges, last = [], -1
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            flags = 0
        else:
            c = chr(code)
            flags = LETTER * letter(c) | NUMBER * number(c) | SPACE * space(c)
            if c != "|":
                flags |= WORD * (bar not in lone.encode(c + "|").ids)
                flags |= STRIP_SPACE * (stripping.encode(c + "|").offsets[-1][0] == 0)
        if flags != last:
            edges.append(code << 8 | flags)
            last = flags
    print(f"// Made by tests/golden/tokenizers/make_unicode_tables.py from tokenizers {tokenizers.__version__}: do not edit.")
    print("// Each entry: first code point of a run << 8 | class bits of the run.")
    for i in range(0, len(edges), 9):
        print(" ".join(f"0x{e:x}," for e in edges[i : i + 9]))


main()
