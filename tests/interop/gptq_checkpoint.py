#!/usr/bin/env python3
"""Is a GPTQ directory that quaver wrote what it claims to be? An independent answer.

usage: gptq_checkpoint.py QUAVER SOURCE QUANTIZED TEXT [--context 512]

Unpacks QUANTIZED with plain numpy (no code of quaver or of a GPTQ package), checks that every
tensor that was not quantized has the bytes and the name of SOURCE's, puts the weights into
transformers, and compares its perplexity on TEXT with what `quaver eval` reports. Exits 1 when
they differ by more than 0.1 %. Needs numpy, torch, transformers, safetensors.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-3
PARTS = ("qweight", "qzeros", "scales", "g_idx")


def tensors_of(directory):
    """name -> numpy array or, for bf16, torch tensor; from all weight files."""
    found = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            for name in f.keys():
                assert name not in found, f"{name} stands in two files"
                found[name] = f.get_tensor(name)
    return found


def fields(words, bits, axis):
    """The b-bit fields of a little-endian bit stream of 32-bit words along `axis`."""
    words = np.moveaxis(words.astype(np.uint32), axis, 0)
    stream = (words[:, None] >> np.arange(32, dtype=np.uint32)[None, :, *[None] * (words.ndim - 1)]) & 1
    stream = stream.reshape(-1, bits, *words.shape[1:])
    weights = (1 << np.arange(bits, dtype=np.int64)).reshape(1, bits, *[1] * (words.ndim - 1))
    return np.moveaxis((stream * weights).sum(1), 0, axis)


def dequantize(parts, bits, add_one):
    codes = fields(parts["qweight"].numpy(), bits, 0)  # [K, N]
    qzeros = parts["qzeros"].numpy()
    if add_one and bits != 3:  # to whole words: where a zero point is 0, gptqmodel's subtraction borrowed
        ones = sum(1 << bit for bit in range(0, 32, bits))
        zeros = fields((qzeros.astype(np.uint32).astype(np.uint64) + ones).astype(np.uint32), bits, 1)  # [G, N]
    else:
        zeros = (fields(qzeros, bits, 1) + add_one) % (1 << bits)
    scales = parts["scales"].to(torch.float32).numpy()
    group = parts["g_idx"].numpy()
    return torch.from_numpy((scales[group] * (codes - zeros[group])).T.astype(np.float32).copy())


def bits_of(config, module):
    """How many bits `module` has: the first pattern of `dynamic` that matches wins."""
    for pattern, change in (config.get("dynamic") or {}).items():
        if not pattern.startswith("-:") and re.match(pattern.removeprefix("+:"), module):
            return change.get("bits", config["bits"])
    return config["bits"]


def unpacked(directory):
    """The state dict of a GPTQ directory, anyone's, with every packed linear unpacked to f32."""
    config = json.loads((pathlib.Path(directory) / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "gptq"
    layout = config.get("checkpoint_format") or config.get("format") or "gptq"
    assert layout in ("gptq", "gptq_v2"), layout
    found = tensors_of(directory)
    modules = sorted(name.removesuffix(".qweight") for name in found if name.endswith(".qweight"))
    assert modules, "nothing is quantized"
    state = dict(found)
    for module in modules:
        parts = {part: state.pop(f"{module}.{part}") for part in PARTS}
        state[f"{module}.weight"] = dequantize(parts, bits_of(config, module), layout == "gptq")
    return {name: t.to(torch.float32).contiguous() for name, t in state.items()}


def plain_weights(source, quantized):
    """The same of a directory that quaver made of SOURCE, where everything else must be SOURCE's."""
    config = json.loads((pathlib.Path(quantized) / "config.json").read_text())["quantization_config"]
    beside = json.loads((pathlib.Path(quantized) / "quantize_config.json").read_text())
    assert config == beside, "quantize_config.json differs from config.json's quantization_config"
    before, after = tensors_of(source), tensors_of(quantized)
    state, packed = unpacked(quantized), set()
    for name in before:
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and f"{module}.qweight" in after:
            packed |= {f"{module}.{part}" for part in PARTS}
            assert state[name].shape == before[name].shape, name
        else:
            assert name in after, f"{name} is missing"
            same = after[name].dtype == before[name].dtype and torch.equal(
                after[name].view(torch.uint8), before[name].view(torch.uint8))
            assert same, f"{name} is not the source's, byte for byte"
    extra = set(after) - set(before) - packed
    assert not extra, f"tensors that the source has not: {sorted(extra)[:5]}"
    return state


def perplexity(model, ids, context):
    windows = ids[: len(ids) // context * context].reshape(-1, context)
    total, count = 0.0, 0
    with torch.no_grad():
        for window in windows.split(8):
            logits = model(window).logits[:, :-1].float()
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), window[:, 1:].reshape(-1), reduction="sum")
            total, count = total + loss.double().item(), count + window[:, 1:].numel()
    return float(np.exp(total / count))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("quaver", "source", "quantized", "text"):
        parser.add_argument(name)
    parser.add_argument("--context", type=int, default=512)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as plain:  # transformers knows its own names best
        save_file(plain_weights(a.source, a.quantized), f"{plain}/model.safetensors",
                  metadata={"format": "pt"})
        shutil.copy(pathlib.Path(a.source) / "config.json", plain)
        model = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(a.quantized)
    text = pathlib.Path(a.text).read_text()
    ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])
    theirs = perplexity(model, ids, a.context)
    ours = json.loads(subprocess.run(
        [a.quaver, "eval", a.quantized, "--text", a.text, "--context", str(a.context), "--json"],
        check=True, capture_output=True, text=True).stdout)["perplexity"]
    difference = abs(ours / theirs - 1)
    print(f"{a.quantized}: transformers {theirs:.4f}, quaver {ours:.4f}, difference {difference:.2e}")
    sys.exit(difference > TOLERANCE)


if __name__ == "__main__":
    main()
