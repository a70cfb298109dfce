#!/usr/bin/env python3
"""Compares every kind of tokenizer with the reference libraries on 10 MB of mixed text.

    python tokenizers_mixed.py PROBE --text FILE [--text FILE ...] [--only WORD] [MODELDIR ...]

PROBE is quaver-tokenizer-probe; FILE is English text (mixed_text.py adds the rest). The kinds: all that tests/data/tokenizers/*/goldens.json
names (tokenizer.json, tokenizer.model), vocab.json with merges.txt, vocab.txt and *.tiktoken made of them, and the tokenizers of MODELDIRs.
Compared for each line, and for the text in pieces of 100,000 bytes: ids with special tokens, their text with and without special tokens;
the probe itself compares streaming decoding with decoding at once. Exits 1 at any difference.
Needs: pip install tokenizers sentencepiece tiktoken transformers (the latter for vocab.json and vocab.txt).
"""
import argparse
import array
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

import sentencepiece
import tokenizers
from mixed_text import ROOT, mixed_text

import kinds  # of tests/golden/tokenizers, where mixed_text looks, too
from variants import patched

DATA = os.path.join(ROOT, "tests", "data", "tokenizers")
CHUNK = 500  # texts at a time: encodings are large


class Json:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()

    def encode(self, texts):
        """None for a text on which the library panics ("AddedVocabulary bad split")."""
        try:
            return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=True)]
        except KeyboardInterrupt:
            raise
        except BaseException:  # PanicException is no Exception
            return [None] if len(texts) == 1 else [row for text in texts for row in self.encode([text])]

    def decode(self, rows, skip):
        return self.tokenizer.decode_batch(rows, skip_special_tokens=skip)


class SentencePiece:
    def __init__(self, file):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=file)

    def encode(self, texts):
        start = [self.processor.bos_id()]  # as transformers' LlamaTokenizer does
        return [start + row for row in self.processor.encode(texts, num_threads=2)]

    def decode(self, rows, skip):
        return self.processor.decode(rows)


class Tiktoken:
    def __init__(self, ranks, pattern, special=(), nfc=False):
        import tiktoken
        self.special = {name: len(ranks) + i for i, name in enumerate(special)}
        self.encoding = tiktoken.Encoding("mixed", pat_str=pattern, mergeable_ranks=ranks, special_tokens=self.special)
        # Python's own tables are of another Unicode version with every Python.
        self.normalized = tokenizers.normalizers.NFC().normalize_str if nfc else str

    def encode(self, texts):
        return self.encoding.encode_batch([self.normalized(text) for text in texts], num_threads=2, allowed_special="all", disallowed_special=())

    def decode(self, rows, skip):
        leave_out = set(self.special.values()) if skip else ()
        return [self.encoding.decode([i for i in row if i not in leave_out], errors="replace") for row in rows]


def write(folder, name, content):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
    return path


def golden_cases(place):
    """(name, file, reference) of each tokenizer.json and tokenizer.model of the golden files."""
    rows = []
    for folder in (DATA, os.path.join(DATA, "kinds")):
        with open(os.path.join(folder, "goldens.json"), encoding="utf-8") as file:
            goldens = json.load(file)
        for row in goldens.get("files", []) + goldens.get("variants", []) + goldens.get("kinds", []):
            rows.append((row.get("name", row["file"]), os.path.join(folder, row["file"]), row.get("patch")))
    for number, (name, file, patch) in enumerate(rows):
        if file.endswith(".model"):
            yield name, file, lambda file=file: SentencePiece(file)
            continue
        with open(file, encoding="utf-8") as source:
            text = source.read()
        if patch:
            file = write(os.path.join(place, str(number)), "tokenizer.json", patched(json.loads(text), patch))
        yield name, file, lambda file=file: Json(tokenizers.Tokenizer.from_file(file))


