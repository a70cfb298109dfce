#!/usr/bin/env python3
"""Writes a Llama-shaped checkpoint with random f16 weights, block by block: for measuring memory and
time at sizes whose real models are large. Standard library only.

  synthetic_model.py OUT [--layers 4] [--hidden 4096] [--inner 11008] [--heads 32] [--kv-heads 32]
                         [--vocab 32000] [--context 4096] [--windows 128] [--seqlen 2048]

OUT/ids.json holds random token ids for --calibration, as many windows as asked for. The weights
repeat after a million numbers, which no measurement of memory or time depends on."""
import argparse
import json
import os
import random
import struct

PERIOD = 1_000_003  # a prime, so that rows do not repeat each other


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("out")
    for name, value in (("layers", 4), ("hidden", 4096), ("inner", 11008), ("heads", 32),
                        ("kv-heads", 32), ("vocab", 32000), ("context", 4096), ("windows", 128),
                        ("seqlen", 2048)):
        p.add_argument(f"--{name}", type=int, default=value)
    return p.parse_args()


def block_of(o, layer):
    prefix = f"model.layers.{layer}."
    width, kv = o.hidden, o.hidden // o.heads * o.kv_heads
    return {
        prefix + "self_attn.q_proj.weight": (width, width),
        prefix + "self_attn.k_proj.weight": (kv, width),
        prefix + "self_attn.v_proj.weight": (kv, width),
        prefix + "self_attn.o_proj.weight": (width, width),
        prefix + "mlp.gate_proj.weight": (o.inner, width),
        prefix + "mlp.up_proj.weight": (o.inner, width),
        prefix + "mlp.down_proj.weight": (width, o.inner),
        prefix + "input_layernorm.weight": (width,),
        prefix + "post_attention_layernorm.weight": (width,),
    }


def write_shard(path, tensors, noise):
    """`noise`: bytes of PERIOD halves with variance 1 / hidden."""
    header, offset = {}, 0
    for name, shape in tensors.items():
        count = 1
        for n in shape:
            count *= n
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors.items():
            begin, end = header[name]["data_offsets"]
            left = end - begin
            if len(shape) == 1:  # a norm's gains
                file.write(struct.pack("<e", 1.0) * (left // 2))
                continue
            while left > 0:
                file.write(noise[:left])
                left -= len(noise)


def main():
    o = options()
    os.makedirs(o.out, exist_ok=True)
    draw = random.Random(1)
    deviation = o.hidden**-0.5
    noise = struct.pack(f"<{PERIOD}e", *(draw.gauss(0, deviation) for _ in range(PERIOD)))
    index, total = {}, 0
    shards = [{"model.embed_tokens.weight": (o.vocab, o.hidden), "model.norm.weight": (o.hidden,),
               "lm_head.weight": (o.vocab, o.hidden)}]
    shards += [block_of(o, i) for i in range(o.layers)]
    for i, tensors in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(os.path.join(o.out, name), tensors, noise)
        for tensor, shape in tensors.items():
            index[tensor] = name
            total += 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    with open(os.path.join(o.out, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, file)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": o.hidden, "intermediate_size": o.inner, "num_hidden_layers": o.layers,
        "num_attention_heads": o.heads, "num_key_value_heads": o.kv_heads, "vocab_size": o.vocab,
        "max_position_embeddings": o.context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "torch_dtype": "float16", "bos_token_id": 1, "eos_token_id": 2,
    }
    with open(os.path.join(o.out, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    ids = [[draw.randrange(o.vocab) for _ in range(o.seqlen)] for _ in range(o.windows)]
    with open(os.path.join(o.out, "ids.json"), "w") as file:
        json.dump(ids, file)


main()
