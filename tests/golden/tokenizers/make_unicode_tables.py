#!/usr/bin/env python3
"""Writes src/text/unicode_classes.inl, unicode_lower.inl, unicode_scripts.inl and unicode_properties.inl.

    python make_unicode_tables.py

The tables are not taken from a Unicode data file but asked of Hugging Face `tokenizers` itself, one code point at a time: its splitting
patterns (Oniguruma), its added tokens (Rust's regex), its normalizers and pre-tokenizers (Rust and several crates) all have tables of
different ages, and ids must equal the library's. unicode_properties.inl holds what PCRE2's own tables lack. Needs: pip install tokenizers,
and libpcre2-8.
"""
import ctypes
import ctypes.util
import os

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "src", "text")
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def removed_by(pattern):
    replace = normalizers.Replace(Regex(pattern), "")
    return lambda c: replace.normalize_str(c) == ""


def added(**options):
    tokenizer = Tokenizer(models.BPE({"\U0010fffd": 0}, []))
    tokenizer.add_tokens([AddedToken("|", normalized=False, **options)])
    return tokenizer


def cut_after_a(stage):
    return lambda c: len(stage.pre_tokenize_str("a" + c)) == 2


def classes():
    """The bits of CharacterClass (unicode.h), in its order: functions of a character."""
    lone, stripping = added(single_word=True), added(lstrip=True)
    bar = lone.token_to_id("|")
    bert = lambda **on: normalizers.BertNormalizer(**({"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False} | on))
    clean, plain = bert(clean_text=True).normalize_str, bert(strip_accents=True).normalize_str
    nfd, strip = normalizers.NFD().normalize_str, normalizers.StripAccents().normalize_str
    return [
        removed_by(r"\p{L}"), removed_by(r"\p{N}"), removed_by(r"\s"),
        lambda c: c != "|" and bar not in lone.encode(c + "|").ids,
        lambda c: c != "|" and stripping.encode(c + "|").offsets[-1][0] == 0,
        cut_after_a(pre_tokenizers.Punctuation()), cut_after_a(pre_tokenizers.Digits(False)),
        lambda c: clean("a" + c + "b") == "ab",
        lambda c: nfd(c) == c and plain(c) == "", lambda c: strip(c) == "",
        removed_by(r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"), removed_by(r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"),
        removed_by(r"\p{M}"), removed_by(r"[\p{P}\p{S}]"), removed_by(r"\w"),
    ]


def check_agreement():
    """What unicode.h takes for granted."""
    words = pre_tokenizers.Whitespace()
    clean = normalizers.BertNormalizer(True, False, False, False).normalize_str
    lone, stripping = classes()[3:5]
    for code in CODES:
        c = chr(code)
        pieces = words.pre_tokenize_str("a" + c)
        if c != "|":
            assert (len(pieces) == 1 and len(pieces[0][0]) == 2) == lone(c), hex(code)
            assert (len(pieces) == 1 and len(pieces[0][0]) == 1) == stripping(c), hex(code)
        if c not in "\t\n\r":
            assert (clean("a" + c + "b") == "a b") == stripping(c) or clean("a" + c + "b") == "ab", hex(code)


def scripts():
    """The number of each code point's script as UnicodeScripts sees it; 0 goes with any other."""
    stage = pre_tokenizers.UnicodeScripts()
    apart = lambda a, b: len(stage.pre_tokenize_str(a + b)) == 2
    samples, out, last = [], [], 0
    for code in CODES:
        c = chr(code)
        if not apart("a", c) and not apart("\u0431", c):
            script = 0
        elif last and not apart(samples[last - 1], c):
            script = last
        else:
            script = next((i + 1 for i, s in enumerate(samples) if not apart(s, c)), None)
            if script is None:
                samples.append(c)
                script = len(samples)
        last = script or last
        out.append(script)
    return out


GENERAL = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
SCRIPTS = "Han Hiragana Katakana Latin Greek Cyrillic Arabic Hebrew Thai Hangul Devanagari Bengali Tamil Telugu Armenian Georgian Khmer Lao Tibetan Common Inherited".split()
# Properties by their names in oniguruma.cpp: the library's pattern, and how PCRE2 comes closest.
DERIVED = {"w": (r"\w", r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]"), "word": ("[[:word:]]", r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]"), "alpha": ("[[:alpha:]]", r"\p{Alphabetic}"),
           "upper": ("[[:upper:]]", r"\p{Uppercase}"), "lower": ("[[:lower:]]", r"\p{Lowercase}"), "alnum": ("[[:alnum:]]", r"[\p{Alphabetic}\p{Nd}]"), "punct": ("[[:punct:]]", r"[\p{P}\p{S}]"),
           "graph": ("[[:graph:]]", r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}]"), "print": ("[[:print:]]", r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}\p{Zs}]"), "emoji": (r"\p{Emoji}", r"\p{Emoji}")}


