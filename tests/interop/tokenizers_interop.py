#!/usr/bin/env python3
"""Compares `quaver tokenize` with the reference libraries, id by id.

    python tokenizers_interop.py --quaver build/bin/quaver --file TEXT [--file TEXT ...] MODELDIR [MODELDIR ...]

Each text is tokenized whole and line by line. MODELDIR/tokenizer.json is compared with `tokenizers`; a MODELDIR/tokenizer.model also
with `sentencepiece`, in a copy of the directory that has no tokenizer.json. Exits 1 at any difference.
Needs: pip install tokenizers sentencepiece.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import sentencepiece
import tokenizers


def quaver_ids(program, directory, file, lines):
    command = [program, "tokenize", directory, "--file", file, "--json"] + ["--lines"] * lines
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    return [json.loads(line) for line in out.splitlines() if line.strip()]


def compare(program, name, directory, encode, file):
    with open(file, "rb") as handle:
        raw = handle.read()
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    lines = [line.decode(errors="replace") for line in lines]
    begin = time.time()
    whole = encode(raw.decode(errors="replace"))
    seconds = time.time() - begin
    differences = int(quaver_ids(program, directory, file, False) != [whole])
    ours, theirs = quaver_ids(program, directory, file, True), [encode(line) for line in lines]
    wrong = [i for i, ids in enumerate(theirs) if i >= len(ours) or ours[i] != ids]
    differences += len(wrong) + (len(ours) != len(theirs))
    print(f"{name}: {os.path.basename(file)}: {len(whole)} ids, {len(lines)} lines, {differences} differences "
          f"(reference: {len(raw) / seconds / 1e6:.1f} MB/s)")
    for i in wrong[:3]:
        print(f"  line {i + 1}: {lines[i][:100]!r}")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODELDIR")
    parser.add_argument("--quaver", default="quaver")
    parser.add_argument("--file", action="append", required=True, dest="files")
    args = parser.parse_args()
    differences = compared = 0
    for model in args.models:
        described = os.path.join(model, "tokenizer.json")
        trained = os.path.join(model, "tokenizer.model")
        if os.path.exists(described):
            reference = tokenizers.Tokenizer.from_file(described)
            reference.no_truncation()
            reference.no_padding()
            for file in args.files:
                differences += compare(args.quaver, described, model, lambda text: reference.encode(text, add_special_tokens=False).ids, file)
                compared += 1
        if os.path.exists(trained):
            processor = sentencepiece.SentencePieceProcessor(model_file=trained)
            with tempfile.TemporaryDirectory() as alone:
                for name in os.listdir(model):  # a whole model but for its tokenizer.json
                    source = os.path.abspath(os.path.join(model, name))
                    if name == "tokenizer.model":
                        shutil.copy(source, alone)
                    elif name != "tokenizer.json":
                        os.symlink(source, os.path.join(alone, name))
                for file in args.files:
                    differences += compare(args.quaver, trained, alone, processor.encode, file)
                    compared += 1
    print(f"{compared} comparisons, {differences} differences")
    sys.exit(differences != 0 or compared == 0)


main()
