#!/usr/bin/env python3
"""Writes tiny OPT checkpoints of the kinds beside the usual one, with transformers' outputs.

usage: make_opt_variants.py FIXTURES

opt_post_norm: as OPT-350M, whose norms come last and whose tables are narrower than its blocks.
opt_bare: without biases, gains and the final norm. Needs torch, transformers and safetensors.
"""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import OPTConfig, OPTForCausalLM

TOKENS, PADDING, NEW = 24, 5, 16

VARIANTS = {
    "opt_post_norm": {"do_layer_norm_before": False, "word_embed_proj_dim": 16},
    "opt_bare": {
        "_remove_final_layer_norm": True,
        "enable_bias": False,
        "layer_norm_elementwise_affine": False,
        "word_embed_proj_dim": 32,
    },
}


def tiny_model(variant):
    model = OPTForCausalLM(
        OPTConfig(
            vocab_size=96,
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            **variant,
        )
    )
    for name, weight in model.named_parameters():
        noise = torch.randn_like(weight)
        if weight.dim() == 2:
            noise *= 0.5 if "embed" in name else 1.4 / weight.shape[1] ** 0.5
        elif name.endswith("norm.weight"):
            noise = 1 + 0.1 * noise
        else:
            noise *= 0.2
        weight.data.copy_(noise)
    return model.float().eval()


def golden(model):
    ids = torch.randint(3, 96, (2, TOKENS))
    mask = torch.ones_like(ids)
    ids[1, :PADDING] = mask[1, :PADDING] = 0
    states = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: states.append(given[0]))
        for layer in model.model.decoder.layers
    ]
    decoder = model.model.decoder
    # The last state before project_out, which belongs to the head.
    last = decoder.final_layer_norm or decoder.layers[-1]
    hooks.append(
        last.register_forward_hook(
            lambda *call: states.append(call[2][0] if isinstance(call[2], tuple) else call[2])
        )
    )
    logits = model(input_ids=ids, attention_mask=mask).logits
    for hook in hooks:
        hook.remove()
    tensors = {f"hidden.{i}": s.contiguous() for i, s in enumerate(states)}
    settings = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None}
    row = {"input_ids": ids[:1], "attention_mask": mask[:1]}
    tensors["greedy"] = model.generate(**row, **settings)
    tensors["beam4"] = model.generate(**row, **settings, num_beams=4)
    return {**tensors, "logits": logits, "input_ids": ids, "attention_mask": mask}


def main():
    for name, variant in VARIANTS.items():
        torch.manual_seed(7)
        model = tiny_model(variant)
        folder = os.path.join(sys.argv[1], name)
        model.save_pretrained(folder)
        with torch.no_grad():
            outputs = golden(model)
        save_file(outputs, os.path.join(folder, "golden.safetensors"))
        shapes = {k: tuple(v.shape) for k, v in outputs.items()}
        print(f"{name}: {shapes}, logits of std {outputs['logits'].std():.2f}")


if __name__ == "__main__":
    main()
