#!/usr/bin/env python3
"""Do the other programs of the field read quaver's GPTQ files, and does quaver read theirs?

usage: peers.py QUAVER TEXT WORK MODEL... [--forms NAME;...] [--readers NAME,...] [--makers NAME,...]

Makes WORK/env, a Python environment with what requirements.txt names (from PyPI, about 6 GB), and goes on
in it. Then, for each checkpoint directory MODEL:

  ours    quaver quantizes MODEL in every form of FORMS, calibrated on a little of TEXT. The logits of 2 x 64 ids
          of `quaver forward` and of every reader, on the CPU, are held against those of transformers on f32 weights
          that plain numpy unpacked from the same files.
  theirs  every maker quantizes MODEL; the logits of `quaver forward` are held against that same reference, unpacked
          from their files, and against the maker's own; `quaver verify` must accept the directory and `quaver eval`
          report the perplexity of the reference.

A difference is the largest one of any logit over the largest logit; `tokens` is the share of equal
argmax. What the reference in f32 differs from itself in f64 widens the bound fourfold: some models of 2 bits
are so broken that rounding shows. What a reader refuses and is known to, with the words it does it with, stands in REFUSED; any
other failure, a refusal that did not happen and a difference above the bounds below exit 1. Results go
to WORK/results.json (kept and extended: a finished cell is not run again) and as a table to the output.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
IDS, ROWS, CALIBRATION_ROWS, CALIBRATION_IDS = 64, 2, 16, 128
# Ours against f32 transformers; a peer in f32; one in f16; one in bf16 (kernels of its own choice).
EXACT, F32, F16, BF16 = 2e-5, 2e-5, 1e-2, 1e-1

SECOND_MLP = r"(down_proj|fc2|fc_out|dense_4h_to_h)$"
# name -> options of `quaver quantize`; {group}: 128, or 64 where 128 does not divide the model's width.
FORMS = {
    "4 bits": "--bits 4 --group-size {group}",
    "4 bits, desc_act": "--bits 4 --group-size {group} --desc-act",
    "4 bits, static_groups": "--bits 4 --group-size {group} --desc-act --static-groups",
    "4 bits, whole rows": "--bits 4 --group-size -1",
    "2 bits g64": "--bits 2 --group-size 64",
    "3 bits": "--bits 3 --group-size {group}",
    "8 bits": "--bits 8 --group-size {group}",
    "4 bits, gptq_v2": "--bits 4 --group-size {group} --format gptq_v2",
    "4 bits asym": "--bits 4 --group-size {group} --asym",
    "4 bits asym, gptq_v2": "--bits 4 --group-size {group} --asym --format gptq_v2",
    "2 bits g64 asym, gptq_v2": "--bits 2 --group-size 64 --asym --format gptq_v2",
    "3 bits asym, gptq_v2": "--bits 3 --group-size {group} --asym --format gptq_v2",
    "4 and 8 bits (dynamic)": "--bits 4 --group-size {group} --rule " + SECOND_MLP + "=bits:8",
    "4 bits, one kind left out": "--bits 4 --group-size {group} --rule " + SECOND_MLP + "=skip",
    "4 bits, one module left out": r"--bits 4 --group-size {group} --rule \.0\..*" + SECOND_MLP + "=skip",
    "5 bits, gptq_p": "--bits 5 --group-size {group} --format gptq_p",
}
# The files hold the same things however well their codes were chosen: no forward of the plain model.
FAST = f"--coordinate-descent 0 --stream-target 0 --samples {CALIBRATION_ROWS} --seqlen {CALIBRATION_IDS}"

READERS = ["transformers", "transformers auto", "gptqmodel", "gptqmodel auto", "auto-round"]
# (maker, name) -> options
MADE = {
    ("gptqmodel", "4 bits"): {"bits": 4, "group_size": 128, "sym": True, "desc_act": False},
    ("gptqmodel", "4 bits, desc_act"): {"bits": 4, "group_size": 128, "sym": True, "desc_act": True},
    ("gptqmodel", "3 bits"): {"bits": 3, "group_size": 128, "sym": True, "desc_act": False},
    ("gptqmodel", "2 bits g64 asym"): {"bits": 2, "group_size": 64, "sym": False, "desc_act": False},
    ("gptqmodel", "8 bits asym, gptq_v2"): {"bits": 8, "group_size": 128, "sym": False, "desc_act": False, "format": "gptq_v2"},
    ("gptqmodel", "4 and 8 bits (dynamic)"): {"bits": 4, "group_size": 128, "dynamic": {"+:.*" + SECOND_MLP: {"bits": 8}}},
    ("auto-round", "4 bits"): {"scheme": "W4A16", "iters": 4},
    ("auto-round", "3 bits"): {"scheme": "W3A16", "iters": 4},
    ("auto-round", "2 bits g64 asym"): {"scheme": "W2A16", "group_size": 64, "sym": False, "iters": 4},
}
# Refusals that are known: (reader or maker, model or *, form or *) -> words of the message. Where transformers is
# handed weights under `dynamic` it computes with memory that nobody filled: what it then says depends on that.
ONLY_V1 = "Only supports `gptqv1`"
REFUSED = {
    ("auto-round", "*", "4 bits, desc_act"): "non-dummy g_idx",
    ("auto-round", "*", "4 bits, gptq_v2"): ONLY_V1,
    ("auto-round", "*", "4 bits asym, gptq_v2"): ONLY_V1,
    ("auto-round", "*", "2 bits g64 asym, gptq_v2"): ONLY_V1,
    ("auto-round", "*", "3 bits asym, gptq_v2"): ONLY_V1,
    ("auto-round", "*", "5 bits, gptq_p"): ONLY_V1,
    ("auto-round", "*", "4 bits asym"): "unsupported operand type(s) for +: 'NoneType' and 'str'",
    ("transformers", "*", "5 bits, gptq_p"): "Only support quantization to [2,3,4,8] bits",
    ("transformers auto", "*", "5 bits, gptq_p"): "Only support quantization to [2,3,4,8] bits",
    ("transformers", "*", "4 bits, one module left out"): ("is out of bounds", "must match"),
    ("transformers auto", "*", "4 bits, one module left out"): ("is out of bounds", "must match"),
    ("transformers auto", "*", "4 bits, whole rows"): "expect qGroupSize to be 32, 64, 128 or 256",
    ("gptqmodel auto", "*", "4 bits, whole rows"): "expect qGroupSize to be 32, 64, 128 or 256",
    ("gptqmodel wrote", "story-gpt_neox", "*"): "Offloaded tensor 'lm_head.weight' not found",
    ("auto-round wrote", "story-bloom", "*"): "must match the existing size",
    ("gptqmodel", "*", "4 bits asym"): "is only supported if produced by gptqmodel",
    ("gptqmodel auto", "*", "4 bits asym"): "is only supported if produced by gptqmodel",
    ("transformers", "*", "4 and 8 bits (dynamic)"): "ignore_mismatched_sizes",
    ("transformers auto", "*", "4 and 8 bits (dynamic)"): "ignore_mismatched_sizes",
}
# What reads a file without a word and computes something else, or not a number, on the CPU: (reader, model).
WRONG = {("gptqmodel", "story-gpt_neox"), ("gptqmodel auto", "story-gpt_neox"), ("auto-round", "story-gptj")}
# gptqmodel keeps GPT-J's rotary tables in f16, also where the rest is f32.
LOOSE = {("gptqmodel", "story-gptj"): 1e-3, ("gptqmodel auto", "story-gptj"): 1e-3}


def environment(work, arguments):
    """Goes on in WORK/env, which it makes if need be."""
    place = work / "env"
    python = place / "bin" / "python"
    if os.environ.get("QUAVER_PEERS") == str(python):
        return
    ready = place / "ready"
    wanted = (HERE / "requirements.txt").read_text()
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-r", HERE / "requirements.txt"], check=True)
        ready.write_text(wanted)
    os.execve(python, [str(python), __file__, *arguments], {**os.environ, "QUAVER_PEERS": str(python)})


def run(*words, check=True):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words[:3]))}: {done.stderr.strip()[-600:]}")
    return done


class Bench:
    def __init__(self, a):
        self.quaver, self.text, self.work, self.a = a.quaver, a.text, a.work, a
        self.file = a.work / "results.json"
        self.results = json.loads(self.file.read_text()) if self.file.exists() else {}

    def cell(self, *key):
        return self.results.setdefault(" | ".join(key), {})

    def save(self):
        self.file.write_text(json.dumps(self.results, indent=1))

    def log(self, *words):
        print(*words, file=sys.stderr, flush=True)

    def ids(self, model):
        """(ids to measure, ids to calibrate on), as files; calibration ids begin behind the others."""
        import torch
        from safetensors.torch import save_file

        folder = self.work / "ids" / model.name
        if not (folder / "test.safetensors").exists():
            folder.mkdir(parents=True, exist_ok=True)
            short = folder / "text.txt"
            short.write_text(self.text.read_text(errors="replace")[:60000])
            all_ids = torch.tensor(json.loads(run(self.quaver, "tokenize", model, "--file", short, "--json").stdout))
            rows = all_ids[: ROWS * IDS].reshape(ROWS, IDS)
            rest = all_ids[ROWS * IDS :][: CALIBRATION_ROWS * CALIBRATION_IDS].reshape(CALIBRATION_ROWS, CALIBRATION_IDS)
            save_file({"input_ids": rest.contiguous()}, folder / "calibration.safetensors")
            save_file({"input_ids": rows.contiguous()}, folder / "test.safetensors")
        return folder / "test.safetensors", folder / "calibration.safetensors"

    def forward(self, directory, ids):
        from safetensors.torch import load_file

        out = self.work / "forward.safetensors"
        run(self.quaver, "forward", directory, "--ids", ids, "--out", out, "--quiet")
        return load_file(out)["logits"]

    def peers(self, jobs):
        """The result of every job; a process that dies fails the job it was at."""
        results, first = [], 0
        while first < len(jobs):
            file, log = self.work / "jobs.json", self.work / "peer.log"
            file.write_text(json.dumps(jobs[first:]))
            with open(log, "a") as errors:
                # In WORK, since gptqmodel leaves its logs where it runs.
                child = subprocess.Popen([sys.executable, HERE / "peer.py", file], stdout=subprocess.PIPE, stderr=errors,
                                         text=True, cwd=self.work)
                for line in child.stdout:
                    at = line.find("peer: ")
                    if at >= 0:
                        results.append(json.loads(line[at + 6 :]))
                        job = jobs[len(results) - 1]
                        self.log(" ", job.get("reader") or job.get("maker"), job["out"], results[-1].get("error", "ok")[:300],
                                 f"{results[-1]['seconds']} s")
                    else:
                        errors.write(line)
            if len(results) < len(jobs):
                results.append({"ok": False, "error": f"the process ended with {child.wait()}", "seconds": 0})
            first = len(results)
        return results


def differences(found, expected):
    return {"difference": float((found - expected).abs().max() / expected.abs().max()),
            "tokens": float((found.argmax(-1) == expected.argmax(-1)).float().mean())}


def reference_model(model, directory):
    """transformers in f32 with the weights that numpy unpacks from `directory`."""
    import tempfile

    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    from gptq_checkpoint import unpacked

    config = json.loads((model / "config.json").read_text())
    with tempfile.TemporaryDirectory() as plain:
        save_file(unpacked(directory), f"{plain}/model.safetensors", metadata={"format": "pt"})
        (pathlib.Path(plain) / "config.json").write_text(json.dumps(config))
        return AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).eval()


def reference_logits(model, directory, ids):
    import torch
    from safetensors.torch import load_file

    loaded = reference_model(model, directory)
    with torch.no_grad():
        return loaded(load_file(ids)["input_ids"]).logits


def group_of(model):
    config = json.loads((model / "config.json").read_text())
    return 128 if (config.get("hidden_size") or config["n_embd"]) % 128 == 0 else 64


def ours(bench, model):
    """Writes every form, and hears every reader on them."""
    from safetensors.torch import load_file

    test, calibration = bench.ids(model)
    directories, expected = {}, {}
    for form in bench.a.forms:
        out = bench.work / "ours" / model.name / re.sub(r"\W+", "_", form)
        cell = bench.cell("quaver", model.name, form)
        words = FORMS[form].format(group=group_of(model)).split() + FAST.split()
        if not (out / "config.json").exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            done = run(bench.quaver, "quantize", model, out, "--calibration", calibration, "--quiet", *words, check=False)
            if done.returncode != 0:
                cell.update({"ok": False, "error": done.stderr.strip()})
                bench.log(model.name, form, cell["error"])
                bench.save()
                continue
        directories[form] = out
        if all(bench.cell(r, model.name, form).get("ok") is not None for r in bench.a.readers) and cell.get("ok"):
            continue
        own = bench.forward(out, test)
        # numpy knows the stream of gptq and gptq_v2; what is laid out in planes has quaver's logits to answer to.
        expected[form] = reference_logits(model, out, test) if "gptq_p" not in form else own
        cell.update({"ok": True, "reference": "gptq_p" not in form, **differences(own, expected[form])})
        bench.log(model.name, form, cell)
        bench.save()
    for reader in bench.a.readers:
        forms = [f for f in directories if bench.cell(reader, model.name, f).get("ok") is None]
        jobs = [{"reader": reader, "model": str(directories[f]), "ids": str(test),
                 "out": str(bench.work / f"read-{i}.safetensors")} for i, f in enumerate(forms)]
        bench.log(model.name, reader, len(jobs))
        for form, job, result in zip(forms, jobs, bench.peers(jobs)):
            cell = bench.cell(reader, model.name, form)
            cell.clear()
            cell.update(result)
            if result["ok"]:
                found = load_file(job["out"])
                cell.update(differences(found["logits"], expected[form]))
                if "logits_f32" in found:
                    cell["f32"] = differences(found["logits_f32"], expected[form])
                os.remove(job["out"])
        bench.save()


def perplexity_there(loaded, ids, context, windows):
    import torch

    total, count = 0.0, 0
    for i in range(windows):
        window = torch.tensor([ids[i * context : (i + 1) * context]])
        with torch.no_grad():
            scores = loaded(window).logits[0, :-1].double()
        total += torch.nn.functional.cross_entropy(scores, window[0, 1:], reduction="sum").item()
        count += context - 1
    return 2.718281828459045 ** (total / count)


def theirs(bench, model):
    """Lets every maker quantize, and hears quaver on it."""
    from safetensors.torch import load_file

    test, calibration = bench.ids(model)
    text = bench.work / "ids" / model.name / "text.txt"
    chosen = [(m, f) for m, f in MADE if m in bench.a.makers and bench.cell(m + " wrote", model.name, f).get("ok") is None]
    places = {key: bench.work / "theirs" / model.name / key[0] / re.sub(r"\W+", "_", key[1]) for key in chosen}
    makes = [key for key in chosen if not places[key].exists()]
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    jobs = [{"maker": m, "model": str(model), "ids": str(calibration), "out": str(places[m, f]), "options": MADE[m, f]} for m, f in makes]
    made = dict(zip(makes, bench.peers(jobs)))
    for key in chosen:
        cell = bench.cell(key[0] + " wrote", model.name, key[1])
        if not made.get(key, {"ok": True})["ok"]:
            cell.update(made[key])
            bench.save()
            continue
        directory = next(p.parent for p in sorted(places[key].rglob("config.json")))
        reader = "gptqmodel" if key[0] == "gptqmodel" else "transformers"
        job = {"reader": reader, "model": str(directory), "ids": str(test), "out": str(bench.work / "read-0.safetensors")}
        peer = bench.peers([job])[0]
        try:
            loaded = reference_model(model, directory)
            import torch
            with torch.no_grad():
                expected = loaded(load_file(test)["input_ids"]).logits
                exact = loaded.double()(load_file(test)["input_ids"]).logits
                loaded.float()
            own = bench.forward(directory, test)
            cell.update({"ok": True, **differences(own, expected)})
            cell["rounding"] = differences(expected, exact)["difference"]
            if peer["ok"]:
                found = load_file(job["out"])
                cell["maker"] = differences(own, found.get("logits_f32", found["logits"]))
            else:
                cell["maker"] = peer["error"]
            checked = run(bench.quaver, "verify", directory, check=False)
            cell["verify"] = checked.returncode
            cell["verify_says"] = (checked.stdout + checked.stderr)[-2000:]
            ids = json.loads(run(bench.quaver, "tokenize", model, "--file", text, "--json").stdout)
            there = perplexity_there(loaded, ids, 256, 8)
            here = json.loads(run(bench.quaver, "eval", directory, "--text", text, "--context", 256, "--max-windows", 8, "--json", "--quiet").stdout)
            cell["perplexity"] = [here["perplexity"], there]
        except RuntimeError as e:
            cell.update({"ok": False, "error": str(e)})
        bench.log(key, {k: v for k, v in cell.items() if k != "verify_says"})
        bench.save()


def known_refusal(who, model, form):
    for key in ((who, model, form), (who, model, "*"), (who, "*", form), (who, "*", "*")):
        if key in REFUSED:
            words = REFUSED[key]
            return (words,) if isinstance(words, str) else words
    return None


def judged(who, model, form, cell):
    """(what the table says, whether it is as it should be)"""
    expected = known_refusal(who, model, form)
    if not cell["ok"]:
        return "refused", expected is not None and any(words in cell["error"] for words in expected)
    if (who, model) in WRONG:
        return "wrong", not cell["difference"] < BF16
    shown = f"{cell['difference']:.1e}" + (f" / {cell['f32']['difference']:.1e}" if cell.get("f32") else "")
    if cell["tokens"] < 1:
        shown += f" ({100 * cell['tokens']:.0f} %)"
    if who == "quaver" or who.endswith(" wrote"):
        good = cell["difference"] < max(EXACT, 4 * cell.get("rounding", 0))
        if who.endswith(" wrote"):
            here, there = cell["perplexity"]
            good = good and cell["verify"] == 0 and abs(here / there - 1) < 1e-4
    elif cell.get("f32"):
        rough = any("bfloat16" in t for t in cell["dtype"])
        good = cell["difference"] < (BF16 if rough else F16)
        good = good and (rough or cell["f32"]["difference"] < LOOSE.get((who, model), F32))
    else:
        good = cell["difference"] < (F16 if "bfloat16" not in cell["dtype"] else BF16)
    return shown, good and expected is None


def report(bench):
    from importlib import metadata

    names = ("torch", "transformers", "optimum", "gptqmodel", "auto-round")
    print(", ".join(f"{n} {metadata.version(n)}" for n in names) + "\n")
    bad = []
    for who in ["quaver", *bench.a.readers, *(m + " wrote" for m in bench.a.makers)]:
        found = {tuple(k.split(" | ")[1:]): c for k, c in bench.results.items() if k.split(" | ")[0] == who and c}
        if not found:
            continue
        models = list(dict.fromkeys(m for m, _ in found))
        print(f"### {who}\n\n| form | " + " | ".join(models) + " |\n|---|" + "---|" * len(models))
        for form in dict.fromkeys(f for _, f in found):
            row = []
            for model in models:
                cell = found.get((model, form))
                shown, good = judged(who, model, form, cell) if cell else ("", True)
                row.append(shown + ("" if good else " !"))
                if not good:
                    bad.append(f"{who}, {model}, {form}: {cell.get('error', shown)[:400]}")
            print(f"| {form} | " + " | ".join(row) + " |")
        print()
    for line in bad:
        print("NOT AS EXPECTED: " + line)
    return not bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quaver")
    for name in ("text", "work"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--forms", type=lambda s: s.split(";") if s else [], default=list(FORMS), help="names of FORMS, between semicolons")
    parser.add_argument("--readers", type=lambda s: s.split(",") if s else [], default=READERS)
    parser.add_argument("--makers", type=lambda s: s.split(",") if s else [], default=["gptqmodel", "auto-round"])
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    a.work = a.work.resolve()
    environment(a.work, sys.argv[1:])
    bench = Bench(a)
    for model in a.models:
        ours(bench, model.resolve())
        theirs(bench, model.resolve())
    sys.exit(not report(bench))


if __name__ == "__main__":
    main()