def vocabulary_cases(place):
    """vocab.json with merges.txt, vocab.txt: what transformers reads of the same directory."""
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    added = {"content": "girl", "lstrip": False, "rstrip": True, "normalized": True, "single_word": True, "special": False}
    for name, base, wanted, config, more in [
            ("vocab.json", "bytes", "GPT2Tokenizer", names, {}), ("vocab.json, no config", "bytes", "GPT2Tokenizer", None, {}),
            ("vocab.json, prefix space", "bytes", "GPT2Tokenizer", names | {"add_prefix_space": True, "add_bos_token": True}, {}),
            ("vocab.json, older files", "bytes", "GPT2Tokenizer", {"bos_token": None}, {"added_tokens.json": {"<sep>": 1500, "girl": 1501, "[MASK]": 1502}, "special_tokens_map.json": {"mask_token": "[MASK]"}}),
            ("vocab.json, listed", "bytes", "GPT2Tokenizer", names | {"added_tokens_decoder": {"1500": added, "1501": added | {"content": "<sep>", "special": True}}, "additional_special_tokens": ["<mask>", "[CLS]"]},
             {"added_tokens.json": {"the": 1500}}),
            ("vocab.json, qwen 2", "bytes", "Qwen2Tokenizer", {"eos_token": "<|im_end|>"}, {}), ("vocab.json, qwen 3.5", "bytes", "Qwen3_5Tokenizer", {}, {}),
            ("vocab.json, gpt_neox", "bytes", "GPTNeoXTokenizer", {}, {}), ("vocab.json, roberta", "bytes", "RobertaTokenizer", {}, {}),
            ("vocab.txt", "wordpiece", "BertTokenizer", {}, {}), ("vocab.txt, cased", "wordpiece", "BertTokenizer", {"do_lower_case": False}, {}),
            ("vocab.txt, accents", "wordpiece", "BertTokenizer", {"strip_accents": False, "tokenize_chinese_chars": False, "pad_token": None}, {})]:
        folder = os.path.join(place, name)
        os.makedirs(folder)
        if config is not None:
            write(folder, "tokenizer_config.json", {"tokenizer_class": wanted} | config)
        for file, content in more.items():
            write(folder, file, content)
        model = tokenizers.Tokenizer.from_file(os.path.join(DATA, "kinds", base + ".json")).model
        model.save(folder)

        def reference(folder=folder, wanted=wanted):
            import transformers
            made = getattr(transformers, wanted)
            if wanted == "Qwen3_5Tokenizer":  # its from_pretrained reads a tokenizer.json only
                return Json(made(vocab=os.path.join(folder, "vocab.json"), merges=os.path.join(folder, "merges.txt"))._tokenizer)
            return Json(made.from_pretrained(folder)._tokenizer)

        yield name, os.path.join(folder, name.split(",")[0]), reference


def byte_ranks(file):
    """The tokens of a byte-level BPE in the order of their merges, as bytes."""
    with open(file, encoding="utf-8") as source:
        merges = json.load(source)["model"]["merges"]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    alphabet = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(rest)}
    ranks = {bytes([b]): i for i, b in enumerate(alphabet.values())}
    for pair in merges:
        token = bytes(alphabet[c] for c in "".join(pair.split(" ") if isinstance(pair, str) else pair))
        ranks.setdefault(token, len(ranks))
    return ranks


def tiktoken_cases(place):
    import base64
    ranks = byte_ranks(os.path.join(DATA, "kinds", "bytes.json"))
    text = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    qwen = kinds.LLAMA3.replace("{1,3}", "")
    r50k = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|extra_{i}|>" for i in range(205)]
    for name, pattern, rest in [("qwen", qwen, (special, True)), ("o200k", kinds.O200K, ()), ("cl100k", kinds.CL100K, ()), ("llama", kinds.LLAMA3, ()), ("r50k", r50k, ()), ("p50k", r50k, ())]:
        file = write(place, name + ".tiktoken", text)
        yield file.rsplit(os.sep, 1)[1], file, lambda pattern=pattern, rest=rest: Tiktoken(ranks, pattern, *rest)


def model_cases(folders):
    for folder in folders:
        name = os.path.basename(os.path.normpath(folder))
        described, trained = os.path.join(folder, "tokenizer.json"), os.path.join(folder, "tokenizer.model")
        if os.path.exists(described):
            yield f"{name}/tokenizer.json", described, lambda file=described: Json(tokenizers.Tokenizer.from_file(file))
        if os.path.exists(trained):
            yield f"{name}/tokenizer.model", trained, lambda file=trained: SentencePiece(file)


