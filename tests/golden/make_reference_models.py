#!/usr/bin/env python3
"""Writes tiny checkpoints, with golden outputs, of families that transformers has no code for.

usage: make_reference_models.py FIXTURES [NAME ...]

FIXTURES/NAME gets config.json, generation_config.json, model.safetensors and golden.safetensors
(`input_ids`, `attention_mask`, `logits`, `hidden.i`, `greedy`, `beam4`), computed in double
precision by tests/interop/reference_models.py. Needs numpy and safetensors. The same bytes each time.
"""
import json
import os
import sys
import zlib

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
import reference_models  # noqa: E402

TOKENS, PADDING, NEW, VOCAB = 24, 5, 16, 96

LLAMA = {
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "vocab_size": VOCAB,
}
QWEN = {
    "architectures": ["QWenLMHeadModel"],
    "model_type": "qwen",
    "hidden_size": 32,
    "intermediate_size": 96,
    "kv_channels": 8,
    "layer_norm_epsilon": 1e-6,
    "no_bias": True,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "rotary_emb_base": 10000,
    "rotary_pct": 1.0,
    "scale_attn_weights": True,
    "seq_length": 64,
    "tie_word_embeddings": False,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "vocab_size": VOCAB,
}
BAICHUAN = {**LLAMA, "architectures": ["BaichuanForCausalLM"], "model_type": "baichuan"}
INTERNLM = {
    **LLAMA,
    "architectures": ["InternLMForCausalLM"],
    "model_type": "internlm",
    "bias": True,
    "max_position_embeddings": 64,
}
INTERNLM2 = {
    **LLAMA,
    "architectures": ["InternLM2ForCausalLM"],
    "model_type": "internlm2",
    "bias": False,
    "max_position_embeddings": 64,
    "num_key_value_heads": 2,
    "rope_theta": 1000000,
}
CHATGLM = {
    "architectures": ["ChatGLMModel"],
    "model_type": "chatglm",
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_query_key_layer_scaling": True,
    "apply_residual_connection_post_layernorm": False,
    "ffn_hidden_size": 48,
    "hidden_size": 32,
    "kv_channels": 12,
    "layernorm_epsilon": 1e-5,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 4,
    "num_layers": 2,
    "original_rope": True,
    "padded_vocab_size": VOCAB,
    "post_layer_norm": True,
    "rmsnorm": True,
    "seq_length": 64,
    "tie_word_embeddings": False,
}
DEEPSEEK = {
    **LLAMA,
    "architectures": ["DeepseekForCausalLM"],
    "model_type": "deepseek",
    "attention_bias": False,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 64,
    "moe_intermediate_size": 16,
    "moe_layer_freq": 1,
    "n_routed_experts": 4,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_experts_per_tok": 2,
    "scoring_func": "softmax",
}

# Every switch that changes a family's function is on in one of its variants and off in another.
MODELS = {
    "qwen": {
        **QWEN,
        "rotary_pct": 0.5,
        "seq_length": 11,
        "use_dynamic_ntk": False,
        "use_logn_attn": False,
    },
    # Row 0 has more than twice the trained length, row 1 without its padding less than that.
    "qwen_long": {**QWEN, "seq_length": 11, "no_bias": False},
    "baichuan_rope": {**BAICHUAN, "max_position_embeddings": 64},
    "baichuan_alibi": {
        **BAICHUAN,
        "architectures": ["BaiChuanForCausalLM"],
        "hidden_size": 48,
        "intermediate_size": 16,
        "num_attention_heads": 6,
        "model_max_length": 64,
        "norm_head": True,
    },
    "internlm": INTERNLM,
    "internlm_dynamic": {
        **INTERNLM,
        "bias": False,
        "max_position_embeddings": 16,
        "rotary": {"base": 5000, "type": "dynamic", "scaling_factor": 2.0},
    },
    "internlm2": {**INTERNLM2, "bias": True},
    "internlm2_dynamic": {
        **INTERNLM2,
        "max_position_embeddings": 16,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
    },
    "chatglm": CHATGLM,
    "chatglm_layer_norm": {
        **CHATGLM,
        "architectures": ["ChatGLMForConditionalGeneration"],
        "add_bias_linear": True,
        "add_qkv_bias": False,
        "kv_channels": 8,
        "multi_query_attention": False,
        "post_layer_norm": False,
        "rmsnorm": False,
        "rope_ratio": 50,
    },
    "deepseek": DEEPSEEK,
    "deepseek_normalized": {
        **DEEPSEEK,
        "attention_bias": True,
        "first_k_dense_replace": 0,
        "moe_layer_freq": 2,
        "n_shared_experts": None,
        "norm_topk_prob": True,
        "num_key_value_heads": 2,
    },
}


def random_weights(shapes, random):
    weights = {}
    for name, shape in shapes.items():
        noise = random.standard_normal(shape)
        if len(shape) == 2:
            scale = 0.5 if "embed" in name or "wte" in name else 1.4 / np.sqrt(shape[1])
            weights[name] = scale * noise
        else:
            weights[name] = 0.2 * noise if name.endswith(".bias") else 1 + 0.1 * noise
    return {name: w.astype(np.float32) for name, w in weights.items()}


def golden(model, random):
    ids = random.integers(3, VOCAB, (2, TOKENS))
    mask = np.ones((2, TOKENS), np.int64)
    ids[1, :PADDING] = mask[1, :PADDING] = 0
    states, logits = zip(*(model.run(ids[r], mask[r]) for r in range(2)))
    tensors = {f"hidden.{i}": np.stack(rows) for i, rows in enumerate(zip(*states))}
    tensors["logits"] = np.stack(logits)
    tensors = {name: t.astype(np.float32) for name, t in tensors.items()}
    prompt = [int(i) for i in ids[0]]
    tensors["greedy"] = np.array([reference_models.greedy(model, prompt, NEW)], np.int64)
    tensors["beam4"] = np.array([reference_models.beam_search(model, prompt, NEW, 4)], np.int64)
    return {**tensors, "input_ids": ids.astype(np.int64), "attention_mask": mask}


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=2, sort_keys=True)
        file.write("\n")


def write_model(folder, name):
    random = np.random.default_rng(zlib.crc32(name.encode()))
    config = MODELS[name]
    family = reference_models.FAMILIES[config["model_type"]]
    weights = random_weights(family(config).shapes(), random)
    os.makedirs(folder, exist_ok=True)
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    write_json(os.path.join(folder, "config.json"), {**config, **tokens, "dtype": "float32"})
    write_json(os.path.join(folder, "generation_config.json"), tokens)
    save_file(weights, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    outputs = golden(family(config, weights), random)
    save_file(outputs, os.path.join(folder, "golden.safetensors"))
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{name}: {size} bytes, logits of std {outputs['logits'].std():.2f}")


def main():
    for name in sys.argv[2:] or MODELS:
        write_model(os.path.join(sys.argv[1], name), name)


if __name__ == "__main__":
    main()
