#!/usr/bin/env python3
"""verify_test.py QUAVER SOURCE: `quaver verify` on what quaver writes, on what others write, and on
broken files."""
import hashlib
import json
import os
import shutil

from quaver import MODEL, SOURCE, copy_of, edit_json, main, run, run_json, tests_of, \
    write_safetensors

FILES = os.path.join(SOURCE, "tests/data/gptq")


def quantized(directory, *options):
    out = os.path.join(directory, "out")
    run("quantize", MODEL, out, "--method", "rtn", "--group-size", "32", *options)
    return out


def findings(where, *words, code=0, **more):
    report = run_json("verify", where, *words, code=code, **more)
    assert report["errors"] == sum(f["severity"] == "error" for f in report["findings"])
    assert (report["errors"] > 0) == (code == 3)
    return {(f["severity"], f["check"]): f for f in report["findings"]}, report


def test_dense_model_is_clean(_):
    out, err = run("verify", MODEL)
    assert out == "0 errors, 0 warnings, 0 notes\n" and err == ""
    found, report = findings(MODEL)
    assert found == {} and report["tensor_parallel"] == [] and len(report["checks"]) >= 14


def test_what_quaver_writes_is_clean(directory):
    out = quantized(directory)
    text, _ = run("verify", out, "--inputs", MODEL)
    assert text == "0 errors, 0 warnings, 0 notes\n", text
    _, report = findings(out, "--inputs", MODEL)
    assert all(row["ranks"] == [2, 4, 8] for row in report["tensor_parallel"]), report
    assert sum(row["count"] for row in report["tensor_parallel"]) == 36


def test_every_layout_that_quaver_writes(directory):
    for options, kinds in [(("--format", "gptq_v2", "--asym", "--bits", "2"), {("note", "keys")}),
                           (("--format", "gptq_p", "--bits", "5"), {("warning", "keys")}),
                           (("--format", "gptq_p", "--bits", "6", "--asym"), {("warning", "keys")}),
                           (("--rule", "fc2=skip", "--rule", "fc1=bits:8"), {("warning", "keys")})]:
        out = quantized(directory, *options)
        found, _ = findings(out, "--inputs", MODEL)
        assert {kind for kind in found if kind[1] != "parallel"} == kinds, (options, found)
        ids = run_json("generate", out, "Once upon a time", "--max-new-tokens", "4")["ids"]
        assert len(ids) == 4
        shutil.rmtree(out)


def test_other_programs_files_run_packed(_):
    # What they stand for is compared in the unit tests; here they run.
    for name in sorted(os.listdir(FILES)):
        where = os.path.join(FILES, name)
        modules = {m["name"]: m["form"] for m in run_json("inspect", where)["modules"]}
        assert any(form.startswith("gptq") for form in modules.values()), name
        found, _ = findings(where, code=3 if "called" in name else 0)
        assert ("error", "zeros") in found or "called" not in name


def test_broken_files_exit_with_3(directory):
    out = quantized(directory)
    os.remove(os.path.join(out, "quaver-manifest.json"))  # which would notice every change
    weights = os.path.join(out, "model.safetensors")
    raw = raw_tensors(weights)
    scales = next(name for name in raw if name.endswith("fc1.scales"))
    dtype, shape, values = raw[scales]
    write_safetensors(weights, {**raw, scales: (dtype, shape, b"\x00\x7e" + values[2:])})
    text, _ = run("verify", out, code=3)
    assert "error" in text and scales in text and "1 of" in text and "NaN" in text, text
    assert text.splitlines()[-1].startswith("1 error, 1 warning"), text  # our writer's metadata is gone
    zeros = scales.replace("scales", "qzeros")
    dtype, shape, values = raw[zeros]
    write_safetensors(weights, {**raw, zeros: (dtype, shape, b"\x88" * len(values))})
    found, _ = findings(out, code=3)
    assert "gptq_v2" in found["error", "zeros"]["problem"]
    assert found["error", "zeros"]["subject"] == zeros and found["error", "zeros"]["more"] == 0
    with open(weights, "wb") as f:
        f.write(b"\xff" * 100)
    findings(out, code=3)


def raw_tensors(path):
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header, data = json.loads(f.read(size)), f.read()
    return {name: (info["dtype"], info["shape"], data[slice(*info["data_offsets"])])
            for name, info in header.items() if name != "__metadata__"}


def test_manifest(directory):
    model = copy_of(MODEL, directory)

    def entry(name):
        with open(os.path.join(model, name), "rb") as f:
            content = f.read()
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    manifest = {"version": 1, "quaver": "0.1.0", "inputs": {"config.json": entry("config.json")},
                "outputs": {name: entry(name) for name in os.listdir(model)}}
    with open(os.path.join(model, "quaver-manifest.json"), "w") as f:
        json.dump(manifest, f)
    found, _ = findings(model)
    assert set(found) == {("note", "manifest")}
    assert run_json("verify", model, "--inputs", MODEL)["findings"] == []
    edit_json(os.path.join(model, "generation_config.json"), temperature=0.5)
    found, _ = findings(model, code=3)
    assert found["error", "manifest"]["subject"] == "generation_config.json"


if __name__ == "__main__":
    main(tests_of(globals()))
