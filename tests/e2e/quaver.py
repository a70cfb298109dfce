"""What the end-to-end tests share: running the program, reading safetensors, a tiny test runner.
Python's standard library only."""
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback

PROGRAM, SOURCE = map(os.path.abspath, sys.argv[1:3])
MODEL = os.path.join(SOURCE, "models/story-opt")
FIXTURES = os.path.join(SOURCE, "tests/data/fixtures")
FAMILIES = ["bloom", "gpt_neox", "gptj", "llama", "opt"]


def run(*words, code=0, stdin="", env=None, cwd=None):
    """Runs quaver; fails unless it ends with `code`. Returns (standard output, standard error)."""
    result = subprocess.run([PROGRAM, *map(str, words)], input=stdin.encode(), capture_output=True,
                            env={**os.environ, **(env or {})}, cwd=cwd)
    out, err = result.stdout.decode(), result.stderr.decode()
    command = "quaver " + " ".join(map(str, words))
    assert result.returncode == code, f"{command}: exit {result.returncode}, not {code}\n{out}{err}"
    return out, err


def run_json(*words, **more):
    """The one JSON value that a command prints."""
    out, _ = run(words[0], "--json", *words[1:], **more)
    assert out.endswith("\n") and out.count("\n") == 1, out
    return json.loads(out)


def read_safetensors(path):
    """{name: (dtype, shape, values)}; values of F32, I32, I64 are tuples, of others bytes."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        values, letter = data[begin:end], {"F32": "f", "I32": "i", "I64": "q"}.get(info["dtype"])
        if letter:
            values = struct.unpack(f"<{(end - begin) // struct.calcsize(letter)}{letter}", values)
        tensors[name] = (info["dtype"], info["shape"], values)
    return tensors


def write_safetensors(path, tensors):
    """The inverse, for {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def files_of(directory):
    """{relative path: bytes} of everything below a directory."""
    found = {}
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, directory)] = f.read()
    return found


def copy_of(model, directory):
    target = os.path.join(directory, "copy-" + os.path.basename(model))
    shutil.copytree(model, target)
    return target


def edit_json(path, **changes):
    with open(path) as f:
        content = json.load(f)
    content.update(changes)
    with open(path, "w") as f:
        json.dump(content, f)


def near(a, b, tolerance):
    return math.isfinite(a) and abs(a - b) <= tolerance


def main(tests):
    """Runs every function of `tests`, each with a directory of its own."""
    failed = 0
    for test in tests:
        with tempfile.TemporaryDirectory() as directory:
            try:
                test(directory)
                print("ok     ", test.__name__, flush=True)
            except Exception:
                failed += 1
                print("FAILED ", test.__name__, flush=True)
                traceback.print_exc()
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def tests_of(names):
    return [value for name, value in names.items() if name.startswith("test_")]
