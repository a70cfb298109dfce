#!/usr/bin/env python3
"""Changes every setting of every family's config.json, one at a time, and compares with transformers.

usage: switches.py QUAVER FIXTURES [NAME ...]

Each tiny checkpoint of FIXTURES gives a configuration. For every key a few other values are tried: a
model of that configuration is made with random weights, and quaver must either give transformers'
logits to 1e-4 or refuse the setting by name. A setting that transformers refuses is passed over; one
that is ignored in silence fails. Needs torch and transformers.
"""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

TOKENS = 24
ABSENT = object()  # the key left out, as older files do: the defaults must agree
# Where quaver follows the published model and transformers does not: docs/models.md says why.
KNOWN = {("mpt", "attn_config", "alibi_bias_max"), ("gemma3_text", "attn_logit_softcapping")}
# What does not change the function: names, training, sampling and what the runtime does.
IGNORED = {
    "architectures", "model_type", "dtype", "torch_dtype", "transformers_version", "auto_map", "use_cache",
    "initializer_range", "initializer_factor", "router_aux_loss_coef", "router_jitter_noise", "aux_loss_alpha",
    "output_router_logits", "output_attentions", "output_hidden_states", "return_dict", "bos_token_id",
    "eos_token_id", "pad_token_id", "pretraining_tp", "chunk_size_feed_forward", "is_encoder_decoder", "id2label",
    "label2id", "problem_type", "init_device", "layerdrop", "_remove_final_layer_norm", "slow_but_exact", "verbose",
    "embedding_initializer_range", "vocab_size", "logits_to_keep", "seq_aux", "ep_size", "init_std", "use_bfloat16",
    "base_model_tp_plan", "task_specific_params", "summary_type", "summary_use_proj", "summary_activation",
    "summary_first_dropout", "summary_proj_to_labels", "num_nextn_predict_layers", "name_or_path", "_name_or_path",
    "quantization_config", "tokenizer_class", "resid_mup", "emb_mup", "max_sequence_length", "rep", "norm_type_",
}
ACTIVATIONS = ["gelu", "relu", "silu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu2", "sigmoid"]


def alternatives(key, value):
    """Other values of a setting, such that shapes stay small."""
    return [v for v in other_values(key, value) if v != 1 or key not in ("hidden_size", "max_seq_len")]


def other_values(key, value):
    if key in IGNORED or "dropout" in key or key.endswith(("pdrop", "_drop", "p_dropout")):
        return []
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [a for a in ACTIVATIONS if a != value] if value in ACTIVATIONS or "act" in key else []
    if isinstance(value, int):
        return sorted({max(1, value // 2), value * 2, value + 2, 1} - {value})
    if isinstance(value, float):
        return [v for v in (value / 2, value * 3, 1.0, 0.25) if v != value]
    if value is None:
        return [True, 1, 4, 0.5]
    if isinstance(value, dict):
        return [{**value, k: v} for k, old in value.items() for v in alternatives(k, old)]
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return [value[::-1], value[:1] * len(value)]
    return []


def randomize(model):
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for _, t in sorted(model.state_dict().items()):
            if t.is_floating_point():
                noise = torch.randn(t.shape, generator=generator)
                t.copy_(1 + 0.2 * noise if t.dim() == 1 and bool((t == 1).all()) else 0.25 * noise)


def reference(config, directory, ids, mask, attention):
    """transformers' logits, or None where it refuses the configuration."""
    try:
        made = transformers.AutoConfig.for_model(**config)
        made._attn_implementation = attention
        with torch.device("meta"):
            sketch = transformers.AutoModelForCausalLM.from_config(made)
        if sum(p.numel() for p in sketch.parameters()) > 5_000_000:
            return None
        model = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.float32).eval()
        randomize(model)
        with torch.no_grad():
            logits = model(ids, attention_mask=mask).logits
        if not torch.isfinite(logits).all():
            return None
        model.save_pretrained(directory)
        return logits
    except Exception:  # whatever it is that transformers does not like
        return None


def compared(quaver, directory, ids, logits, mask):
    """("equal" | "refused" | "DIFFERENT", detail)"""
    out = directory / "logits.safetensors"
    result = subprocess.run([quaver, "forward", directory, "--ids", ids, "--out", out],
                            capture_output=True, text=True)
    if result.returncode in (2, 3):
        return "refused", result.stderr.strip().splitlines()[-1][:200]
    if result.returncode != 0:
        return "FAILED", result.stderr.strip()[-300:]
    got = load_file(out)["logits"]
    rows = mask.bool()
    difference = ((got - logits)[rows].abs().max() / logits[rows].abs().max()).item()
    return ("equal" if difference < 1e-4 else "DIFFERENT"), f"{difference:.1e}"


def check(quaver, fixture, counts):
    config = json.loads((fixture / "config.json").read_text())
    config.pop("quantization_config", None)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, min(90, config.get("vocab_size", 90)), (2, TOKENS), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, :5] = 0
    for key, value in config.items():
        for other in [*alternatives(key, value), *([] if key in IGNORED else [ABSENT])]:
            changes = {} if other is ABSENT else {key: other}
            if isinstance(other, dict) and any((config["model_type"], key, k) in KNOWN and v != value[k]
                                               for k, v in other.items()):
                continue
            if (config["model_type"], key) in KNOWN:
                continue
            with tempfile.TemporaryDirectory() as top:
                directory = pathlib.Path(top)
                changed = {**{k: v for k, v in copy.deepcopy(config).items() if k != key}, **changes}
                # Falcon's ALiBi is added twice by the eager attention.
                attention = "sdpa" if changed.get("alibi") else "eager"
                logits = reference(changed, directory, ids, mask, attention)
                if logits is None:
                    counts["passed over"] = counts.get("passed over", 0) + 1
                    continue
                # As a user's file would say it, not as transformers rewrites it.
                saved = json.loads((directory / "config.json").read_text())
                saved.pop(key, None)
                (directory / "config.json").write_text(json.dumps({**saved, **changes}))
                save_file({"input_ids": ids, "attention_mask": mask}, directory / "ids.safetensors")
                verdict, detail = compared(quaver, directory, directory / "ids.safetensors", logits, mask)
            counts[verdict] = counts.get(verdict, 0) + 1
            # A refusal must name the setting, or one that it depends on.
            names = [key, *(value if isinstance(value, dict) else ())]
            unnamed = verdict == "refused" and not any(name in detail for name in names)
            if verdict not in ("equal", "refused") or unnamed:
                counts["wrong"] = counts.get("wrong", 0) + (not unnamed)
                shown = "absent" if other is ABSENT else json.dumps(other)[:80]
                print(f"{fixture.name}: {key} = {shown} (was {json.dumps(value)[:60]}): "
                      f"{verdict} {detail}", flush=True)


def main():
    quaver, fixtures = sys.argv[1], pathlib.Path(sys.argv[2])
    counts = {}
    for fixture in sorted(fixtures.iterdir()):
        if len(sys.argv) > 3 and fixture.name not in sys.argv[3:]:
            continue
        try:
            transformers.AutoConfig.for_model(json.loads((fixture / "config.json").read_text())["model_type"])
        except ValueError:
            continue  # a family that only its own repository defines
        check(quaver, fixture, counts)
        print(fixture.name, counts, flush=True)
    sys.exit(bool(counts.get("wrong")))


if __name__ == "__main__":
    main()
