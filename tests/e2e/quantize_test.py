#!/usr/bin/env python3
"""quantize_test.py QUAVER SOURCE: a checkpoint in, a quantized checkpoint, text and perplexity out."""
import json
import os
import signal
import struct
import subprocess
import time
import zipfile

from quaver import (FAMILIES, FIXTURES, MODEL, PROGRAM, SOURCE, copy_of, files_of, main,
                    read_safetensors, run, run_json, tests_of, write_safetensors)

SMALL = ["--samples", "8", "--seqlen", "128"]


def fixture(family):
    return os.path.join(FIXTURES, family)


def calibration_ids(directory):
    """The fixtures have no tokenizer: they are calibrated on ids."""
    path = os.path.join(directory, "calibration.json")
    with open(path, "w") as f:
        json.dump([[(i * i + 7 * j) % 160 for i in range(64)] for j in range(8)], f)
    return ["--calibration", path, "--samples", "8", "--seqlen", "64"]


def weights_of(directory):
    tensors = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors"):
            tensors.update(read_safetensors(os.path.join(directory, name)))
    return tensors


def test_whole_job(directory):
    out = os.path.join(directory, "out")
    report = run_json("quantize", MODEL, out, "--bits", "4", "--group-size", "128", *SMALL)
    assert set(report) == {"out", "seconds", "peak_rss_bytes", "disk_bytes", "planned",
                           "bits_per_weight", "modules", "memory", "stages", "evaluation"}
    assert set(report["stages"]) == {"check", "plan", "calibration", "quantize", "write", "verify", "hash"}
    assert len(report["modules"]) == 36 and 4 < report["bits_per_weight"] < 4.5
    for module in report["modules"]:
        assert set(module) == {"name", "method", "bits", "group_size", "sym", "outputs", "inputs", "error",
                               "damp", "rows", "pooled", "condition", "fallback", "seconds"}
        assert module["bits"] == 4 and 0 < module["error"] < 0.5
        assert module["rows"] == 8 * 128 and module["condition"] > 1
    with open(os.path.join(out, "quaver-report.json")) as f:
        assert json.load(f)["modules"] == report["modules"]
    assert not os.path.exists(out + ".partial")

    source, files = files_of(MODEL), files_of(out)
    for name in ("tokenizer.json", "generation_config.json", "vocab.json", "merges.txt"):
        assert files[name] == source[name], name
    config = json.loads(files["config.json"])["quantization_config"]
    assert config["quant_method"] == "gptq" and config["bits"] == 4 and config["group_size"] == 128
    assert json.loads(files["quantize_config.json"])["bits"] == 4

    packed, plain = weights_of(out), weights_of(MODEL)
    quantized = {module["name"] for module in report["modules"]}
    for name, tensor in plain.items():
        module = name.removesuffix(".weight")
        if module in quantized:
            assert name not in packed and module + ".qweight" in packed
        else:
            assert packed[name] == tensor, name

    before = run_json("eval", MODEL, "--context", "256", "--max-windows", "10")
    after = run_json("eval", out, "--context", "256", "--max-windows", "10", "--against", MODEL)
    assert before["perplexity"] < after["perplexity"] < 1.2 * before["perplexity"], after
    assert 0 < after["kl"] < 0.2 and after["top1"] > 0.7
    text = run_json("generate", out, "Once upon a time", "--max-new-tokens", "20")["text"]
    assert len(text.split()) > 8
    inspected = run_json("inspect", out, "--kernels")
    assert inspected["quantization"]["bits"] == 4 and 4 < inspected["bits_per_weight"] < 4.5


