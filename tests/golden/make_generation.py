#!/usr/bin/env python3
"""Goldens of sampling and beam search: tests/data/generation/*.json.

Needs torch and transformers 5 (made with 2.15.0 and 5.23.0). The model is a function of the last two
tokens and the length, given by an integer generator that the C++ tests repeat, so that the goldens
hold only settings and results.

    python tests/golden/make_generation.py tests/data/generation
"""

import itertools
import json
import pathlib
import sys

import torch
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

MASK = (1 << 32) - 1


def numbers(seed, count):
    """`count` floats in [-4, 4), exact in f32 after rounding."""
    x = (seed * 2654435761 + 12345) & MASK
    out = []
    for _ in range(count):
        x = (x * 1664525 + 1013904223) & MASK
        out.append((x >> 8) / 2**24 * 8 - 4)
    return out


class TableConfig(PretrainedConfig):
    model_type = "table"

    def __init__(self, vocab_size=12, **kwargs):
        self.vocab_size = vocab_size
        self.num_hidden_layers = 1
        self.hidden_size = 1
        self.num_attention_heads = 1
        super().__init__(**kwargs)


class Table(PreTrainedModel, GenerationMixin):
    config_class = TableConfig

    def __init__(self, config):
        super().__init__(config)
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **kwargs):
        rows = []
        for row, ids in enumerate(input_ids.tolist()):
            if attention_mask is not None:
                ids = [i for i, m in zip(ids, attention_mask[row].tolist()) if m]
            before = ids[-2] if len(ids) > 1 else 0
            seed = (ids[-1] * 31 + before) * 31 + len(ids)
            rows.append(numbers(seed, self.config.vocab_size))
        return CausalLMOutput(logits=torch.tensor(rows, dtype=torch.float32)[:, None, :])