def pcre_members(library, pattern, subject, places):
    """The code points that PCRE2 finds by `pattern` in a text of all of them."""
    error, offset = ctypes.c_int(), ctypes.c_size_t()
    code = library.pcre2_compile_8(pattern.encode(), ctypes.c_size_t(len(pattern)), ctypes.c_uint32(0x000A0000), ctypes.byref(error), ctypes.byref(offset), None)
    assert code, pattern
    data = library.pcre2_match_data_create_8(ctypes.c_uint32(1), None)
    members, at = set(), 0
    while library.pcre2_match_8(code, subject, ctypes.c_size_t(len(subject)), ctypes.c_size_t(at), ctypes.c_uint32(0x40000000), data, None) > 0:
        pair = library.pcre2_get_ovector_pointer_8(data)
        members.add(places[pair[0]])
        at = pair[1]
    return members


def properties():
    """Rows (property, first, last): code points that have the property to the library and not to PCRE2, whose tables are older. (What
    changed its property between the two is one mark, and the unassigned.)"""
    library = ctypes.CDLL(ctypes.util.find_library("pcre2-8"))
    library.pcre2_compile_8.restype = library.pcre2_match_data_create_8.restype = ctypes.c_void_p
    library.pcre2_get_ovector_pointer_8.restype = ctypes.POINTER(ctypes.c_size_t)
    library.pcre2_get_ovector_pointer_8.argtypes = [ctypes.c_void_p]
    library.pcre2_match_8.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
    subject, places = bytearray(), {}
    for code in CODES:
        places[len(subject)] = code
        subject += chr(code).encode()
    subject = bytes(subject)
    rows = []
    wanted = {name.lower(): (r"\p{%s}" % name,) * 2 for name in GENERAL} | {name.lower(): (r"\p{%s}" % name, r"\p{sc:%s}" % name) for name in SCRIPTS} | DERIVED
    for name, (theirs, ours) in wanted.items():
        has, members = removed_by(theirs), pcre_members(library, ours, subject, places)
        rows += [(name, first, last) for first, last in runs([c for c in CODES if c not in members and has(chr(c))])]
    return rows


def runs(codes):
    out = []
    for code in codes:
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return out


def lower_runs():
    """(first, last, step, to): code points `step` apart whose lower case is as far away as that of `first`."""
    lower, out = normalizers.Lowercase().normalize_str, []
    for code in CODES:
        to = lower(chr(code))
        if to == chr(code):
            continue
        assert len(to) == 1 or code == 0x130, hex(code)
        if out and len(to) == 1 and code != 0x130:
            first, last, step, target = out[-1]
            gap = code - last
            if gap <= 2 and step in (0, gap) and ord(to) - code == target - first:
                out[-1] = (first, code, gap, target)
                continue
        out.append((code, code, 0, ord(to[0])))
    return out


def write(name, comment, items, per_line):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as out:
        out.write(f"// Made by tests/golden/tokenizers/make_unicode_tables.py from tokenizers {tokenizers.__version__}: do not edit.\n")
        out.write("".join(f"// {line}\n" for line in comment))
        for i in range(0, len(items), per_line):
            out.write(" ".join(items[i : i + per_line]) + "\n")


def write_properties():
    write("unicode_properties.inl", ["A property, and first and last code point of a run that has it and that PCRE2 10.42 leaves out."],
          ['{"%s", 0x%X, 0x%X},' % row for row in properties()], 4)


def main():
    check_agreement()
    tests, combos, edges, last = classes(), [0], [], -1
    flags_of = lambda c: sum(1 << bit for bit, test in enumerate(tests) if test(c))
    previous = -1
    for code in range(0x110000):
        flags = 0 if 0xD800 <= code < 0xE000 else flags_of(chr(code))
        if flags not in combos:
            combos.append(flags)
        if flags != previous:
            edges.append(f"0x{code << 8 | combos.index(flags):x},")
        previous = flags
    assert len(combos) < 256
    write("unicode_classes.inl", ["Class bits of the kinds of characters."], [f"0x{c:x}," for c in combos], 12)
    write("unicode_runs.inl", ["Each entry: first code point of a run << 8 | the kind of the run."], edges, 9)
    write("unicode_lower.inl", ["First and last code point of a run, their distance, the first one's lower case."],
          ["{0x%X, 0x%X, %d, 0x%X}," % row for row in lower_runs()], 4)
    table, edges, previous = dict(zip(CODES, scripts())), [], -1
    for code in range(0x110000):
        script = table.get(code, 0)
        if script != previous:
            edges.append(f"0x{code << 8 | script:x},")
        previous = script
    write("unicode_scripts.inl", ["Each entry: first code point of a run << 8 | number of its script, 0 goes with any."], edges, 9)
    write_properties()


if __name__ == "__main__":
    main()
