#!/usr/bin/env python3
"""Do logits, greedy and beam-4 tokens of quaver equal those of transformers on trained checkpoints?

usage: forward.py QUAVER TEXT CHECKPOINT...

For each checkpoint: `quaver forward` on a left-padded batch of TEXT's ids against transformers'
logits in f32 (largest difference over largest value at unmasked positions below 1e-4), and 40 new
tokens, greedy and with four beams. Needs torch, transformers, safetensors.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE, TOKENS, PADDING, PROMPT, NEW = 1e-4, 160, 25, 24, 40


def generated(quaver, checkpoint, ids, beams):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(ids, f)
        f.flush()
        command = [quaver, "generate", checkpoint, "--ids", f.name, "--max-new-tokens", str(NEW),
                   "--num-beams", str(beams), "--ignore-eos", "--json"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    return (result[0] if isinstance(result, list) else result)["ids"]


def compare(quaver, text, checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = torch.tensor([ids[:TOKENS], ids[TOKENS : 2 * TOKENS]])
    mask = torch.ones_like(rows)
    mask[1, :PADDING] = 0
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        theirs = model(input_ids=rows, attention_mask=mask).logits
        save_file({"input_ids": rows, "attention_mask": mask}, f"{folder}/in.safetensors")
        subprocess.run([quaver, "forward", checkpoint, "--ids", f"{folder}/in.safetensors", "--out",
                        f"{folder}/out.safetensors", "--quiet"], check=True)
        ours = load_file(f"{folder}/out.safetensors")["logits"]
        seen = mask.bool()
        error = ((ours - theirs).abs()[seen].max() / theirs.abs()[seen].max()).item()
        model.generation_config.eos_token_id = None
        prompt = rows[:1, :PROMPT]
        same = {}
        for beams in (1, 4):
            expected = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                                      max_new_tokens=NEW, num_beams=beams)[0, PROMPT:].tolist()
            same[beams] = generated(quaver, checkpoint, prompt[0].tolist(), beams) == expected
    print(f"{checkpoint}: logits {error:.1e}, greedy {'equal' if same[1] else 'DIFFERS'}, "
          f"beam-4 {'equal' if same[4] else 'DIFFERS'}")
    return error < TOLERANCE and all(same.values())


def main():
    quaver, text_file, *checkpoints = sys.argv[1:]
    text = pathlib.Path(text_file).read_text()[:20000]
    results = [compare(quaver, text, c) for c in checkpoints]
    sys.exit(not (results and all(results)))


if __name__ == "__main__":
    main()