def beams():
    model = Table(TableConfig()).eval()
    prompts = [[3, 7, 1], [5]]
    cases = []
    grid = itertools.chain(
        itertools.product((1, 2, 4), (-1.0, 0.0, 1.0, 2.5), (False, True, "never"), ([], [2], [2, 9]), ({},), (6,)),
        itertools.product((1, 3), (1.0,), (False, True), ([], [4], [1, 6]),
                          ({"repetition_penalty": 1.3}, {"repetition_penalty": 0.7}, {"no_repeat_ngram_size": 2},
                           {"min_new_tokens": 4}, {"suppress_tokens": [0, 8]}, {"min_length": 6}), (1, 12)),
    )
    for num_beams, length_penalty, early, eos, more, limit in grid:
        if num_beams == 1 and (length_penalty != 1.0 or early is not False):
            continue
        settings = {"max_new_tokens": limit, "num_beams": num_beams, "length_penalty": length_penalty,
                    "early_stopping": early, "eos_token_id": eos or None, "do_sample": False, **more}
        width = max(map(len, prompts))
        ids = torch.tensor([[11] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        if "no_repeat_ngram_size" in more or "min_length" in more:  # these see the padding
            ids, mask = ids[:1], mask[:1]
        config = GenerationConfig(**settings, pad_token_id=11, use_cache=False)
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        new = []
        for row in out[:, width:].tolist():
            if eos:
                end = [i for i, t in enumerate(row) if t in eos]
                row = row[:end[0] + 1] if end else row
            new.append(row)
        cases.append({"settings": settings, "prompts": [p for p in prompts][:len(new)], "new": new})
    return cases


def searches():
    """Every deterministic option of GenerationConfig beside beams()'s, greedy and with beams. Each prompt
    goes alone, so that no processor sees padding."""
    model = Table(TableConfig()).eval()
    eos = [2, 9]
    options = [
        {"sequence_bias": [[[0], -3.5], [[8], 2.25], [[8, 2], -4.0], [[3, 7, 1, 5], 6.0]]},
        {"bad_words_ids": [[8], [2, 6], [7, 1, 0], [9]]},
        {"encoder_repetition_penalty": 1.8}, {"encoder_repetition_penalty": 0.6},
        {"encoder_no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 3}, {"no_repeat_ngram_size": 1},
        {"forced_bos_token_id": 4}, {"forced_eos_token_id": 9}, {"forced_eos_token_id": [2, 9]},
        {"forced_bos_token_id": 4, "begin_suppress_tokens": [0, 7, 8]}, {"begin_suppress_tokens": [0, 8]},
        {"exponential_decay_length_penalty": [2, 1.6]}, {"exponential_decay_length_penalty": [0, 1.05]},
        {"remove_invalid_values": True, "suppress_tokens": [0, 2]}, {"renormalize_logits": True},
        {"renormalize_logits": True, "repetition_penalty": 1.5}, {"min_new_tokens": 3}, {"min_length": 5},
        {"repetition_penalty": 1.2, "sequence_bias": [[[6], -1.0]], "no_repeat_ngram_size": 2, "min_new_tokens": 2,
         "suppress_tokens": [11], "begin_suppress_tokens": [1], "forced_eos_token_id": 2},
    ]
    cases = []
    for more, (num_beams, answers, early, length_penalty), limit in itertools.product(
            options, ((1, 1, False, 1.0), (3, 1, False, 1.0), (4, 4, True, 0.5), (4, 2, "never", 2.0)), (3, 8)):
        if num_beams > 1 and isinstance(more.get("forced_eos_token_id"), list):
            continue  # all forced tokens get the score 0: which of them wins is torch.topk's secret
        settings = {"num_beams": num_beams, "num_return_sequences": answers, "early_stopping": early,
                    "length_penalty": length_penalty, "eos_token_id": eos, "do_sample": False, **more}
        prompts, new = [[3, 7, 1], [5], [8, 2, 6, 8, 2]], []
        for prompt in prompts:
            config = GenerationConfig(max_new_tokens=limit, pad_token_id=11, use_cache=False, **settings)
            out = model.generate(input_ids=torch.tensor([prompt]), generation_config=config)
            for row in out[:, len(prompt):].tolist():
                end = [i for i, t in enumerate(row) if t in eos]
                new.append(row[:end[0] + 1] if end else row)
        cases.append({"settings": {"max_new_tokens": limit, **settings}, "prompts": prompts, "new": new})
    return cases


def sampling():
    model = Table(TableConfig(vocab_size=40)).eval()
    cases = []
    for seed, (temperature, top_k, top_p) in enumerate(
            itertools.product((0.3, 1.0, 1.7), (0, 1, 5, 50), (0.1, 0.6, 0.95, 1.0))):
        for more in ({}, {"repetition_penalty": 1.4}, {"min_p": 0.1}, {"typical_p": 0.5},
                     {"epsilon_cutoff": 0.02}, {"eta_cutoff": 0.05}, {"top_h": 0.4},
                     {"sequence_bias": [[[5], 1.5], [[39, 3], -2.0]]}):
            history = [3, 17, 3, 39]
            config = GenerationConfig(do_sample=True, temperature=temperature, top_k=top_k, top_p=top_p, **more)
            config, _ = model._prepare_generation_config(config)
            model._prepare_special_tokens(config)
            processors = model._get_logits_processor(config, input_ids_seq_length=len(history))
            scores = torch.tensor([numbers(seed, 40)], dtype=torch.float32)
            p = torch.softmax(processors(torch.tensor([history]), scores)[0].double(), -1)
            cases.append({"seed": seed, "history": history,
                          "settings": {"do_sample": True, "temperature": temperature, "top_k": top_k,
                                       "top_p": top_p, **more},
                          "probabilities": {str(i): float(f"{x:.9g}") for i, x in enumerate(p.tolist()) if x > 0}})
    return cases


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, cases in (("beams", beams()), ("searches", searches()), ("sampling", sampling())):
        lines = ",\n".join(json.dumps(c) for c in cases)
        (out / f"{name}.json").write_text(f"[\n{lines}\n]\n")
        print(name, len(cases))


if __name__ == "__main__":
    main()
