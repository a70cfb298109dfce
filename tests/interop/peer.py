"""One other program at work, in a process of its own: it may not come back. peers.py starts it.

usage: peer.py JOBS

JOBS is a JSON list. {"reader", "model", "ids", "out"}: `reader` loads the quantized directory `model`
on the CPU and writes its `logits` for `ids` to `out`, computed with the numbers it chose itself, and
`logits_f32`, computed by the same layers after their scales, biases and inputs became f32 (exact but
for the order of sums, where the kernel allows it). {"maker", "model", "ids", "out", "options"}:
`maker` quantizes `model`, calibrated on `ids`, into `out`. A line of JSON is printed for each.
"""
import collections
import json
import os
import re
import sys
import time

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # 7.7 stops with an exception on two cores without
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # the same operations, a minute a model sooner

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

RESULT = "peer: "


def read_transformers(path, backend):
    from transformers import GPTQConfig

    return AutoModelForCausalLM.from_pretrained(
        path, device_map="cpu", dtype=torch.float16, quantization_config=GPTQConfig(bits=4, backend=backend))


def read_gptqmodel(path, backend):
    from gptqmodel import BACKEND, GPTQModel

    dtype = torch.float16 if backend == BACKEND.GPTQ_TORCH else "auto"
    return GPTQModel.load(path, device="cpu", dtype=dtype, backend=backend).model


def read_auto_round(path):
    from transformers import AutoRoundConfig

    return AutoModelForCausalLM.from_pretrained(
        path, device_map="cpu", dtype=torch.float16, quantization_config=AutoRoundConfig(backend="auto"))


READERS = {
    "transformers": lambda path: read_transformers(path, "gptq_torch"),
    "transformers auto": lambda path: read_transformers(path, "auto"),
    "gptqmodel": lambda path: read_gptqmodel(path, "gptq_torch"),
    "gptqmodel auto": lambda path: read_gptqmodel(path, "auto"),
    "auto-round": read_auto_round,
}


def make_gptqmodel(model, ids, out, options):
    from gptqmodel import GPTQModel, QuantizeConfig

    loaded = GPTQModel.load(model, QuantizeConfig(**options), device="cpu")
    loaded.quantize([{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in ids], batch_size=1)
    loaded.save(out)


def make_auto_round(model, ids, out, options):
    from auto_round import AutoRound

    options = dict(options)
    layout = options.pop("format", "auto_gptq")
    rounding = AutoRound(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
                         AutoTokenizer.from_pretrained(model), dataset=[row[None] for row in ids],
                         seqlen=ids.shape[1], nsamples=len(ids), batch_size=4, device_map="cpu", **options)
    rounding.quantize_and_save(out, format=layout)


MAKERS = {"gptqmodel": make_gptqmodel, "auto-round": make_auto_round}


def logits(model, ids):
    with torch.no_grad():
        return torch.cat([model(row[None]).logits.float() for row in ids])


def read(job):
    ids = load_file(job["ids"])["input_ids"]
    model = READERS[job["reader"]](job["model"]).eval()
    kernels = collections.Counter(type(m).__name__ for m in model.modules() if hasattr(m, "qweight") or "Quant" in type(m).__name__)
    kinds = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()})
    found = {"logits": logits(model, ids)}
    try:
        found["logits_f32"] = logits(torch.nn.Module.to(model, torch.float32), ids)  # transformers refuses its own `to`
    except Exception as e:  # kernels of one number type only
        print(f"in f32: {e}", file=sys.stderr)
    save_file(found, job["out"])
    return {"kernels": dict(kernels), "dtype": kinds}


def make(job):
    ids = load_file(job["ids"])["input_ids"]
    MAKERS[job["maker"]](job["model"], ids, job["out"], job["options"])
    return {}


def main():
    for index, job in enumerate(json.load(open(sys.argv[1]))):
        started = time.time()
        try:
            result = {"ok": True, **(read(job) if "reader" in job else make(job))}
        except Exception as e:
            message = re.sub(r"\x1b\[[0-9;]*m", "", str(e)).strip() or type(e).__name__
            result = {"ok": False, "error": f"{type(e).__name__}: {message}"}
            import traceback
            traceback.print_exc()
        print(RESULT + json.dumps({"index": index, "seconds": round(time.time() - started, 1), **result}), flush=True)


if __name__ == "__main__":
    main()
