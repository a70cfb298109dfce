#!/usr/bin/env python3
"""quantize.py QUAVER MODEL [quantize's options]: time and memory of a quantization against limits
that are measured in the same run.

Prints the machine's multiply-add rate (`quaver doctor`, before and after; the larger counts), the
ideal time of one forward pass of the calibration tokens (2 x parameters x tokens / that rate),
the job's time as a multiple of it, its peak of resident memory, and the plan against the fact.
OUT is made in a temporary directory beside the current one and removed."""
import json
import os
import struct
import subprocess
import sys
import tempfile


def parameters_of(model):
    """Elements of all weight tensors, from the headers."""
    total = 0
    for name in sorted(os.listdir(model)):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(model, name), "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        for key, tensor in header.items():
            if key == "__metadata__":
                continue
            count = 1
            for n in tensor["shape"]:
                count *= n
            total += count
    return total


def run(*words):
    out = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out)


def main():
    quaver, model, *options = sys.argv[1:]
    threads = ["--threads", options[options.index("--threads") + 1]] if "--threads" in options else []
    rate = lambda: run(quaver, "doctor", "--json", *threads)["measured"]["fma_gflops"] * 1e9
    before = rate()
    plan = run(quaver, "plan", model, "--json", *options)
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        report = run(quaver, "quantize", model, os.path.join(scratch, "out"), "--json", "--quiet", *options)
    limit = max(before, rate())
    parameters, tokens = parameters_of(model), plan["rows"]
    ideal = 2 * parameters * tokens / limit
    print(f"multiply-adds {limit / 1e9:.0f} GFLOP/s, {parameters / 1e6:.1f} M parameters, {tokens} tokens")
    if tokens:
        print(f"ideal forward {ideal:.1f} s; quantized in {report['seconds']:.1f} s = "
              f"{report['seconds'] / ideal:.2f} x ideal")
    else:
        print(f"quantized in {report['seconds']:.1f} s")
    for what, planned in (("plan", plan), ("at the start", report["planned"])):
        print(f"{what}: fact / planned: time {report['seconds'] / planned['seconds']:.2f}, memory "
              f"{report['peak_rss_bytes'] / planned['peak_rss_bytes']:.2f}, disk "
              f"{report['disk_bytes'] / planned['disk_bytes']:.3f}")
    print(f"peak memory {report['peak_rss_bytes'] / 1e6:.0f} MB")


main()
