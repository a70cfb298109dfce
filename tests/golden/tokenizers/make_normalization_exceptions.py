#!/usr/bin/env python3
"""Writes src/text/normalization_exceptions.inl: characters that utf8proc knows and the normalizers of Hugging Face `tokenizers` do not.

    python make_normalization_exceptions.py

The library's normalization tables are of an older Unicode; what is younger is a plain character to it, which neither moves nor decomposes
nor composes. Asked of the two libraries, code point by code point. Needs: pip install tokenizers, and libutf8proc.
"""
import ctypes
import ctypes.util
import os

import tokenizers

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "src", "text", "normalization_exceptions.inl")
utf8proc = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
FORMS = {name: getattr(tokenizers.normalizers, name)().normalize_str for name in ("NFC", "NFD", "NFKC", "NFKD")}
OPTIONS = {"NFC": 2 | 8, "NFD": 2 | 16, "NFKC": 2 | 8 | 4, "NFKD": 2 | 16 | 4}  # STABLE, COMPOSE, DECOMPOSE, COMPAT


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


utf8proc.utf8proc_get_property.restype = ctypes.POINTER(Property)
utf8proc.utf8proc_map.restype = ctypes.c_ssize_t


def ours(form, text):
    out, data = ctypes.c_void_p(), text.encode()
    size = utf8proc.utf8proc_map(data, ctypes.c_ssize_t(len(data)), ctypes.byref(out), ctypes.c_int(OPTIONS[form]))
    assert size >= 0
    return ctypes.string_at(out, size).decode()


def unknown_mark(code):
    order = utf8proc.utf8proc_get_property(code).contents.combining_class
    if order == 0:
        return False
    c = chr(code)
    pair = "\u0345" + c if order < 240 else c + "\u0323"
    return FORMS["NFC"](pair) == pair


def unknown(code):
    c = chr(code)
    if code != 0x345 and unknown_mark(code):
        return True
    differing = [form for form in FORMS if ours(form, c) != FORMS[form](c)]
    assert all(FORMS[form](c) == c for form in differing), hex(code)
    return bool(differing)


def main():
    codes = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000 and unknown(c)]
    if FORMS["NFC"]("\U00011935\U00011930") == "\U00011935\U00011930":
        codes.append(0x11930)  # composes since Unicode 13
    ranges = []
    for code in sorted(set(codes)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    with open(OUT, "w", encoding="utf-8") as out:
        out.write(f"// Made by tests/golden/tokenizers/make_normalization_exceptions.py from tokenizers {tokenizers.__version__}: do not edit.\n")
        out.write("// First and last code point of each run.\n")
        out.writelines(f"{{0x{first:X}, 0x{last:X}}},\n" for first, last in ranges)


main()
