#!/usr/bin/env python3
"""models_test.py QUAVER SOURCE: forward, generate, tokenize, inspect, bench on the shipped models."""
import json
import os
import shutil
import struct

from quaver import (FAMILIES, FIXTURES, MODEL, copy_of, edit_json, main, near, read_safetensors, run,
                    run_json, tests_of, write_safetensors)

TEXT = "Once upon a time, a little girl"


def golden_of(family):
    return read_safetensors(os.path.join(FIXTURES, family, "golden.safetensors"))


def write_ids(directory, ids, name="ids.json"):
    path = os.path.join(directory, name)
    with open(path, "w") as f:
        json.dump(ids, f)
    return path


def largest_difference(got, wanted, mask, width):
    """Over largest value, at the positions that the mask shows."""
    difference = max(abs(g - w) for i, (g, w) in enumerate(zip(got, wanted)) if mask[i // width])
    return difference / max(map(abs, wanted))


def test_forward_equals_goldens(directory):
    out = os.path.join(directory, "out.safetensors")
    for family in FAMILIES:
        golden = golden_of(family)
        model = os.path.join(FIXTURES, family)
        summary = run_json("forward", model, "--ids", os.path.join(model, "golden.safetensors"),
                           "--out", out, "--hidden")
        got, mask = read_safetensors(out), golden["attention_mask"][2]
        names = [name for name in golden if name == "logits" or name.startswith("hidden.")]
        assert sorted(got) == sorted(names) and summary["hidden"] == len(names) - 1
        for name in names:
            assert got[name][:2] == golden[name][:2], f"{family} {name}: {got[name][:2]}"
            worst = largest_difference(got[name][2], golden[name][2], mask, golden[name][1][-1])
            assert worst < 1e-4, f"{family} {name}: {worst}"


def test_forward_reads_json_and_i32(directory):
    model, out = os.path.join(FIXTURES, "llama"), os.path.join(directory, "out.safetensors")
    ids = list(golden_of("llama")["input_ids"][2][:24])
    run("forward", model, "--ids", write_ids(directory, ids), "--out", out)
    one = read_safetensors(out)["logits"]
    assert one[1] == [1, 24, 160]
    i32 = os.path.join(directory, "i32.safetensors")
    write_safetensors(i32, {"input_ids": ("I32", [1, 24], struct.pack("<24i", *ids)),
                            "other": ("F32", [1], b"\0\0\0\0")})
    run("forward", model, "--ids", i32, "--out", out)
    assert read_safetensors(out)["logits"] == one
    run("forward", model, "--ids", write_ids(directory, [ids, ids[:5]]), "--out", out)
    two = read_safetensors(out)["logits"]
    assert two[1] == [2, 24, 160] and two[2][: 24 * 160] == one[2]
    _, err = run("forward", model, "--ids", write_ids(directory, [1, 160]), "--out", out, code=3)
    assert "160" in err


def test_generate_equals_goldens(directory):
    for family in FAMILIES:
        golden = golden_of(family)
        prompt = list(golden["input_ids"][2][:24])
        ids = write_ids(directory, prompt)
        for name, beams in (("greedy", 1), ("beam4", 4)):
            wanted = list(golden[name][2][24:])
            result = run_json("generate", os.path.join(FIXTURES, family), "--ids", ids, "--num-beams",
                              beams, "--max-new-tokens", len(wanted), "--ignore-eos")
            assert result["ids"] == wanted, f"{family} {name}: {result['ids']} not {wanted}"
            assert result["text"] is None and result["prompt_tokens"] == 24


def test_generate_text(directory):
    out, err = run("generate", MODEL, TEXT, "--max-new-tokens", "12")
    result = run_json("generate", MODEL, TEXT, "--max-new-tokens", "12")
    assert result["new_tokens"] == len(result["ids"]) == 12
    assert out == result["text"] + "\n" and "new in" in err
    assert run("generate", MODEL, TEXT, "--max-new-tokens", "12", "--no-stream", "--quiet") == (out, "")
    assert run("generate", MODEL, "--max-new-tokens", "12", stdin=TEXT + "\n")[0] == out
    prompt = os.path.join(directory, "prompt.txt")
    with open(prompt, "w") as f:
        f.write(TEXT)
    assert run("generate", MODEL, "--prompt-file", prompt, "--max-new-tokens", "12")[0] == out
    word = result["text"].split()[-1]
    stopped = run_json("generate", MODEL, TEXT, "--max-new-tokens", "12", "--stop", word)
    assert word not in stopped["text"] and result["text"].startswith(stopped["text"])


def test_sampling_is_reproducible(directory):
    def sample(seed, *more):
        return run_json("generate", MODEL, TEXT, "--temperature", "1.5", "--max-new-tokens", "16",
                        "--seed", seed, *more)["ids"]
    assert sample(1) == sample(1, "--threads", "1") and sample(1) != sample(2)


def test_generate_batch(directory):
    ids = [run_json("tokenize", MODEL, text) for text in ("One day", TEXT)]
    batch = run_json("generate", MODEL, "--ids", write_ids(directory, ids), "--max-new-tokens", "8")
    for one, result in zip(ids, batch):
        alone = run_json("generate", MODEL, "--ids", write_ids(directory, one), "--max-new-tokens", "8")
        assert result["ids"] == alone["ids"] and result["text"] == alone["text"]


def test_generate_options(directory):
    def told(*options):
        return run_json("generate", MODEL, TEXT, "--max-new-tokens", "30", *options)

    greedy = told()
    looked_up = told("--prompt-lookup-num-tokens", "6")
    assert looked_up["ids"] == greedy["ids"] and "accepted_tokens" not in greedy
    assert 0 <= looked_up["accepted_tokens"] <= looked_up["drafted_tokens"]
    for kind in ("f16", "bf16"):
        assert told("--kv-cache", kind)["ids"][:5] == greedy["ids"][:5]
    ids = told("--no-repeat-ngram-size", "2")["ids"]
    pairs = list(zip(ids, ids[1:]))
    assert len(set(pairs)) == len(pairs)
    first = greedy["ids"][0]
    for bias in ({str(first): -100}, [[[first], -100]]):
        path = os.path.join(directory, "bias.json")
        with open(path, "w") as f:
            json.dump(bias, f)
        assert first not in told("--logit-bias", path)["ids"]
    beams = told("--num-beams", "4", "--num-return-sequences", "3")
    assert len(beams) == 3 and beams[0]["ids"] == told("--num-beams", "4")["ids"]
    samples = told("--num-return-sequences", "2", "--temperature", "1.5")
    assert len(samples) == 2 and samples[0]["ids"] != samples[1]["ids"]
    assert told("--presence-penalty", "2", "--frequency-penalty", "2")["ids"] != greedy["ids"]
    model = copy_of(MODEL, directory)
    edit_json(os.path.join(model, "generation_config.json"), eos_token_id=[greedy["ids"][3], 2])
    assert run_json("generate", model, TEXT)["ids"] == greedy["ids"][:4]
    assert len(run_json("generate", model, TEXT, "--min-new-tokens", "9")["ids"]) >= 9
    edit_json(os.path.join(model, "generation_config.json"), penalty_alpha=0.6)
    _, err = run("generate", model, TEXT, code=3)
    assert "penalty_alpha is 0.6" in err


def test_tokenize_round_trip(directory):
    path = os.path.join(directory, "text.txt")
    text = "One day\r\n  the cat, naïve 猫 🙂 slept.\n\nEnd"
    with open(path, "w", newline="") as f:
        f.write(text)
    ids = json.loads(run("tokenize", MODEL, "--file", path)[0])
    assert ids == run_json("tokenize", MODEL, text) == run_json("tokenize", MODEL, stdin=text)
    assert run_json("detokenize", MODEL, json.dumps(ids)) == text
    assert run("detokenize", MODEL, stdin=json.dumps(ids))[0].replace("\r\n", "\n") == text.replace("\r\n", "\n")
    lines = run("tokenize", MODEL, "--file", path, "--lines")[0].splitlines()
    assert len(lines) == 4 and json.loads(lines[2]) == []
    for line, part in zip(lines, text.split("\n")):
        assert json.loads(line) == run_json("tokenize", MODEL, "--", part)
    assert len(run_json("tokenize", MODEL, text, "--add-special-tokens")) >= len(ids)
    two = write_ids(directory, [ids, ids[:3]], "two.json")
    assert len(run_json("detokenize", MODEL, "--file", two)) == 2


def test_eval(directory):
    # transformers 5.23 in f32 has 29.830 on the whole text of the same protocol.
    result = run_json("eval", MODEL, "--context", "512", "--max-windows", "12")
    assert set(result) == {"perplexity", "perplexity_stderr", "nll", "tokens", "windows", "protocol",
                           "context", "kl", "kl_stderr", "top1"}
    assert result["windows"] == 12 and result["tokens"] == 12 * 511 and result["kl"] is None
    assert 20 < result["perplexity"] < 45 and 0 < result["perplexity_stderr"] < 2
    same = run_json("eval", MODEL, "--context", "64", "--max-windows", "3", "--against", MODEL)
    assert near(same["kl"], 0, 1e-9) and same["top1"] == 1
    one = run_json("eval", MODEL, "--context", "64", "--max-windows", "3", "--threads", "1")
    assert one["nll"] == same["nll"]
    for protocol in ("llamacpp", "strided"):
        other = run_json("eval", MODEL, "--context", "64", "--max-windows", "3", "--protocol", protocol)
        assert other["protocol"] == protocol and other["perplexity"] > 5
    text = os.path.join(directory, "t.txt")
    with open(text, "w") as f:
        f.write("The little dog ran to the big tree. " * 40)
    assert run_json("eval", MODEL, "--text", text, "--context", "64")["perplexity"] < 30


def test_inspect(_):
    report = run_json("inspect", MODEL, "--tensors", "--kernels")
    assert report["architecture"] == "OPTForCausalLM" and report["quantization"] is None
    assert report["shape"]["layers"] == 6 and report["bits_per_weight"] == 16
    assert len([m for m in report["modules"] if m["name"].endswith("fc1")]) == 6
    assert all(m["kernel_many"] and m["kernel_one"] for m in report["modules"])
    assert report["tokenizer"]["file"] == "tokenizer.json" and report["tokenizer"]["vocabulary"] == 4096
    tensors = read_safetensors(os.path.join(MODEL, "model.safetensors"))
    assert sorted(t["name"] for t in report["tensors"]) == sorted(tensors)
    out, _ = run("inspect", MODEL)
    assert "OPTForCausalLM" in out and "4096" in out


def test_bench(_):
    report = run_json("bench", MODEL, "-p", "16,32", "-n", "4", "-b", "1,2", "-t", "1", "-r", "2")
    assert [r["test"] for r in report["results"]] == ["pp16", "pp32", "tg4"] * 2
    for r in report["results"]:
        assert set(r) == {"test", "batch", "threads", "tokens_per_second", "stddev", "repetitions", "of_limit"}
        assert r["of_limit"] > 0
        assert r["tokens_per_second"] > 0 and r["threads"] == 1 and r["repetitions"] == 2
    assert report["machine"]["cpu"]
    out, _ = run("bench", MODEL, "-p", "8", "-n", "0", "-r", "1", "-o", "csv")
    assert out.splitlines()[0] == "test,batch,threads,tokens_per_second,stddev,repetitions,of_limit"


def test_corrupted_models_exit_with_3(directory):
    weights = os.path.join(MODEL, "model.safetensors")
    cases = {}
    cases["truncated"] = copy_of(MODEL, directory)
    os.truncate(os.path.join(cases["truncated"], "model.safetensors"), os.path.getsize(weights) // 2)
    for name, family, changes in [("unknown family", "opt", {"architectures": ["NoSuchModel"],
                                                             "model_type": "none"}),
                                  ("wrong shape", "llama", {"intermediate_size": 97}),
                                  ("missing tensors", "gptj", {"n_layer": 3}),
                                  ("unused tensors", "bloom", {"n_layer": 1})]:
        cases[name] = copy_of(os.path.join(FIXTURES, family), directory)
        edit_json(os.path.join(cases[name], "config.json"), **changes)
    cases["no weights"] = copy_of(os.path.join(FIXTURES, "gpt_neox"), directory)
    os.remove(os.path.join(cases["no weights"], "model.safetensors"))
    for name, model in cases.items():
        golden = os.path.join(model, "golden.safetensors")  # not a weight file's name: ignored
        _, err = run("inspect", model, code=3)
        assert model in err or os.path.basename(model) in err or "NoSuchModel" in err, f"{name}: {err}"
        _, err = run("quantize", model, os.path.join(directory, "out"), code=3)
        assert not os.path.exists(os.path.join(directory, "out"))
        if os.path.exists(golden):
            run("forward", model, "--ids", golden, "--out", os.path.join(directory, "o"), code=3)
        shutil.rmtree(model)


if __name__ == "__main__":
    main(tests_of(globals()))
