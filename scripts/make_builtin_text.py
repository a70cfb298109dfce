#!/usr/bin/env python3
"""Makes src/quant/data/calibration.jsonl.zst: the first documents of a .jsonl file, compressed.

    scripts/make_builtin_text.py CALIBRATION.jsonl [BYTES]

The committed file holds the first 1.2 MB of public-domain prose, enough for 128 windows of 2048
tokens of a small vocabulary. Needs the zstd program.
"""

import json
import pathlib
import subprocess
import sys

source = pathlib.Path(sys.argv[1])
limit = int(sys.argv[2]) if len(sys.argv) > 2 else 1_200_000
lines, size = [], 0
for line in source.read_text(encoding="utf-8").splitlines():
    text = json.loads(line)["text"]
    lines.append(json.dumps({"text": text}, ensure_ascii=False))
    size += len(text.encode())
    if size >= limit:
        break
target = pathlib.Path(__file__).parent.parent / "src/quant/data/calibration.jsonl.zst"
content = "\n".join(lines).encode() + b"\n"
# The frame must tell its content's size, which a pipe does not.
subprocess.run(["zstd", "-19", f"--stream-size={len(content)}", "-f", "-q", "-o", str(target)],
               input=content, check=True)
print(f"{len(lines)} documents, {size} bytes of text, {target.stat().st_size} bytes compressed")
