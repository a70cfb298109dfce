#!/usr/bin/env python3
"""Writes tests/data/tokenizers/goldens.json: ids and texts by the reference libraries.

    python make_goldens.py

For each tokenizer: the ids of every odd line (a hash where they are many), hashes of the ids of text/heldout.txt (each 100 lines, and as one
text), with and without special tokens, and hashes of decoded texts. A hash is FNV-1a of 64 bits over ids as little-endian u32, or over UTF-8.
Needs: pip install tokenizers sentencepiece.
"""
import json
import os
import random

import sentencepiece
import tokenizers
from variants import BLOOM, LLAMA, OPT, VARIANTS, patched

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data")
MODELS = ["llama/tokenizer.model", "identity.model", "unused.model", "nfkc.model"]


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def ids_hash(ids):
    return fnv(b"".join(i.to_bytes(4, "little") for i in ids))


class Json:
    def __init__(self, text):
        self.tokenizer = tokenizers.Tokenizer.from_str(text)
        self.size = max(self.tokenizer.get_vocab().values()) + 1

    def encode(self, text, special):
        return self.tokenizer.encode(text, add_special_tokens=special).ids

    def decode(self, ids, skip):
        return self.tokenizer.decode(ids, skip_special_tokens=skip)


class SentencePiece:
    def __init__(self, path):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=path)
        self.size = self.processor.get_piece_size()

    def encode(self, text, special):
        return [self.processor.bos_id()] * special + self.processor.encode(text)

    def decode(self, ids, skip):
        return self.processor.decode(ids)


def read_lines(path):
    with open(path, "rb") as file:
        return [line.decode(errors="replace") for line in file.read().split(b"\n")[:-1]]


def random_ids(size):
    """What no encoder would write: decoders must agree on it, too."""
    rng = random.Random(7)
    wide = [[rng.randrange(size) for _ in range(rng.randrange(20))] for _ in range(100)]
    return wide + [[rng.randrange(min(size, 300)) for _ in range(rng.randrange(20))] for _ in range(200)]


def decoded(tokenizer, rows, skip):
    return fnv("\n".join(tokenizer.decode(row, skip) for row in rows).encode())


def short_form(ids):
    return ids if len(ids) <= 48 else {"count": len(ids), "hash": ids_hash(ids)}


def goldens(tokenizer, odd, heldout, full):
    rows = [tokenizer.encode(line, False) for line in odd]
    special = [tokenizer.encode(line, True) for line in odd]
    noise = random_ids(tokenizer.size)
    out = {"vocab_size": tokenizer.size, "odd_special": ids_hash(sum(special, [])),
           "decoded": decoded(tokenizer, special, False), "decoded_skipping": decoded(tokenizer, special, True),
           "noise_decoded": decoded(tokenizer, noise, False), "noise_decoded_skipping": decoded(tokenizer, noise, True)}
    out["odd"] = [short_form(row) for row in rows] if full else [ids_hash(sum(rows[i : i + 25], [])) for i in range(0, 500, 25)]
    if full:
        lines = [tokenizer.encode(line, False) for line in heldout]
        out["heldout_lines"] = [ids_hash(sum(lines[i : i + 100], [])) for i in range(0, len(lines), 100)]
        out["heldout"] = ids_hash(tokenizer.encode("\n".join(heldout) + "\n", False))
    return out


def main():
    odd = read_lines(os.path.join(DATA, "tokenizers", "odd_lines.txt"))
    heldout = read_lines(os.path.join(DATA, "text", "heldout.txt"))
    files, variants = [], []
    path = lambda name: os.path.join(DATA, "tokenizers", name)
    text = {name: open(path(name), encoding="utf-8").read() for name in (OPT, BLOOM, LLAMA)}
    for name in text:
        files.append({"file": name} | goldens(Json(text[name]), odd, heldout, True))
    for name in MODELS:
        files.append({"file": name} | goldens(SentencePiece(path(name)), odd, heldout, True))
    for name, base, patch in VARIANTS:
        changed = Json(json.dumps(patched(json.loads(text[base]), patch)))
        variants.append({"name": name, "file": base, "patch": patch} | goldens(changed, odd, heldout, False))
    with open(path("goldens.json"), "w", encoding="utf-8") as out:
        out.write('{"made_by": "tokenizers %s, sentencepiece %s",\n"noise": %s,\n"files": [\n%s\n],\n"variants": [\n%s\n]}\n' % (
            tokenizers.__version__, sentencepiece.__version__, json.dumps({str(s): random_ids(s) for s in sorted({f["vocab_size"] for f in files + variants})}, separators=(",", ":")),
            ",\n".join(json.dumps(f, separators=(",", ":"), ensure_ascii=False) for f in files),
            ",\n".join(json.dumps(v, separators=(",", ":"), ensure_ascii=False) for v in variants)))


if __name__ == "__main__":
    main()
