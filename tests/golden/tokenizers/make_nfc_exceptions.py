#!/usr/bin/env python3
"""Writes src/text/nfc_exceptions.inl: marks that utf8proc knows and the normalizers of Hugging Face `tokenizers` do not.

    python make_nfc_exceptions.py > src/text/nfc_exceptions.inl

The library's normalization tables are of an older Unicode; marks younger than that are plain characters to it, which neither move
nor compose. Asked of the two libraries, code point by code point. Needs: pip install tokenizers, and libutf8proc.
"""
import ctypes
import ctypes.util

import tokenizers

utf8proc = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
nfc = tokenizers.normalizers.NFC().normalize_str


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


utf8proc.utf8proc_get_property.restype = ctypes.POINTER(Property)


def inert(code):
    order = utf8proc.utf8proc_get_property(code).contents.combining_class
    if order == 0:
        return False
    c = chr(code)
    pair = "\u0345" + c if order < 240 else c + "\u0323"
    return nfc(pair) == pair


def main():
    codes = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000 and c != 0x345 and inert(c)]
    if nfc("\U00011935\U00011930") == "\U00011935\U00011930":
        codes.append(0x11930)  # composes since Unicode 13
    ranges = []
    for code in sorted(codes):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    print(f"// Made by tests/golden/tokenizers/make_nfc_exceptions.py from tokenizers {tokenizers.__version__}: do not edit.")
    print("// First and last code point of each run.")
    for first, last in ranges:
        print(f"{{0x{first:X}, 0x{last:X}}},")


main()
