#!/usr/bin/env python3
"""Writes 500 odd lines for tokenizer tests: python make_odd_lines.py OUT (the same bytes on every run).

Many scripts, emoji sequences, combining marks, odd white space, control characters, invalid UTF-8 of
every class, long runs, special tokens in text. Lines end at "\\n" only; some hold "\\r" or NUL.
"""
import random
import sys

random.seed(20240229)

WORDS = {
    "latin": "the Once there was little girl named Lily don't we'll I've she's they're naïve café Straße fjörd".split(),
    "chinese": list("从前有一个小女孩她喜欢在公园里玩耍。，、！？"),
    "japanese": list("むかしあるところにカタカナひらがな漢字ー。「」"),
    "korean": "옛날에 작은 소녀가 살았습니다 그녀는 공원에서".split(),
    "arabic": "كان هناك فتاة صغيرة، تحب اللعب۔ في؟ الحديقة ٣٤٥".split(),
    "hebrew": "הייתה פעם ילדה קטנה שאהבה לְשַׂחֵק".split(),
    "hindi": "एक समय की बात है। एक छोटी लड़की थी १२३".split(),
    "thai": ["กาลครั้งหนึ่ง", "มีเด็กหญิง", "ตัวน้อย", "๑๒๓"],
    "cyrillic": "Жила-была маленькая девочка, её звали Ёлка".split(),
    "greek": "Μια φορά κι έναν καιρό ἦν ᾅδης".split(),
    "other": ["ተረት", "ქართული", "Հայերեն", "ᚠᚢᚦ", "𐌰𐌱", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "ꦗꦮ", "བོད", "ខ្មែរ", "𞤀𞤣", "ǅ", "ﬁ", "Ⅷ", "½", "²", "①", "㊗"],
}
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀", "☺", "🫠", "\u200d", "\ufe0f", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
MARKS = ["e\u0301", "a\u0308\u0304", "o\u0302\u0323", "\u0301", "n\u0303", "Z" + "\u0351\u034d\u0322" * 6, "\u1100\u1161\u11a8", "Å", "A\u030a", "\u212b", "ệ", "q\u0307\u0323"]
SPACES = [" ", "  ", "   ", "\t", "\t\t", "\r", "\v", "\f", "\u00a0", "\u1680", "\u2003", "\u2009", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "\u0085", "\u180e", "\x1c", "\x1f", " \t ", "▁", "▁▁"]
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<0x41>", "<0x0A>", "<|im_start|>", "[INST]", "<s", "s>", "</S>", "<<s>>", "<s></s>", "<mask>", "Ġ", "Ċ", "ĠĠ", "�"]
PUNCT = ["...", "!?", "—", "–", "''", "'s", "'S", "'ll", "'LL", "’s", "\"", "``", "(", ")", "[", "]", "|", "(|)", "…", "。", "،", "।", "۔", "$", "€", "#", "_", "a_b", "x.y", "3.14", "1,000", "0x1F", "12345678901234567890", "+1-2*3/4", "\\n", "{}", "C++", "@home", "e-mail", "https://a.b/c?d=e&f#g"]
INVALID = [
    b"\x80", b"\xbf", b"\xfe", b"\xff", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",
    b"\xc3", b"\xe4\xbd", b"\xe4", b"\xf0\x9f\x98", b"\xf0\x9f", b"\xf0", b"\xe2\x28\xa1", b"\xe2\x82\x28", b"\xf0\x28\x8c\xbc", b"\xf0\x90\x28\xbc", b"\xf0\x28\x8c\x28", b"\xc3\x28",
    b"\xe4\xbd\xe4\xbd\xa0", b"\xf0\x9f\x98\xf0\x9f\x98\x80", b"\x80\x80\x80\x80", b"\xc3\xc3\xa9",
]
CONTROL = [chr(i) for i in range(0, 32) if i != 10] + ["\x7f", "\x80", "\x9f", "\u00ad", "\u200e", "\u202e", "\u2066", "\ue000", "\ufffe", "\uffff", "\U0010ffff", "\U000e0001", "\x00\x00", "\x1b[31m"]


def joined(items, count, glue=" "):
    return glue.join(random.choice(items) for _ in range(count))


def main():
    lines = [b"", b" ", b"  ", b"\t", b"\r", b"\x00", b"a", b" a", b"a ", b"  a  ", "▁".encode(), "é".encode(), b"'", b"' s", b" 's", b"a'", b"''s"]
    for name, words in WORDS.items():
        for i in range(12):
            glue = "" if name in ("chinese", "japanese", "thai") else " "
            lines.append((joined(words, 3 + 4 * i, glue) + random.choice([".", "!", "", " "])).encode())
    lines += [bad for bad in INVALID]
    lines += [b"one " + bad + b" two" + bad for bad in INVALID]
    lines += [random.choice(INVALID) + random.choice(INVALID) + "你".encode() + random.choice(INVALID) for _ in range(20)]
    lines += [space.encode() for space in SPACES]
    lines += [f"{space}left{space}{space}right{space}".encode() for space in SPACES]
    lines += [control.encode() for control in CONTROL[::5]] + [f"a{c}b {c} {c}{c}".encode() for c in CONTROL[::3]]
    lines += [f"{a}{b} {c}".encode() for a in SPECIAL[:6] for b, c in zip(SPECIAL[2:8], SPECIAL[7:13])]
    lines += [f"say {token}, {token} and{token}then {token}".encode() for token in SPECIAL]
    lines += [(unit * count).encode() for unit, count in [
        ("a", 3000), (" ", 500), ("ab", 700), ("😀", 300), ("\u0301", 400), ("é", 300), ("=", 333), ("的", 500), ("\t", 65), ("<s>", 50),
        ("don't ", 80), ("0", 257), ("\x00", 40), ("▁", 90), ("aA1!", 100), ("\u3000", 33), ("Z\u0351", 200), (" a", 400), ("the", 500), ("\r", 31)]]
    everything = [w for words in WORDS.values() for w in words] + EMOJI + MARKS + SPACES + SPECIAL + PUNCT + CONTROL
    lines += [joined(EMOJI, i + 1, random.choice(["", " "])).encode() for i in range(12)]
    lines += [joined(MARKS, i + 1, random.choice(["", " "])).encode() for i in range(12)]
    lines += [joined(PUNCT, i + 1, random.choice(["", " "])).encode() for i in range(16)]
    while len(lines) < 500:
        parts = [random.choice(everything).encode() if random.random() < 0.93 else random.choice(INVALID) for _ in range(random.randint(2, 40))]
        lines.append(random.choice([b"", b" ", b"  "]).join(parts))
    assert len(lines) == 500 and not any(b"\n" in line for line in lines)
    with open(sys.argv[1], "wb") as out:
        out.write(b"".join(line + b"\n" for line in lines))


if __name__ == "__main__":
    main()
