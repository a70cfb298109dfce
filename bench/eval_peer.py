#!/usr/bin/env python3
"""Times `quaver eval` against the same evaluation by transformers, in turn.

usage: eval_peer.py QUAVER CHECKPOINT TEXT [--context 512] [--rounds 3] [--threads 2] [--batch 8]

Both score all whole windows of TEXT (protocol gptq). quaver's time is the whole process, loading
and tokenizing included; transformers' is the scoring alone. Prints each round, the perplexities and
the median ratio of the times, quaver over transformers. Needs torch and transformers.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def transformers_perplexity(model, ids, context, batch):
    windows = ids[: len(ids) // context * context].reshape(-1, context)
    total, count = 0.0, 0
    with torch.no_grad():
        for some in windows.split(batch):
            logits = model(some).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), some[:, 1:].reshape(-1), reduction="sum")
            total, count = total + loss.item(), count + some[:, 1:].numel()
    return math.exp(total / count), len(windows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("quaver", "checkpoint", "text"):
        parser.add_argument(name)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    model = AutoModelForCausalLM.from_pretrained(a.checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(a.checkpoint)
    text = pathlib.Path(a.text).read_text()
    ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])
    command = [a.quaver, "eval", a.checkpoint, "--text", a.text, "--context", str(a.context),
               "--threads", str(a.threads), "--json", "--quiet"]
    ratios = []
    for round_number in range(a.rounds):
        start = time.perf_counter()
        ours = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        middle = time.perf_counter()
        theirs, windows = transformers_perplexity(model, ids, a.context, a.batch)
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        print(f"round {round_number + 1}: quaver {middle - start:.1f} s ({ours['perplexity']:.4f}), "
              f"transformers {end - middle:.1f} s ({theirs:.4f}), {windows} windows")
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
