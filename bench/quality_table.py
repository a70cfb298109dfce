#!/usr/bin/env python3
"""The table of docs/quality.md: what each part of --method gptq gains, and what it costs.

    python quality_table.py QUAVER CALIBRATION HELDOUT MODEL [MODEL ...] [--cells w4,w3,w2] [--rows NAME,...] [--max-windows N]

For each model and cell (w4: 4 bits g128 sym, w3: 3 bits g128 sym, w2: 2 bits g64 asym) and each row of options: KL divergence to MODEL on
HELDOUT in windows of 512, calibrated on the first 128 x 512 ids of CALIBRATION; processor seconds of `quantize` as a ratio to plain GPTQ's
in the same run. Standard library only.
"""
import argparse
import json
import os
import resource
import subprocess
import tempfile

CELLS = {"w4": ["--bits", "4"], "w3": ["--bits", "3"],
         "w2": ["--bits", "2", "--group-size", "64", "--asym", "--format", "gptq_v2"]}
PLAIN = ["--scale-search", "none", "--no-act-group-aware", "--coordinate-descent", "0", "--stream-target", "0"]
ROWS = {"plain": PLAIN, "search": [*PLAIN[2:]], "order": ["--coordinate-descent", "0", "--stream-target", "0"],
        "descent": ["--stream-target", "0"], "default": [], "whole target": ["--stream-target", "1"]}


def quantized(program, model, out, calibration, words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([program, "quantize", model, out, "--calibration", calibration, "--samples", "128", "--seqlen", "512", "--quiet", *words],
                   check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("quaver", "calibration", "heldout"):
        parser.add_argument(name)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--cells", default="w4,w3,w2")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--max-windows", type=int)
    args = parser.parse_args()
    print("| model | cell | row | KL | perplexity | time |\n|---|---|---|---|---|---|")
    for model in args.models:
        for cell in args.cells.split(","):
            plain = None
            for row in args.rows.split(","):
                with tempfile.TemporaryDirectory() as place:
                    out = os.path.join(place, "out")
                    seconds = quantized(args.quaver, model, out, args.calibration, [*CELLS[cell], *ROWS[row]])
                    plain = seconds if row == "plain" else plain
                    windows = ["--max-windows", str(args.max_windows)] if args.max_windows else []
                    found = json.loads(subprocess.run(
                        [args.quaver, "eval", out, "--text", args.heldout, "--context", "512", "--against", model, "--json", *windows],
                        check=True, stdout=subprocess.PIPE).stdout)
                    time = f"{seconds / plain:.2f}" if plain else f"{seconds:.0f} s"
                    print(f"| {os.path.basename(os.path.normpath(model))} | {cell} | {row} | {found['kl']:.4f} ± {found['kl_stderr']:.4f} | "
                          f"{found['perplexity']:.3f} | {time} |", flush=True)


if __name__ == "__main__":
    main()
