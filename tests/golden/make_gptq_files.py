#!/usr/bin/env python3
"""Makes tests/data/gptq: tiny checkpoints as other programs write them, one a directory, and what
their packed linears stand for.

Weights are packed bit by bit from the definition of each layout, not by any library. expected.json
holds the SHA-256 of each linear as f32 [outputs, inputs]: (code - zero) * scale in double precision,
rounded once; and "plain" linears, which are stored unpacked.

usage: make_gptq_files.py      (needs numpy)
"""
import hashlib
import json
import pathlib
import shutil
import struct

import numpy as np

HIDDEN, INNER, VOCAB = 64, 96, 32
OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "gptq"
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": HIDDEN, "intermediate_size": INNER, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 1, "vocab_size": VOCAB,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 64,
    "tie_word_embeddings": False, "torch_dtype": "float16",
}
PHI3 = {**LLAMA, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "pad_token_id": 0}
LINEARS = {  # name: outputs, inputs
    "self_attn.q_proj": (64, HIDDEN), "self_attn.k_proj": (32, HIDDEN), "self_attn.v_proj": (32, HIDDEN),
    "self_attn.o_proj": (HIDDEN, 64), "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
FUSED = {"self_attn.qkv_proj": (128, HIDDEN), "self_attn.o_proj": (HIDDEN, 64),
         "mlp.gate_up_proj": (2 * INNER, HIDDEN), "mlp.down_proj": (HIDDEN, INNER)}
BLOCK = "model.layers.0."
PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}