def blocks(data, at, count):
    out = []
    for _ in range(count):
        (length,) = struct.unpack_from("<I", data, at)
        out.append(bytes(data[at + 4 : at + 4 + length]))
        at += 4 + length
    return out, at


class Differences:
    def __init__(self, texts, file):
        self.texts, self.counts = texts, [0, 0, 0]
        with open(file, "rb") as source:
            self.data = source.read()
        self.at = 0

    def compare(self, first, rows, kept, skipped):
        for i, (ids, *decoded) in enumerate(zip(rows, kept, skipped)):
            ours, self.at = blocks(self.data, self.at, 3)
            if ids is None:
                continue
            theirs = [array.array("i", ids).tobytes()] + [text.encode() for text in decoded]
            for kind, (a, b) in enumerate(zip(ours, theirs)):
                if a == b:
                    continue
                self.counts[kind] += 1
                if self.counts[kind] <= 3:
                    self.show(self.texts[first + i], kind, a, b)

    def show(self, text, kind, ours, theirs):
        if kind == 0:
            ours, theirs = array.array("i", ours).tolist(), array.array("i", theirs).tolist()
        else:
            ours, theirs = ours.decode(errors="replace"), theirs.decode()
        at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        around = slice(max(0, at - 3), at + 8)
        print(f"  {('ids', 'text', 'text without special tokens')[kind]} at {at}: quaver {ours[around]!r}, reference {theirs[around]!r}, of {text[:120]!r}")


def compare(probe, case, texts, texts_file, place):
    name, file, make_reference = case
    begin = time.time()
    out = os.path.join(place, "out")
    with subprocess.Popen([probe, file, texts_file, out], stderr=subprocess.PIPE, text=True) as process:
        reference = make_reference()
        theirs = [row for at in range(0, len(texts), CHUNK) for row in reference.encode(texts[at : at + CHUNK])]
        complaint = process.communicate()[1]
    streamed = complaint.count("streamed")
    differences = Differences(texts, out)
    if complaint:
        print("  " + complaint[:500])
    if process.returncode > 1:
        differences.counts[0] = len(texts)
    else:
        for at in range(0, len(texts), CHUNK):
            rows = theirs[at : at + CHUNK]
            filled = [row or [] for row in rows]
            differences.compare(at, rows, reference.decode(filled, False), reference.decode(filled, True))
    panics = theirs.count(None)
    print(f"{name}: {len(texts) - panics} texts{f' (the library panics on {panics} more)' * bool(panics)}, {sum(len(row or ()) for row in theirs)} ids; differences: {differences.counts[0]} ids, {differences.counts[1]} decoded, "
          f"{differences.counts[2]} without special tokens, {streamed} streamed ({time.time() - begin:.0f} s)", flush=True)
    return sum(differences.counts) + streamed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe")
    parser.add_argument("models", nargs="*", metavar="MODELDIR")
    parser.add_argument("--text", action="append", required=True, help="English text")
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--pieces", type=float, default=2, help="megabytes of it to encode in pieces of 100,000 bytes, for the kinds; all for MODELDIRs")
    parser.add_argument("--only", default="", help="the kinds whose names hold this")
    args = parser.parse_intermixed_args()
    blob = mixed_text(int(args.megabytes * 1e6), args.text)
    lines = blob.split(b"\n")[:-1]
    differences = compared = 0
    with tempfile.TemporaryDirectory() as place:
        families = [(args.pieces, [*golden_cases(place), *vocabulary_cases(place), *tiktoken_cases(place)]), (args.megabytes, model_cases(args.models))]
        for megabytes, cases in families:
            raw = lines + [blob[i : i + 100000] for i in range(0, min(len(blob), int(megabytes * 1e6)), 100000)]
            texts_file = os.path.join(place, "texts")
            with open(texts_file, "wb") as out:
                for text in raw:
                    out.write(struct.pack("<I", len(text)) + text)
            texts = [text.decode(errors="replace") for text in raw]
            for case in cases:
                if args.only in case[0]:
                    differences += compare(args.probe, case, texts, texts_file, place)
                    compared += 1
    print(f"{len(blob)} bytes, {len(lines)} lines, {compared} kinds, {differences} differences")
    sys.exit(differences != 0 or compared == 0)


if __name__ == "__main__":
    main()
