#!/usr/bin/env python3
"""Times quaver and the reference library in turn, on one thread: tokenizer_peer.py BENCH_PROGRAM TEXT TOKENIZER_FILE...

BENCH_PROGRAM is quaver-bench-tokenizer. A file .model is given to sentencepiece, any other to tokenizers. Prints MB/s of encoding the whole
text (best of three) and the ratio. Needs: pip install tokenizers sentencepiece.
"""
import os
import re
import subprocess
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import sentencepiece
import tokenizers


def reference(file):
    if file.endswith(".model"):
        return sentencepiece.SentencePieceProcessor(model_file=file).encode
    tokenizer = tokenizers.Tokenizer.from_file(file)
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def main():
    program, text_file, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    with open(text_file, "rb") as source:
        raw = source.read()
    text = raw.decode(errors="replace")
    for file in files:
        out = subprocess.run([program, file, text_file, "3"], check=True, stdout=subprocess.PIPE, text=True).stdout
        ours = float(re.search(r"warm ([0-9.]+)", out).group(1))
        encode, best = reference(file), 1e30
        for _ in range(3):
            begin = time.perf_counter()
            encode(text)
            best = min(best, time.perf_counter() - begin)
        theirs = len(raw) / 1e6 / best
        print(f"{os.path.basename(file)}: quaver {ours:.1f} MB/s, reference {theirs:.1f} MB/s, ratio {ours / theirs:.1f}", flush=True)


if __name__ == "__main__":
    main()
