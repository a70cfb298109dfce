#!/usr/bin/env python3
"""weak_symbols_test.py BUILD_DIR: objects compiled for a special instruction set hold no weak symbols.

The linker keeps one copy of a weak function for the whole program. If that copy came from a file
compiled with -mavx512f, code that runs on every processor would call AVX-512 instructions.
"""
import json
import os
import re
import subprocess
import sys


def main():
    build = sys.argv[1]
    with open(os.path.join(build, "compile_commands.json")) as f:
        entries = json.load(f)
    checked, weak = 0, []
    for entry in entries:
        if not re.search(r"\s-m(avx|fma|f16c|amx|arch=)", entry["command"]):
            continue
        output = os.path.join(entry["directory"], re.search(r"\s-o\s+(\S+)", entry["command"])[1])
        if not os.path.exists(output):
            continue
        checked += 1
        names = subprocess.run(["nm", "-C", output], check=True, text=True, stdout=subprocess.PIPE)
        for line in names.stdout.splitlines():
            if re.match(r"^\s*[0-9a-f]*\s+[VvWwu]\s", line):
                weak.append(f"{os.path.basename(output)}: {line.strip()}")
    print(f"{checked} objects of special instruction sets, {len(weak)} weak symbols")
    print("\n".join(weak))
    return 1 if weak or (checked == 0 and os.uname().machine == "x86_64") else 0


if __name__ == "__main__":
    sys.exit(main())
