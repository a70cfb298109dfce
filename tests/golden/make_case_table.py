"""Writes src/text/jinja/special_case.inl: the characters whose upper or title case is more than one
character in Python, which utf8proc's simple mappings lack.

usage: make_case_table.py > src/text/jinja/special_case.inl
"""


def literal(text):
    points = [f"0x{ord(c):04X}" for c in text]
    return "{" + ", ".join(points + ["0"] * (3 - len(points))) + "}"


def main():
    print("// Made by tests/golden/make_case_table.py: character, upper case, title case.")
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        upper, title = chr(code).upper(), chr(code).title()
        if len(upper) > 1 or len(title) > 1:
            print(f"{{0x{code:04X}, {literal(upper)}, {literal(title)}}},")


main()