def test_report_page_and_model_card(directory):
    model = copy_of(MODEL, directory)
    with open(os.path.join(model, "README.md"), "w") as f:
        f.write("---\nlicense: mit\ntags: [x]\n---\nhello\n")
    with open(os.path.join(directory, "text.txt"), "w") as f:
        f.write("The old house stood <at> the end of the road, and nobody knew who lived there. " * 60)
    out = os.path.join(directory, "out")
    words = ["quantize", model, out, "--rule", "fc2=bits:8", "--evaluate",
             os.path.join(directory, "text.txt"), "--base-model", "some/<one>", *SMALL]
    report = run_json(*words)
    evaluation = report["evaluation"]
    assert 1 < evaluation["before"]["perplexity"] and 0 < evaluation["after"]["kl"] < 0.5
    assert len(evaluation["samples"]) == 3 and all(sample["after"] for sample in evaluation["samples"])
    assert len(report["memory"]) > 36 and all(size > 1e6 for _, size in report["memory"])
    files = {name: data.decode(errors="replace") for name, data in files_of(out).items()}
    page, card = files["report.html"], files["README.md"]
    for outside in ("http:", "https:", "src=", "href=", "<script", "@import", directory):
        assert outside not in page, outside
    assert page.count("<svg") == 5 and page.count("<svg") == page.count("</svg>")
    assert "some/&lt;one&gt;" in page and "<one>" not in page
    for module in report["modules"]:
        assert module["name"] in page
    assert card.startswith('---\nbase_model: "some/<one>"\nbase_model_relation: quantized\nlicense: mit\n')
    assert "--rule 'fc2=bits:8' --samples 8 --seqlen 128 --evaluate text.txt\n" in card
    assert directory not in card
    assert run_json(*words)["evaluation"] == evaluation
    manifest = json.loads(files["quaver-manifest.json"])
    assert set(manifest["outputs"]) == set(files) - {"quaver-manifest.json"}
    assert set(manifest["inputs"]) == set(files_of(model))
    assert manifest["outputs"]["model.safetensors"]["sha256"] in card
    run("verify", out, "--inputs", model)
    with open(os.path.join(out, "config.json"), "a") as f:
        f.write(" ")
    findings, _ = run("verify", out, code=3)
    assert "config.json" in findings


def test_gptq_beats_rtn(directory):
    kl = {}
    for method in ("rtn", "gptq"):
        out = os.path.join(directory, method)
        run("quantize", MODEL, out, "--method", method, "--bits", "3", "--samples", "16", "--seqlen",
            "256", "--quiet")
        kl[method] = run_json("eval", out, "--context", "128", "--max-windows", "8", "--against",
                              MODEL)["kl"]
    assert kl["gptq"] < 0.8 * kl["rtn"], kl


def test_every_family_and_scheme(directory):
    ids = calibration_ids(directory)
    golden = "golden.safetensors"
    schemes = [["--bits", "4", "--group-size", "32"], ["--bits", "3", "--group-size", "-1", "--asym"],
               ["--bits", "8", "--group-size", "32", "--desc-act"],
               ["--bits", "2", "--group-size", "32", "--asym", "--no-true-sequential"],
               ["--bits", "4", "--group-size", "32", "--format", "gptq_v2", "--method", "rtn"]]
    for family, scheme in zip(FAMILIES, schemes):
        out = os.path.join(directory, family)
        run("quantize", fixture(family), out, *scheme, *ids)
        logits = os.path.join(directory, "l.safetensors")
        run("forward", out, "--ids", os.path.join(fixture(family), golden), "--out", logits)
        assert read_safetensors(logits)["logits"][1] == [2, 24, 160]


def test_same_bytes_for_any_number_of_threads(directory):
    for i, more in enumerate(([], ["--desc-act"], ["--method", "rtn"])):
        outs = []
        for threads in ("1", "2", "3", "8"):
            outs.append(os.path.join(directory, f"{i}-{threads}"))
            run("quantize", MODEL, outs[-1], "--threads", threads, *SMALL, *more, "--quiet")
        first, *others = map(files_of, outs)
        for other in others:
            assert first.keys() == other.keys()
            for name in first:
                if name not in ("quaver-report.json", "report.html", "quaver-manifest.json"):
                    assert first[name] == other[name], (more, name)


def test_fast_is_near_exact(directory):
    ids = os.path.join(directory, "ids.json")
    with open(ids, "w") as f:
        json.dump([list(range(3, 99)), list(range(300, 396))], f)
    for i, scheme in enumerate((["--bits", "4"], ["--bits", "4", "--asym", "--desc-act"], ["--bits", "8"], ["--bits", "3"])):
        out = os.path.join(directory, str(i))
        run("quantize", MODEL, out, *SMALL, *scheme, "--quiet")
        logits = []
        for j, words in enumerate((["--exact"], ["--fast"], ["--fast", "--threads", "1"], ["--fast", "--threads", "3"])):
            file = os.path.join(directory, f"{i}-{j}.safetensors")
            run("forward", out, "--ids", ids, "--out", file, "--quiet", *words)
            logits.append(read_safetensors(file)["logits"][2])
        exact, fast, *others = logits
        assert all(other == fast for other in others) and fast != exact
        error = sum((a - b) ** 2 for a, b in zip(exact, fast)) / sum(a * a for a in exact)
        assert error < (1e-7 if "8" in scheme else 1e-3), (scheme, error)


