#!/usr/bin/env python3
"""Fails when a file of src/ includes a layer that its own may not see, is too long, or is missing
from its folder's table.

usage: layers_test.py SOURCE_DIRECTORY
"""
import pathlib
import re
import sys

# a layer: the layers it may include besides itself
ALLOWED = {
    "core": "",
    "formats": "core",
    "io": "core formats",
    "text": "core",
    "kernels": "core formats",
    "ops": "core formats kernels",
    "nn": "core formats ops kernels",
    "models": "core nn ops",
    "loading": "core formats io nn models ops",
    "quant": "core formats io text kernels ops nn models loading",
    "generate": "core io text ops nn models loading",
    "eval": "core io text ops nn models loading generate",
    "server": "core text generate",
    "api": "core formats io text kernels ops nn models loading quant generate eval",
    "cli": "core api server",
    "python": "core api",
}
LONGEST = 800
# Instruction-set files: see src/kernels/README.md for why they may include so little.
ISA_FILE = re.compile(r"kernels/cpu/(\w+_)?(avx2|avx512|neon)\w*\.cpp$")
ISA_INCLUDES = re.compile(r'#include (<(immintrin|arm_neon|stdint)\.h>|"kernels/cpu/[\w.]+")')
# Tables: every file that defines a row must be named in the folder's all.cpp.
TABLES = {
    "api/verify": r"constinit const Check (\w+) =",
    "cli": r"constinit const Command (\w+) =",
    "formats": r"constinit const Format (\w+) =",
    "io/encodings": r"constinit const Encoding (\w+) =",
    "io/dialects": r"constinit const Dialect (\w+) =",
    "models": r"constinit const Arch (\w+) =",
    "quant": r"constinit const Method (\w+) =",
}


def problems_of(path, source):
    layer = path.relative_to(source).parts[0]
    lines = path.read_text().splitlines()
    if len(lines) > LONGEST:
        yield f"{path}: {len(lines)} lines (limit {LONGEST})"
    if layer not in ALLOWED:
        yield f"{path}: '{layer}' is not a layer"
        return
    for number, line in enumerate(lines, 1):
        included = re.match(r'#include "(\w+)/', line)
        if included and included[1] in ALLOWED and included[1] != layer:
            if included[1] not in ALLOWED[layer].split():
                yield f"{path}:{number}: {layer} may not include {included[1]}"
        if ISA_FILE.search(path.as_posix()) and line.startswith("#include"):
            if not ISA_INCLUDES.match(line):
                yield f"{path}:{number}: an instruction-set file may not have {line}"
        if "using namespace" in line and path.suffix == ".h":
            yield f"{path}:{number}: 'using namespace' in a header"


def missing_rows(source):
    for folder, pattern in TABLES.items():
        table = (source / folder / "all.cpp").read_text()
        for path in sorted((source / folder).glob("*.cpp")):
            for row in re.findall(pattern, path.read_text()):
                if not re.search(rf"&{row}\b|ROW\({path.stem}, {row}\)", table):
                    yield f"{path}: row '{row}' is not in {folder}/all.cpp"


def main():
    source = pathlib.Path(sys.argv[1])
    files = sorted(p for p in source.rglob("*") if p.suffix in (".cpp", ".h", ".inl", ".cu", ".cl"))
    bad = [problem for f in files for problem in problems_of(f, source)]
    bad += missing_rows(source)
    print("\n".join(bad) or f"layers ok: {len(files)} files")
    sys.exit(bool(bad or not files))


if __name__ == "__main__":
    main()