def stream(fields, bits):
    """Words of a little-endian stream of fields."""
    words = [0] * (len(fields) * bits // 32)
    for i, field in enumerate(fields):
        for b in range(bits):
            if field >> b & 1:
                words[(i * bits + b) // 32] |= 1 << (i * bits + b) % 32
    return words


def planes(fields, bits):
    if bits not in PLANES:
        return stream(fields, bits)
    words = []
    for at in range(0, len(fields), 32):
        shift = 0
        for width in PLANES[bits]:
            words += stream([f >> shift & (1 << width) - 1 for f in fields[at:at + 32]], width)
            shift += width
    return words


class Half:
    """f16, bf16 and f32 values as they are written."""
    def __init__(self, values, kind):
        self.kind = kind
        values = np.asarray(values, np.float32)
        if kind == "F16":
            self.stored = values.astype(np.float16)
            self.exact = self.stored.astype(np.float64)
        elif kind == "BF16":
            self.stored = (values.view(np.uint32) >> 16).astype(np.uint16)
            self.exact = (self.stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        else:
            self.stored = values
            self.exact = values.astype(np.float64)


class Packed:
    def __init__(self, rng, outputs, inputs, bits=4, group=32, sym=True, form="gptq", order="", scale="F16",
                 zero_index=False, low_zero=False):
        size = inputs if group == -1 else group
        groups = -(-inputs // size)
        top = 2 ** bits - 1
        codes = rng.integers(0, top + 1, (outputs, inputs))
        if sym:
            zeros = np.full((groups, outputs), 2 ** (bits - 1))
        else:
            zeros = rng.integers(0 if low_zero else 1, top + 1, (groups, outputs))
        span = 1 / 2 ** (bits - 1)
        scales = Half(rng.uniform(0.05, 0.2, (groups, outputs)) * span * rng.choice([1, 1, -1], (groups, outputs)),
                      scale)
        index = np.arange(inputs) // size
        if order == "act":
            index = index[rng.permutation(inputs)]
        pack = planes if form == "gptq_p" else stream
        stored_zeros = zeros - (1 if form == "gptq" else 0)
        self.tensors = {
            "qweight": ("I32", np.array([pack([int(c) for c in row], bits) for row in codes], np.uint32).T),
            "qzeros": ("I32", np.array([pack([int(z) for z in row], bits) for row in stored_zeros], np.uint32)),
            "scales": (scale, scales.stored),
            "g_idx": ("I32", (np.zeros(inputs) if zero_index else index).astype(np.int32)),
        }
        exact = (codes - zeros[index].T) * scales.exact[index].T  # all in double precision
        self.weight = exact.astype(np.float32)


def digest(weight):
    return hashlib.sha256(np.ascontiguousarray(weight, np.float32).tobytes()).hexdigest()


def write_safetensors(path, tensors):
    header, at, data = {"__metadata__": {"format": "pt"}}, 0, b""
    for name in sorted(tensors):
        kind, values = tensors[name]
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


class Checkpoint:
    def __init__(self, name, config, seed):
        self.at = OUT / name
        shutil.rmtree(self.at, ignore_errors=True)
        self.at.mkdir(parents=True)
        self.config = dict(config)
        self.rng = np.random.default_rng(seed)
        self.expected, self.plain = {}, []
        norm = ("F16", np.ones(HIDDEN, np.float16))
        table = lambda: ("F16", self.rng.normal(0, 0.1, (VOCAB, HIDDEN)).astype(np.float16))
        self.tensors = {"model.embed_tokens.weight": table(), "lm_head.weight": table(), "model.norm.weight": norm,
                        BLOCK + "input_layernorm.weight": norm, BLOCK + "post_attention_layernorm.weight": norm}

    def packed(self, linears, options=lambda name: {}, **common):
        for name, (outputs, inputs) in linears.items():
            asked = {**common, **options(name)}
            if asked.pop("plain", False):
                weight = self.rng.normal(0, 0.1, (outputs, inputs)).astype(np.float16)
                self.tensors[BLOCK + name + ".weight"] = ("F16", weight)
                self.plain.append(BLOCK + name)
                self.expected[BLOCK + name] = digest(weight)
                continue
            bias = asked.pop("zero_bias", False)
            drop = asked.pop("drop", ())
            p = Packed(self.rng, outputs, inputs, **asked)
            for part, tensor in p.tensors.items():
                if part not in drop:
                    self.tensors[f"{BLOCK}{name}.{part}"] = tensor
            if bias:
                self.tensors[f"{BLOCK}{name}.bias"] = ("F16", np.zeros(outputs, np.float16))
            self.expected[BLOCK + name] = digest(p.weight)
            self.weights = {**getattr(self, "weights", {}), name: p.weight}

    def finish(self, quantization, inside=True, beside=True, file="model.safetensors", shards=1):
        if inside:
            self.config["quantization_config"] = quantization
        if beside:
            write_json(self.at / "quantize_config.json", quantization)
        write_json(self.at / "config.json", self.config)
        write_json(self.at / "expected.json", {"linears": self.expected, "plain": self.plain})
        if shards == 1:
            return write_safetensors(self.at / file, self.tensors)
        base = file.removesuffix(".safetensors")
        names, place, total = sorted(self.tensors), {}, 0
        for i in range(shards):
            mine = {n: self.tensors[n] for n in names[i::shards]}
            shard = f"{base}-{i + 1:05d}-of-{shards:05d}.safetensors"
            write_safetensors(self.at / shard, mine)
            place.update(dict.fromkeys(mine, shard))
            total += sum(t[1].nbytes for t in mine.values())
        write_json(self.at / (file + ".index.json"), {"metadata": {"total_size": total}, "weight_map": place})


def settings(**more):
    base = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True,
            "checkpoint_format": "gptq"}
    base.update(more)
    return {k: v for k, v in base.items() if v is not None}


def main():
    # AutoGPTQ of 2023: its own file name, its own configuration file only, which lacks the method
    # and sym; a bias of zeros to every linear.
    c = Checkpoint("autogptq", LLAMA, 1)
    c.packed(LINEARS, zero_bias=True)
    c.finish(settings(quant_method=None, sym=None, checkpoint_format=None, damp_percent=0.01, true_sequential=True,
                      model_name_or_path=None, model_file_base_name=None),
             inside=False, file="gptq_model-4bit-32g.safetensors")
    # The same in shards.
    c = Checkpoint("autogptq_shards", LLAMA, 2)
    c.packed(LINEARS, bits=2)
    c.finish(settings(bits=2), file="gptq_model-2bit-32g.safetensors", shards=3, beside=False)
    # Before AutoGPTQ: no g_idx, a name of the author's choice.
    c = Checkpoint("no_g_idx", LLAMA, 3)
    c.packed(LINEARS, drop=("g_idx",))
    c.finish({"bits": 4, "group_size": 32, "desc_act": False}, inside=False, file="llama-tiny-4bit-32g.safetensors")
    c = Checkpoint("named_by_config", LLAMA, 4)
    c.packed(LINEARS, bits=8, group=-1)
    c.finish(settings(bits=8, group_size=-1, model_file_base_name="my weights"), file="my weights.safetensors",
             inside=False)
    # Every width and grid.
    c = Checkpoint("v1_3bit_asym", LLAMA, 5)
    c.packed(LINEARS, bits=3, sym=False)
    c.finish(settings(bits=3, sym=False))
    c = Checkpoint("v2_2bit_asym_g16", LLAMA, 6)
    c.packed(LINEARS, bits=2, sym=False, group=16, form="gptq_v2", low_zero=True)
    c.finish(settings(bits=2, sym=False, group_size=16, checkpoint_format="gptq_v2"))
    c = Checkpoint("v2_8bit_asym", LLAMA, 7)
    c.packed(LINEARS, bits=8, sym=False, group=-1, form="gptq_v2", low_zero=True)
    c.finish(settings(bits=8, sym=False, group_size=-1, checkpoint_format="gptq_v2"))
    # Columns in the order of activations, and the same with groups made before.
    c = Checkpoint("act_order", LLAMA, 8)
    c.packed(LINEARS, sym=False, form="gptq_v2", order="act", group=16, low_zero=True)
    c.finish(settings(sym=False, desc_act=True, group_size=16, checkpoint_format="gptq_v2"))
    c = Checkpoint("static_groups", LLAMA, 9)
    c.packed(LINEARS)
    c.finish(settings(desc_act=True, static_groups=True))
    # GPTQModel: bit planes; rules a module.
    for bits in (3, 5, 6, 7):
        c = Checkpoint(f"planar_{bits}bit", LLAMA, 10 + bits)
        c.packed(LINEARS, bits=bits, sym=bits == 6, form="gptq_p", low_zero=True, order="act" if bits == 5 else "")
        c.finish(settings(bits=bits, sym=bits == 6, checkpoint_format="gptq_p", format="gptq_p", method="gptq",
                          desc_act=bits == 5, pack_dtype="int32", meta={"quantizer": ["gptqmodel:7.3.4"]}))
    rules = {"+:.*\\.mlp\\.down_proj": {"bits": 8, "group_size": -1, "sym": False, "desc_act": True},
             ".*\\.(q|k)_proj": {"bits": 3}, "-:.*\\.o_proj": {}, "-:model\\.layers\\.7\\..*": {}}
    per_rule = {"mlp.down_proj": {"bits": 8, "group": -1, "sym": False}, "self_attn.o_proj": {"plain": True},
                "self_attn.q_proj": {"bits": 3}, "self_attn.k_proj": {"bits": 3}}
    c = Checkpoint("dynamic", LLAMA, 20)
    c.packed(LINEARS, options=lambda name: per_rule.get(name, {}))
    c.finish(settings(dynamic=rules))
    mixed = {"mlp.down_proj": {"bits": 6}, "self_attn.o_proj": {"bits": 3}, "mlp.up_proj": {"bits": 7},
             "mlp.gate_proj": {"bits": 4}, "self_attn.v_proj": {"bits": 8}}
    c = Checkpoint("dynamic_planar", LLAMA, 21)
    c.packed(LINEARS, options=lambda name: mixed.get(name, {}), bits=5, form="gptq_p")
    c.finish(settings(bits=5, checkpoint_format="gptq_p",
                      dynamic={".*\\." + n.split(".")[1]: o for n, o in mixed.items()}))
    # Some linears left unpacked, which only the list of modules says.
    c = Checkpoint("modules_in_block", LLAMA, 22)
    c.packed(LINEARS, options=lambda name: {"plain": True} if "mlp" in name else {})
    c.finish(settings(modules_in_block_to_quantize=[["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj"],
                                                    ["self_attn.o_proj"]]))
    # Zero points stored in the other way than said.
    c = Checkpoint("v2_called_v1", LLAMA, 23)
    c.packed(LINEARS, form="gptq_v2")
    c.finish(settings())
    c = Checkpoint("v1_called_v2", LLAMA, 24)
    c.packed(LINEARS, bits=3)
    c.finish(settings(bits=3, checkpoint_format="gptq_v2"))
    # Linears fused where the family has them apart, and the reverse.
    c = Checkpoint("fused_llama", LLAMA, 25)
    c.packed(FUSED, sym=False, form="gptq_v2", order="act")
    whole = c.weights["self_attn.qkv_proj"], c.weights["mlp.gate_up_proj"]
    for name in ("self_attn.qkv_proj", "mlp.gate_up_proj"):
        del c.expected[BLOCK + name]
    for name, weight in {"self_attn.q_proj": whole[0][:64], "self_attn.k_proj": whole[0][64:96],
                         "self_attn.v_proj": whole[0][96:], "mlp.gate_proj": whole[1][:INNER],
                         "mlp.up_proj": whole[1][INNER:]}.items():
        c.expected[BLOCK + name] = digest(weight)
    c.finish(settings(sym=False, checkpoint_format="gptq_v2", desc_act=True))
    c = Checkpoint("split_phi3", PHI3, 26)
    # The dense linear of the mix: gate and up are left out, by the names of the file.
    c.packed(LINEARS, options=lambda name: {"plain": True} if name in ("mlp.gate_proj", "mlp.up_proj") else {},
             bits=3)
    parts = {n: c.expected.pop(BLOCK + n) for n in LINEARS if "o_proj" not in n and "down" not in n}
    assert len(parts) == 5
    c.expected[BLOCK + "self_attn.qkv_proj"] = digest(np.concatenate([c.weights[f"self_attn.{p}_proj"] for p in "qkv"]))
    c.expected[BLOCK + "mlp.gate_up_proj"] = digest(np.concatenate(
        [c.tensors[f"{BLOCK}mlp.{p}_proj.weight"][1] for p in ("gate", "up")]))
    c.plain = [BLOCK + "mlp.gate_up_proj"]
    c.finish(settings(bits=3, dynamic={"-:.*(gate|up)_proj": {}}))
    # What is legal and rare.
    c = Checkpoint("bf16_scales", LLAMA, 27)
    c.packed(LINEARS, scale="BF16")
    c.finish(settings())
    c = Checkpoint("f32_scales", LLAMA, 28)
    c.packed(LINEARS, scale="F32")
    c.finish(settings())
    c = Checkpoint("short_last_group", LLAMA, 29)
    c.packed(LINEARS, group=40, bits=8, sym=False)
    c.finish(settings(group_size=40, bits=8, sym=False))
    c = Checkpoint("g_idx_of_zeros", LLAMA, 30)
    c.packed(LINEARS, zero_index=True)
    c.finish(settings())


if __name__ == "__main__":
    main()
