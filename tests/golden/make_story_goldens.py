#!/usr/bin/env python3
"""Writes the golden outputs of a trained checkpoint, as transformers computes them in f32.

usage: make_story_goldens.py CHECKPOINT TEXT OUT.safetensors

Needs torch, transformers and safetensors. OUT holds `input_ids` [2, 160] (the second row is
left-padded by 25), `attention_mask`, `rows` (the positions whose logits are kept), `logits`
[2, rows, vocabulary], and `greedy`, `beam4`: 40 tokens that continue the first 24 ids of row 0.
"""
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS, PADDING, PROMPT, NEW = 160, 25, 24, 40


def main():
    checkpoint, text, out = sys.argv[1:4]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    ids = tokenizer(open(text).read()[:20000], add_special_tokens=False)["input_ids"]
    rows = torch.tensor([ids[:TOKENS], ids[TOKENS : 2 * TOKENS]])
    mask = torch.ones_like(rows)
    mask[1, :PADDING] = 0
    rows[1, :PADDING] = model.config.pad_token_id or 0
    kept = torch.arange(PADDING, TOKENS, 9)
    with torch.no_grad():
        logits = model(input_ids=rows, attention_mask=mask).logits[:, kept]
        prompt = rows[:1, :PROMPT]
        model.generation_config.eos_token_id = None  # an ordinary token, as with --ignore-eos
        settings = dict(attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=NEW)
        greedy = model.generate(prompt, num_beams=1, **settings)[:, PROMPT:]
        beam4 = model.generate(prompt, num_beams=4, **settings)[:, PROMPT:]
    save_file({"input_ids": rows, "attention_mask": mask, "rows": kept, "logits": logits.contiguous(),
               "greedy": greedy.contiguous(), "beam4": beam4.contiguous()}, out)


if __name__ == "__main__":
    main()
