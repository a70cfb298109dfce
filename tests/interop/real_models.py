#!/usr/bin/env python3
"""Compares quaver with transformers on real models, before and after 4-bit GPTQ.

usage: real_models.py QUAVER TEXT MODEL... [--quantized DIRECTORY]

For each checkpoint directory: the ids of TEXT, the perplexity on its first 60 windows of 512 (protocol
gptq), the prompt ids of three questions in the model's own chat template, and the first 32 greedy
tokens of the answers must be those of transformers in f32. Without a chat template the questions are
plain prompts. Then the model is quantized to 4 bits with groups of 64, and its perplexity and answers
are printed beside the others; an answer that repeats itself to its end fails. Needs torch and
transformers.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

import torch
import transformers

QUESTIONS = ["What is the capital of France?", "Write a Python function that adds two numbers.",
             "Name three colours of the rainbow."]
WINDOWS, CONTEXT, NEW, ANSWER = 60, 512, 32, 60


def quaver_json(program, *words):
    started = time.time()
    result = subprocess.run([program, words[0], "--json", *map(str, words[1:])], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"quaver {' '.join(map(str, words))}: {result.stderr}")
    return json.loads(result.stdout), time.time() - started


def perplexity(program, model, text):
    found, seconds = quaver_json(program, "eval", model, "--text", text, "--protocol", "gptq", "--context", CONTEXT,
                                 "--max-windows", WINDOWS)
    return found["perplexity"], seconds


def reference_perplexity(model, ids):
    total, count = 0.0, 0
    with torch.no_grad():
        for begin in range(0, WINDOWS * CONTEXT, CONTEXT):
            window = torch.tensor([ids[begin:begin + CONTEXT]])
            logits = model(window).logits[0, :-1]
            total += torch.nn.functional.cross_entropy(logits.double(), window[0, 1:], reduction="sum").item()
            count += CONTEXT - 1
    return math.exp(total / count)


def prompt_ids(tokenizer, question):
    if tokenizer.chat_template is None:
        return tokenizer(question)["input_ids"]
    ids = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
    return ids if isinstance(ids, list) else ids["input_ids"]


def answers(program, model, prompts, directory, new):
    path = os.path.join(directory, "prompts.json")
    results = []
    for prompt in prompts:
        with open(path, "w") as f:
            json.dump(prompt, f)
        results.append(quaver_json(program, "generate", model, "--ids", path, "--temperature", 0,
                                   "--repetition-penalty", 1, "--max-new-tokens", new)[0])
    return results


def degenerates(ids):
    """Whether the end of an answer is a few tokens over and over."""
    return any(len(ids) >= 24 and ids[-24:] == (ids[-period:] * 24)[:24] for period in (1, 2, 3, 4, 6, 8, 12))


def check(program, text, model, quantized, directory):
    failures = []
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    with open(text, encoding="utf-8", errors="replace", newline="") as f:
        ids = tokenizer(f.read(), add_special_tokens=False)["input_ids"]
    ours, _ = quaver_json(program, "tokenize", model, "--file", text)
    if ours != ids:
        failures.append(f"token ids of {text}")
    reference = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    started = time.time()
    expected = reference_perplexity(reference, ids)
    seconds_there = time.time() - started
    found, seconds = perplexity(program, model, text)
    difference = abs(found / expected - 1)
    print(f"perplexity: transformers {expected:.4f} ({seconds_there:.0f} s), quaver {found:.4f} ({seconds:.0f} s), "
          f"difference {difference:.1e}", flush=True)
    if difference > 1e-3:
        failures.append("perplexity")
    prompts = [prompt_ids(tokenizer, question) for question in QUESTIONS]
    before = answers(program, model, prompts, directory, ANSWER)
    for question, prompt, answer in zip(QUESTIONS, prompts, before):
        with torch.no_grad():
            greedy = reference.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)).long(),
                                        max_new_tokens=NEW, do_sample=False, repetition_penalty=1.0)[0, len(prompt):]
        if greedy.tolist() != answer["ids"][:NEW]:
            failures.append(f"greedy tokens for '{question}'")
    del reference
    if not os.path.exists(quantized):
        report, seconds = quaver_json(program, "quantize", model, quantized, "--bits", 4, "--group-size", 64,
                                      "--samples", 64, "--seqlen", 512)
        print(f"quantized in {seconds:.0f} s, {report['peak_rss_bytes'] / 1e9:.2f} GB", flush=True)
    after_perplexity, _ = perplexity(program, quantized, text)
    print(f"perplexity after 4-bit g64 GPTQ: {after_perplexity:.4f}")
    after = answers(program, quantized, prompts, directory, ANSWER)
    for question, first, second in zip(QUESTIONS, before, after):
        print(f"  {question}\n    before: {first['text']!r}\n    after:  {second['text']!r}", flush=True)
        if degenerates(second["ids"]) and not degenerates(first["ids"]):
            failures.append(f"the answer to '{question}' degenerates")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quaver")
    parser.add_argument("text")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--quantized", help="where the quantized models go and are found again")
    arguments = parser.parse_args()
    failed = 0
    for model in arguments.models:
        print(f"{os.path.basename(os.path.normpath(model))}:", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            quantized = os.path.join(arguments.quantized or directory, os.path.basename(os.path.normpath(model)))
            failures = check(arguments.quaver, arguments.text, model, quantized, directory)
        print("  FAILED: " + "; ".join(failures) if failures else "  ok", flush=True)
        failed += bool(failures)
    sys.exit(failed)


if __name__ == "__main__":
    main()
