#!/usr/bin/env python3
"""rtn.py QUAVER MODEL [--rounds N] [quantize's options]: how fast rounding to nearest is, as weights in
a second, beside the rate at which this disk takes the same bytes, in turns.

A round writes as many bytes as the output's weight files have to a new file and syncs it, then
quantizes into a new directory. Counted are all stages but "check", "verify" and "hash", which read
the input before and the output after the work; these are shown apart. Files are made in a
temporary directory beside the current one and removed."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

APART = ("check", "verify", "hash")


def weight_files(directory):
    return [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".safetensors")]


def weights_in(model):
    """Elements of all tensors, from the headers."""
    total = 0
    for path in weight_files(model):
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            count = 1
            for n in tensor["shape"] if name != "__metadata__" else [0]:
                count *= n
            total += count
    return total


def written_and_synced(path, size):
    block = memoryview(os.urandom(1 << 22))
    start = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for at in range(0, size, len(block)):
            file.write(block[: size - at])
        os.fsync(file.fileno())
    seconds = time.monotonic() - start
    os.remove(path)
    return seconds


def main():
    quaver, model, *options = sys.argv[1:]
    rounds = 5
    if "--rounds" in options:
        at = options.index("--rounds")
        rounds = int(options[at + 1])
        del options[at : at + 2]
    weights, disk, stages, size = weights_in(model), [], [], None
    for turn in range(rounds + 1):  # the first tells the size, and warms
        with tempfile.TemporaryDirectory(dir=".") as scratch:
            if size is not None:
                disk.append(written_and_synced(os.path.join(scratch, "bytes"), size))
            out = os.path.join(scratch, "out")
            said = subprocess.run([quaver, "quantize", model, out, "--method", "rtn", "--json", "--quiet", *options],
                                  check=True, stdout=subprocess.PIPE, text=True).stdout
            if size is not None:
                stages.append(json.loads(said)["stages"])
            size = sum(os.path.getsize(path) for path in weight_files(out))
    work = [sum(s for name, s in run.items() if name not in APART) for run in stages]
    print(f"{weights / 1e6:.1f} M weights, {size / 1e6:.0f} MB written")
    for name, choose in (("median", statistics.median), ("best", min)):
        print(f"{name}: written and synced alone in {choose(disk):.3f} s, {size / choose(disk) / 1e6:.0f} MB/s = "
              f"{weights / choose(disk) / 1e9:.2f} Gweights/s; quantized in {choose(work):.3f} s = "
              f"{weights / choose(work) / 1e9:.2f} Gweights/s: {choose(disk) / choose(work):.2f} of it")
    print("stages, median s: " + ", ".join(f"{name} {statistics.median(run[name] for run in stages):.3f}"
                                            for name in ("plan", "calibration", "quantize", "write", *APART)))


main()