def test_plan_and_fact(directory):
    out = os.path.join(directory, "out")
    job = ["--bits", "3", "--group-size", "64", "--samples", "32", "--seqlen", "256"]
    plan = run_json("plan", MODEL, *job)
    report = run_json("quantize", MODEL, out, *job)
    assert [(m["name"], m["bits"], m["group_size"]) for m in plan["modules"]] == [
        (m["name"], m["bits"], m["group_size"]) for m in report["modules"]]
    assert plan["rows"] == 32 * 256 and plan["bits_per_weight"] == report["bits_per_weight"]
    assert 0 < plan["least_ram_bytes"] < plan["peak_rss_bytes"] and plan["seconds"] > 0
    for planned in (plan, report["planned"]):
        assert abs(planned["disk_bytes"] / report["disk_bytes"] - 1) < 0.01, (planned, report["disk_bytes"])
        assert abs(planned["peak_rss_bytes"] / report["peak_rss_bytes"] - 1) < 0.25, planned
    text, _ = run("plan", MODEL, *job)
    assert "time" in text and "--max-ram" in text and "3.297 bits" in text, text
    _, err = run("plan", MODEL, "--group-size", "100", code=2)
    assert "group_size" in err or "group size" in err, err


def test_max_ram(directory):
    """A limit changes no byte, is kept, and is refused where it cannot be."""
    job = ["--samples", "48", "--seqlen", "512", "--quiet"]
    free = os.path.join(directory, "free")
    run("quantize", MODEL, free, *job)
    plan = run_json("plan", MODEL, *job)
    limit = plan["least_ram_bytes"] + plan["least_ram_bytes"] // 10
    assert limit < 0.7 * plan["peak_rss_bytes"], plan
    tight = os.path.join(directory, "tight")
    ballast = b"x" * (512 << 20)  # of the program that starts quaver: not quaver's memory
    report = run_json("quantize", MODEL, tight, *job, "--max-ram", str(limit))
    del ballast
    assert report["peak_rss_bytes"] < 1.05 * limit + (64 << 20), (report["peak_rss_bytes"], limit)
    assert report["peak_rss_bytes"] < 0.8 * plan["peak_rss_bytes"], (report["peak_rss_bytes"], plan)
    a, b = files_of(free), files_of(tight)
    assert a["model.safetensors"] == b["model.safetensors"] and a["config.json"] == b["config.json"]
    # Where it was refused nothing is left; the same job may go on under another limit.
    other = os.path.join(directory, "other")
    _, err = run("quantize", MODEL, other, *job, "--max-ram", "20M", code=4)
    assert "--max-ram" in err and "at least" in err, err
    assert not os.path.exists(other) and not os.path.exists(other + ".partial")
    run("quantize", MODEL, other, *job, "--max-ram", "20X", code=2)
    # Without true sequential, and with one stream.
    plain = ["--no-true-sequential", "--stream-target", "0", *job]
    for name, more in (("p1", []), ("p2", ["--max-ram", str(limit)])):
        run("quantize", MODEL, os.path.join(directory, name), *plain, *more)
    a, b = (files_of(os.path.join(directory, name)) for name in ("p1", "p2"))
    assert a["model.safetensors"] == b["model.safetensors"]


def test_finished_job_and_other_jobs(directory):
    out = os.path.join(directory, "out")
    job = [fixture("llama"), out, "--group-size", "32", *calibration_ids(directory)]
    first = run_json("quantize", *job)
    files = files_of(out)
    again = run_json("quantize", *job)
    assert again["modules"] == first["modules"] and files_of(out) == files
    _, err = run("quantize", *job, "--bits", "3", code=2)
    assert "--overwrite" in err and files_of(out) == files
    assert run_json("quantize", *job, "--bits", "3", "--overwrite")["modules"][0]["bits"] == 3


