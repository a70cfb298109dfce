#!/usr/bin/env python3
"""Perplexity of story-opt's first windows by transformers: the numbers in src/eval/perplexity_test.cpp.

Needs torch, transformers and zstandard or the zstd program (made with 2.15.0 and 5.23.0).

    python tests/golden/make_perplexity.py models/story-opt src/eval/data/heldout.txt.zst
"""

import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def windows(protocol, n, context, stride):
    if protocol == "gptq":
        return [(b, b + context, b + 1) for b in range(0, n - context + 1, context)]
    if protocol == "llamacpp":
        return [(b, b + context, b + context // 2 + 1) for b in range(0, n - context + 1, context)]
    out, scored = [], 1
    for begin in range(0, n, stride):
        end = min(begin + context, n)
        out.append((begin, end, max(scored, begin + 1)))
        scored = end
        if end == n:
            break
    return out


def main():
    model_path, text_path = sys.argv[1:]
    text = subprocess.run(["zstd", "-dc", text_path], capture_output=True, check=True).stdout.decode()
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    special = tokenizer("a", add_special_tokens=True)["input_ids"]
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    bos = special[0] if special != plain and special[0] != plain[0] else None
    print("tokens", len(ids), "bos", bos)
    for protocol, context, stride, count in (("gptq", 512, 0, 4), ("llamacpp", 256, 0, 4), ("strided", 256, 96, 5)):
        nll = []
        for begin, end, first in windows(protocol, len(ids), context, stride)[:count]:
            window = ids[begin:end]
            if protocol == "llamacpp" and bos is not None:
                window = [bos] + window[1:]
            with torch.no_grad():
                logits = model(torch.tensor([window])).logits[0].double()
            p = torch.log_softmax(logits, -1)
            nll += [-p[t - 1 - begin, ids[t]].item() for t in range(first, end)]
        t = torch.tensor(nll, dtype=torch.float64)
        mean, n = t.mean(), len(nll)
        error = ((t.square().mean() - mean.square()) / (n - 1)).sqrt()
        print(protocol, n, f"perplexity {mean.exp():.6f} stderr {(mean.exp() * error):.6f}")


if __name__ == "__main__":
    main()
