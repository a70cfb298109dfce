#!/usr/bin/env python3
"""Trains the small SentencePiece models of tests/data/tokenizers: python make_sentencepiece_models.py

identity.model  no dummy prefix, byte fallback, user-defined white space, pieces across words
unused.model    the same with a third of its pieces turned UNUSED (they must fall apart again)
nfkc.model      nmt_nfkc character map, unknown piece, white space trimmed, user-defined symbols
Needs: pip install sentencepiece. Training is deterministic.
"""
import os
import random

import sentencepiece

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data")
OUT = os.path.join(DATA, "tokenizers")


def train(name, **options):
    # The model holds these paths, so they are relative ones.
    os.chdir(OUT)
    sentencepiece.SentencePieceTrainer.train(
        input="../text/heldout.txt", model_prefix=name, model_type="bpe", minloglevel=2, **options)
    os.remove(name + ".vocab")


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def with_unused(data):
    """Sets the type of some pieces to UNUSED: a piece message ends after its score, so the type is appended."""
    rng, out, at = random.Random(3), b"", 0
    while at < len(data):
        start = at
        tag, at = varint(data, at)
        assert tag & 7 == 2
        size, at = varint(data, at)
        message = data[at : at + size]
        at += size
        is_normal = tag == 10 and len(message[2 : 2 + message[1]].decode()) > 1 and message[-2] != 24
        if is_normal and rng.random() < 0.3 and size + 2 < 128:
            out += bytes([10, size + 2]) + message + bytes([24, 5])
        else:
            out += data[start:at]
    return out


def main():
    train("identity", vocab_size=500, add_dummy_prefix=False, byte_fallback=True, normalization_rule_name="identity",
          user_defined_symbols=["\t", "  ", "    "], split_by_whitespace=False, remove_extra_whitespaces=False)
    train("nfkc", vocab_size=400, user_defined_symbols=["<sep>", "girl", "▁dog", "<|im_start|>", "aa"])
    with open(os.path.join(OUT, "identity.model"), "rb") as source:
        data = with_unused(source.read())
    with open(os.path.join(OUT, "unused.model"), "wb") as out:
        out.write(data)


main()