def test_stale_partial_is_refused_by_name(directory):
    out = os.path.join(directory, "out")
    os.mkdir(out + ".partial")
    with open(os.path.join(out + ".partial", "something"), "w") as f:
        f.write("x")
    job = [fixture("opt"), out, "--group-size", "32", *calibration_ids(directory)]
    _, err = run("quantize", *job, code=2)
    assert "out.partial" in err and "--overwrite" in err, err
    run("quantize", *job, "--overwrite")
    assert not os.path.exists(out + ".partial")


def test_overwrite_replaces_outputs_only(directory):
    model = os.path.join(directory, "models", "opt")
    os.mkdir(os.path.dirname(model))
    os.rename(copy_of(fixture("opt"), directory), model)
    job = ["--group-size", "32", *calibration_ids(directory), "--overwrite"]
    for out in (model, os.path.dirname(model)):  # the model, and a directory around it
        run("quantize", model, out, *job, code=2)
    other = os.path.join(directory, "other")
    os.mkdir(other)
    with open(os.path.join(other, "precious"), "w") as f:
        f.write("x")
    _, err = run("quantize", model, other, *job, code=2)
    assert "not an output of quaver" in err, err
    assert os.path.exists(os.path.join(other, "precious")) and os.path.exists(model)


def test_a_damaged_output_is_not_taken_for_done(directory):
    out = os.path.join(directory, "out")
    job = ["quantize", fixture("opt"), out, "--group-size", "32", *calibration_ids(directory)]
    run(*job)
    os.remove(os.path.join(out, "model.safetensors"))
    run(*job, code=3)
    run(*job, "--overwrite")
    assert os.path.exists(os.path.join(out, "model.safetensors"))


def test_config_file_turns_switches_off(directory):
    config = os.path.join(directory, "config.json")
    with open(config, "w") as f:
        json.dump({"asym": True, "group_size": 32, "method": "rtn"}, f)
    out = os.path.join(directory, "out")
    run("quantize", fixture("opt"), out, "--config", config)
    with open(os.path.join(out, "config.json")) as f:
        assert json.load(f)["quantization_config"]["sym"] is False


def test_head(directory):
    out = os.path.join(directory, "out")
    report = run_json("quantize", MODEL, out, "--lm-head", "--rule", "lm_head=bits:8,group_size:32", *SMALL)
    head = report["modules"][-1]
    assert head["name"] == "lm_head" and head["bits"] == 8 and head["rows"] == 8 * 128
    assert abs(report["planned"]["peak_rss_bytes"] / report["peak_rss_bytes"] - 1) < 0.25, report["planned"]
    with open(os.path.join(out, "config.json")) as f:
        config = json.load(f)
    assert config["tie_word_embeddings"] is False and config["quantization_config"]["lm_head"] is True
    packed, plain = weights_of(out), weights_of(MODEL)
    table = "model.decoder.embed_tokens.weight"
    assert "lm_head.qweight" in packed and "lm_head.weight" not in packed and packed[table] == plain[table]
    findings = run_json("verify", out, "--inputs", MODEL)
    others = [f for f in findings["findings"] if f["severity"] != "note" and f["subject"] != "dynamic"]
    assert not others, findings
    result = run_json("eval", out, "--context", "256", "--max-windows", "10", "--against", MODEL)
    assert 0 < result["kl"] < 0.2, result
    assert len(run_json("generate", out, "Once upon a time", "--max-new-tokens", "20")["text"].split()) > 8
    with open(os.path.join(out, "report.html")) as f:
        assert "lm_head" in f.read()


def test_rules(directory):
    out = os.path.join(directory, "out")
    report = run_json("quantize", fixture("opt"), out, "--group-size", "32", "--rule", "fc1=bits:8",
                      "--rule", r"layers\.0\..*out_proj=skip", *calibration_ids(directory))
    bits = {module["name"]: module["bits"] for module in report["modules"]}
    assert all(b == (8 if name.endswith("fc1") else 4) for name, b in bits.items()), bits
    assert not any("layers.0." in name and "out_proj" in name for name in bits), bits
    logits = os.path.join(directory, "l.safetensors")
    run("forward", out, "--ids", os.path.join(fixture("opt"), "golden.safetensors"), "--out", logits)


def test_shards(directory):
    out = os.path.join(directory, "out")
    run("quantize", MODEL, out, "--method", "rtn", "--shard-size", "2M", *SMALL)
    with open(os.path.join(out, "model.safetensors.index.json")) as f:
        index = json.load(f)["weight_map"]
    assert len(set(index.values())) > 1 and set(index) == set(weights_of(out))
    run("eval", out, "--context", "64", "--max-windows", "2")


