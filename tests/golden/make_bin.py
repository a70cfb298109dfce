#!/usr/bin/env python3
"""Writes the .bin files that src/io/torch_file_test.cpp reads, and the same tensors as safetensors.

usage: make_bin.py OUT     (OUT is tests/data/bin; needs torch and safetensors; made with torch 2.15.0)

Each NAME.bin stands beside NAME.safetensors, which holds its tensors contiguous. float8.safetensors
holds, for all 256 bytes of the two 8-bit types, what torch converts them to in f32. llama/ is a
checkpoint whose model.safetensors, of a tiny random model in f16, has the same weights.
"""
import collections
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

STORAGES = "float32 float16 bfloat16 float64 int8 uint8 int16 int32 int64 bool".split()
LATER = "uint16 uint32 uint64 float8_e4m3fn float8_e5m2".split()


def counted(name, *shape):
    """Different bytes everywhere, in any type."""
    dtype = getattr(torch, name)
    count = torch.Size(shape).numel() * dtype.itemsize
    raw = (torch.arange(count) * 37 + 11).to(torch.uint8)
    if dtype == torch.bool:
        raw = raw % 2
    return raw.view(dtype).reshape(shape).clone()


def of_every_type(names):
    tensors = collections.OrderedDict()
    for name in names:
        tensors[f"{name}.matrix"] = counted(name, 3, 5)
        tensors[f"{name}.turned"] = counted(name, 3, 5).t()
        tensors[f"{name}.scalar"] = counted(name)
        tensors[f"{name}.nothing"] = torch.zeros(0, 3, dtype=getattr(torch, name))
    return tensors


def views():
    base = torch.arange(240, dtype=torch.float32).reshape(4, 5, 12)
    flat = torch.arange(60, dtype=torch.float16)
    return {
        "base": base,
        "tied": base,
        "slice": base[1:3],
        "part": base[1, 2:4, 3:9],
        "permuted": base.permute(2, 0, 1),
        "steps": base[::2, ::3, ::5],
        "row": base[3, 4],
        "element": base[2, 3, 4],
        "expanded": torch.tensor([1.5, 2.5]).expand(3, 2),
        "constant": torch.tensor(7, dtype=torch.int64).expand(2, 2),
        "windows": flat.as_strided((5, 4), (2, 1), 7),
        "empty_slice": base[2:2],
        "ones": flat.as_strided((1, 60, 1), (999, 1, 999)),
        "parameter": torch.nn.Parameter(base[0].clone()),
        "frozen": torch.nn.Parameter(flat.clone(), requires_grad=False),
        "six": flat[:24].reshape(1, 2, 1, 3, 2, 2).transpose(1, 4),
    }


def with_metadata(tensors):
    """A state dict as Module.state_dict() gives it."""
    state = collections.OrderedDict(tensors)
    state._metadata = collections.OrderedDict({"": {"version": 1}, "layer": {"version": 2}})
    return state


def save(path, value, expected, **options):
    torch.save(value, path, **options)
    save_file({k: v.detach().contiguous().clone() for k, v in expected.items()},
              path.with_suffix(".safetensors"))


def write_float8(out):
    every = torch.arange(256, dtype=torch.uint8)
    save_file({name: every.view(getattr(torch, name)).to(torch.float32)
               for name in ("float8_e4m3fn", "float8_e5m2")}, out / "float8.safetensors")


def write_sharded(out):
    tensors = of_every_type(["float32", "bfloat16"])
    names = list(tensors)
    weight_map = {}
    for i, part in enumerate((names[:3], names[3:]), 1):
        file = f"pytorch_model-{i:05}-of-00002.bin"
        torch.save({name: tensors[name] for name in part}, out / file)
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, out / "expected.safetensors")


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 96,
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float16",
}


def write_llama(out):
    """The weights of one checkpoint in both forms; one matrix is stored transposed in the .bin."""
    torch.manual_seed(4)
    width, inner, heads, vocabulary = 32, 48, 16, 96
    shapes = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,),
              "lm_head.weight": (vocabulary, width)}
    for i in range(CONFIG["num_hidden_layers"]):
        block = f"model.layers.{i}."
        for name, rows, columns in (
                ("self_attn.q_proj", width, width), ("self_attn.k_proj", heads, width),
                ("self_attn.v_proj", heads, width), ("self_attn.o_proj", width, width),
                ("mlp.gate_proj", inner, width), ("mlp.up_proj", inner, width),
                ("mlp.down_proj", width, inner)):
            shapes[f"{block}{name}.weight"] = (rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{block}{name}.weight"] = (width,)
    weights = {name: torch.randn(shape).mul(0.2).add(float(len(shape) == 1)).half()
               for name, shape in shapes.items()}
    (out / "bin").mkdir(parents=True, exist_ok=True)
    (out / "safetensors").mkdir(exist_ok=True)
    for kind in ("bin", "safetensors"):
        (out / kind / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    save_file(weights, out / "safetensors" / "model.safetensors", metadata={"format": "pt"})
    turned = "model.layers.1.mlp.down_proj.weight"
    stored = dict(weights)
    stored[turned] = weights[turned].t().contiguous().t()
    torch.save(with_metadata(stored), out / "bin" / "pytorch_model.bin")


def main():
    out = pathlib.Path(sys.argv[1])
    (out / "sharded").mkdir(parents=True, exist_ok=True)
    every = of_every_type(STORAGES + LATER)
    save(out / "types.bin", with_metadata(every), every)
    save(out / "views.bin", views(), views())
    legacy = {**of_every_type(STORAGES + LATER), **views()}
    save(out / "legacy.bin", with_metadata(legacy), legacy, _use_new_zipfile_serialization=False)
    few = of_every_type(["float32", "int64"])
    training = {"epoch": 3, "loss": 0.5, "done": False, "state_dict": with_metadata(few),
                "names": ["a", ("b", None)], "step": 2**40, "back": -(2**40), "shape": torch.Size([2])}
    save(out / "training.bin", training, few)
    write_float8(out)
    write_sharded(out / "sharded")
    write_llama(out / "llama")


if __name__ == "__main__":
    main()
