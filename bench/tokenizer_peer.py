#!/usr/bin/env python3
"""Times quaver and the reference libraries in turn, on one thread.

    python tokenizer_peer.py BENCH_PROGRAM TEXT [--kinds] [--rounds 3] [--megabytes 1] [FILE ...]

BENCH_PROGRAM is quaver-bench-tokenizer. FILE is a tokenizer file: a .model is given to sentencepiece, any other to tokenizers. --kinds adds
every kind that tests/interop/tokenizers_mixed.py compares. In each round quaver encodes the text (the best of two warm runs), then the
reference does: the whole text, and line by line; its better rate counts. Prints the medians in MB/s, the median ratio, and for --kinds the
least and the median ratio of each group. Needs: pip install tokenizers sentencepiece, and for --kinds tiktoken transformers.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))
import sentencepiece  # noqa: E402
import tokenizers  # noqa: E402


def reference(file, made=None):
    """Encoders of a text and of a list of lines."""
    if made is not None and hasattr(made, "encoding"):  # tiktoken
        encode = lambda text: made.encoding.encode(made.normalized(text), allowed_special="all", disallowed_special=())
        return encode, lambda lines: [encode(line) for line in lines]
    if file.endswith(".model"):
        processor = sentencepiece.SentencePieceProcessor(model_file=file)
        return processor.encode, lambda lines: processor.encode(lines, num_threads=1)
    tokenizer = made.tokenizer if made else tokenizers.Tokenizer.from_file(file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return (lambda text: tokenizer.encode(text, add_special_tokens=False)), lambda lines: tokenizer.encode_batch_fast(lines, add_special_tokens=False)


def seconds(work, *arguments):
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def paired(program, text_file, file, encoders, rounds):
    """Medians of quaver's MB/s, of the reference's, and of their ratio."""
    with open(text_file, "rb") as source:
        raw = source.read()
    text = raw.decode(errors="replace")
    lines = text.split("\n")
    whole, batch = encoders
    rates = []
    for _ in range(rounds):
        out = subprocess.run([program, file, text_file, "2"], check=True, stdout=subprocess.PIPE, text=True).stdout
        ours = float(re.search(r"warm ([0-9.]+)", out).group(1))
        theirs = len(raw) / 1e6 / min(seconds(whole, text), seconds(batch, lines))
        rates.append((ours, theirs, ours / theirs))
    return [statistics.median(column) for column in zip(*rates)]


def group_of(name, file):
    with open(file, "rb") as source:
        start = source.read(1)
    for end, group in ((".tiktoken", "*.tiktoken"), ("vocab.txt", "vocab.txt"), ("vocab.json", "vocab.json, merges.txt")):
        if file.endswith(end):
            return group
    if start != b"{":
        return "tokenizer.model"
    with open(file, encoding="utf-8") as source:
        kind = re.search(r'"type": ?"(BPE|Unigram|WordPiece|WordLevel)"', source.read())
    return "tokenizer.json, " + (kind.group(1) if kind else "BPE") + (", regular expression" if name.startswith("regex:") else "")


def kinds(place):
    import tokenizers_mixed as mixed
    for name, file, make in [*mixed.golden_cases(place), *mixed.vocabulary_cases(place), *mixed.tiktoken_cases(place)]:
        yield name, file, group_of(name, file), lambda file=file, make=make: reference(file, make())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, help="take the text's beginning only")
    args = parser.parse_intermixed_args()
    groups = {}
    with tempfile.TemporaryDirectory() as place:
        text_file = os.path.join(place, "text")
        with open(args.text, "rb") as source, open(text_file, "wb") as out:
            out.write(source.read(int(args.megabytes * 1e6) if args.megabytes else -1))
        rows = [(file, file, file, lambda file=file: reference(file)) for file in args.files]
        for name, file, group, make in rows + (list(kinds(place)) if args.kinds else []):
            ours, theirs, ratio = paired(args.program, text_file, file, make(), args.rounds)
            groups.setdefault(group, []).append((ratio, name))
            print(f"{name}: quaver {ours:.1f} MB/s, reference {theirs:.2f} MB/s, ratio {ratio:.1f}", flush=True)
    if args.kinds:
        print("| group | kinds | least ratio | median ratio |\n|---|---|---|---|")
        for group, ratios in groups.items():
            least, name = min(ratios)
            print(f"| {group} | {len(ratios)} | {least:.1f} ({name}) | {statistics.median(r for r, _ in ratios):.1f} |")


if __name__ == "__main__":
    main()