def test_torch_checkpoints_give_the_same_weights(directory):
    """model.safetensors and pytorch_model.bin with the same weights are the same to every command."""
    pair = os.path.join(SOURCE, "tests/data/bin/llama")
    quantized, logits = [], []
    for kind in ("safetensors", "bin"):
        model, out = os.path.join(pair, kind), os.path.join(directory, kind)
        run("quantize", model, out, "--bits", "4", "--group-size", "16", "--format", "gptq_v2",
            "--method", "rtn")
        quantized.append(files_of(out)["model.safetensors"])
        ids, got = os.path.join(directory, "ids.json"), os.path.join(directory, "l.safetensors")
        with open(ids, "w") as f:
            json.dump(list(range(3, 60, 5)), f)
        run("forward", model, "--ids", ids, "--out", got)
        logits.append(read_safetensors(got))
    assert quantized[0] == quantized[1] and logits[0] == logits[1]
    tensors = run_json("inspect", model, "--tensors")["tensors"]
    assert len(tensors) == 21 and all(t["dtype"] == "f16" for t in tensors), tensors


def test_pickles_are_not_executed(directory):
    model = copy_of(os.path.join(SOURCE, "tests/data/bin/llama/bin"), directory)
    path, target = os.path.join(model, "pytorch_model.bin"), os.path.join(directory, "executed")
    attack = f"cos\nsystem\nX{{}}touch {target}\x85R.".encode()
    attack = attack.replace(b"{}", struct.pack("<I", len("touch " + target)))
    with open(path, "wb") as f:
        with zipfile.ZipFile(f, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + attack)
    _, err = run("inspect", model, code=3)
    assert "data.pkl" in err and "os.system" in err and "execute" in err, err
    assert not os.path.exists(target)


def test_non_finite_weights_exit_with_3(directory):
    model = copy_of(fixture("llama"), directory)
    path = os.path.join(model, "model.safetensors")
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
    name = "model.layers.1.mlp.down_proj.weight"
    with open(path, "r+b") as f:
        f.seek(8 + size + header[name]["data_offsets"][0])
        f.write(struct.pack("<2f", float("nan"), float("inf")))
    out = os.path.join(directory, "out")
    _, err = run("quantize", model, out, "--group-size", "32", *calibration_ids(directory), code=3)
    assert name in err and "2" in err and not os.path.exists(out), err


def test_calibration_kinds(directory):
    sentence = "The little dog ran to the big tree. "
    text, lines, ids = (os.path.join(directory, "c." + kind) for kind in ("txt", "jsonl", "safetensors"))
    with open(text, "w") as f:
        f.write(sentence * 60)
    with open(lines, "w") as f:
        for _ in range(60):
            f.write(json.dumps({"story": sentence}) + "\n")
    write_safetensors(ids, {"input_ids": ("I64", [4, 64], struct.pack("<256q", *range(10, 266)))})
    for number, more in enumerate([[text], [lines, "--text-field", "story"], [ids]]):
        out = os.path.join(directory, str(number))
        run("quantize", MODEL, out, "--samples", "4", "--seqlen", "64", "--calibration", *more)
    _, err = run("quantize", MODEL, os.path.join(directory, "x"), "--calibration",
                 os.path.join(directory, "none.txt"), code=3)
    assert "none.txt" in err


def test_interrupt(directory):
    out = os.path.join(directory, "out")
    job = subprocess.Popen([PROGRAM, "quantize", MODEL, out, "--samples", "128", "--seqlen", "512"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while job.poll() is None and not os.path.exists(out + ".partial"):
        time.sleep(0.02)
    time.sleep(0.3)
    job.send_signal(signal.SIGINT)
    stdout, err = job.communicate(timeout=120)
    assert job.returncode == 130 and stdout == "" and "interrupted" in err, (job.returncode, err)
    assert not os.path.exists(out)


def test_table(directory):
    out, err = run("quantize", fixture("bloom"), os.path.join(directory, "out"), "--group-size", "32",
                   *calibration_ids(directory))
    head = out.splitlines()[0].split()
    assert head == ["module", "method", "bits", "group", "error", "tokens", "damp", "seconds"], out
    assert "quaver-report.json" in out and "written and verified" in out


if __name__ == "__main__":
    main(tests_of(globals()))
