#!/usr/bin/env python3
"""Trains small tokenizers of every kind and writes what the reference libraries make of mixed text.

    python make_tokenizers.py           trains tests/data/tokenizers/kinds/*, then writes goldens.json there
    python make_tokenizers.py --goldens writes the goldens only

For each kind of kinds.py and each trained SentencePiece model: hashes of the ids of each 1,000 lines of mixed.txt, with the special tokens,
and of the decoded texts. A hash is FNV-1a of 64 bits over ids as little-endian u32, or over UTF-8. Needs: pip install tokenizers sentencepiece.
"""
import json
import os
import shutil
import sys
import tempfile

import sentencepiece
import tokenizers
from kinds import BYTES, KINDS, SUBWORDS, UNIGRAM, WORD_LEVEL, WORD_PIECE
from make_goldens import Json, SentencePiece, fnv, ids_hash, read_lines
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from variants import patched

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "tokenizers")
KINDS_DATA = os.path.join(DATA, "kinds")
MODELS = {
    "unigram.model": {"model_type": "unigram", "vocab_size": 700, "user_defined_symbols": ["<sep>", "girl", "▁dog", "aa"], "normalization_rule_tsv": True},
    "unigram_bytes.model": {"model_type": "unigram", "vocab_size": 700, "byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False, "split_by_whitespace": False},
    "unigram_suffix.model": {"model_type": "unigram", "vocab_size": 500, "treat_whitespace_as_suffix": True, "normalization_rule_name": "identity", "control_symbols": ["<ctl>"]},
    "bpe_suffix.model": {"model_type": "bpe", "vocab_size": 800, "treat_whitespace_as_suffix": True, "normalization_rule_name": "identity", "byte_fallback": True},
    "bpe_plain.model": {"model_type": "bpe", "vocab_size": 800, "add_dummy_prefix": False, "normalization_rule_tsv": True, "user_defined_symbols": ["  ", "\t"]},
    "word.model": {"model_type": "word", "vocab_size": 400, "normalization_rule_name": "identity"},
    "char.model": {"model_type": "char", "vocab_size": 300, "normalization_rule_name": "identity", "user_defined_symbols": ["girl"]},
}
RULES = [("A", "a"), ("B", "b"), ("É", "é"), ("e\u0301", "é"), ("\t", " "), ("\u3000", " "), ("\u00a0", " "), ("ﬁ", "fi"), ("①", "1"), ("½", "1/2"), ("\u200b", ""), ("ｶﾞ", "ガ"), ("Σ", "σ"), ("...", "…")]


def train_json(corpus):
    special = lambda *names: [tokenizers.AddedToken(n, special=True) for n in names]
    def save(name, tokenizer, trainer):
        tokenizer.train_from_iterator(corpus, trainer)
        with open(os.path.join(KINDS_DATA, name), "w", encoding="utf-8") as out:
            out.write(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")

    one = Tokenizer(models.Unigram())
    one.normalizer = normalizers.NFKC()
    one.pre_tokenizer, one.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    save(UNIGRAM, one, trainers.UnigramTrainer(vocab_size=1150, unk_token="<unk>", special_tokens=special("<unk>", "<s>", "</s>") + [f"<0x{i:02X}>" for i in range(256)], show_progress=False))
    one = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    one.normalizer, one.pre_tokenizer, one.decoder = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    one.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    save(WORD_PIECE, one, trainers.WordPieceTrainer(vocab_size=1500, limit_alphabet=500, special_tokens=special("[UNK]", "[CLS]", "[SEP]"), show_progress=False))
    one = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    one.pre_tokenizer = pre_tokenizers.Whitespace()
    save(WORD_LEVEL, one, trainers.WordLevelTrainer(vocab_size=1500, special_tokens=special("[UNK]"), show_progress=False))
    one = Tokenizer(models.BPE())
    one.pre_tokenizer, one.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    one.post_processor = processors.ByteLevel(trim_offsets=False)
    save(BYTES, one, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=special("<unk>", "<s>", "</s>"), show_progress=False))
    one = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    one.normalizer, one.pre_tokenizer, one.decoder = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit(), decoders.BPEDecoder()
    save(SUBWORDS, one, trainers.BpeTrainer(vocab_size=1500, limit_alphabet=400, end_of_word_suffix="</w>", special_tokens=special("<unk>"), show_progress=False))


def train_models(corpus):
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)  # the models hold these paths, so they are relative ones
        with open("mixed.txt", "w", encoding="utf-8") as out:
            out.write("".join(line.replace("\0", "") + "\n" for line in corpus))
        with open("rules.tsv", "w", encoding="utf-8") as out:
            out.write("".join("\t".join(" ".join(f"{ord(c):X}" for c in side) for side in rule) + "\n" for rule in RULES))
        for name, options in MODELS.items():
            options = options | ({"normalization_rule_tsv": "rules.tsv"} if "normalization_rule_tsv" in options else {})
            sentencepiece.SentencePieceTrainer.train(input="mixed.txt", model_prefix="out", minloglevel=2, hard_vocab_limit=False, num_threads=1, character_coverage=0.98, **options)
            shutil.move("out.model", os.path.join(KINDS_DATA, name))
        os.chdir(DATA)


def golden(tokenizer, lines):
    rows = [tokenizer.encode(line, True) for line in lines]
    thousands = [rows[i : i + 1000] for i in range(0, len(rows), 1000)]
    decode = lambda skip: [fnv("\n".join(tokenizer.decode(row, skip) for row in part).encode()) for part in thousands]
    return {"vocab_size": tokenizer.size, "ids": [ids_hash(sum(part, [])) for part in thousands], "decoded": decode(False), "skipping": decode(True)}


def main():
    lines = read_lines(os.path.join(DATA, "mixed.txt"))
    if "--goldens" not in sys.argv:
        os.makedirs(KINDS_DATA, exist_ok=True)
        train_json(lines)
        train_models(lines)
    rows = []
    for name, base, patch in KINDS:
        with open(os.path.join(KINDS_DATA, base), encoding="utf-8") as file:
            text = json.dumps(patched(json.load(file), patch))
        rows.append({"name": name, "file": base, "patch": patch} | golden(Json(text), lines))
    for name in MODELS:
        rows.append({"name": name, "file": name} | golden(SentencePiece(os.path.join(KINDS_DATA, name)), lines))
    with open(os.path.join(KINDS_DATA, "goldens.json"), "w", encoding="utf-8") as out:
        out.write('{"made_by": "tokenizers %s, sentencepiece %s",\n"kinds": [\n%s\n]}\n' % (
            tokenizers.__version__, sentencepiece.__version__, ",\n".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows)))


if __name__ == "__main__":
    main()
