#!/usr/bin/env python3
"""arch_file_test.py QUAVER SOURCE: a model of one's own, described by a small JSON file, is the
known family under other names: same logits, same quantized weights, names kept."""
import json
import os

from quaver import FIXTURES, main, read_safetensors, run, run_json, tests_of, write_safetensors

# OPT as AutoGPTQ's README customizes it, under names of another author.
INSIDE = {"self_attn": "attn", "self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key",
          "self_attn.v_proj": "attn.value", "fc1": "mlp.wide", "fc2": "mlp.narrow",
          "self_attn_layer_norm": "norm_1", "final_layer_norm": "norm_2"}
OUTSIDE = {"model.decoder.embed_tokens": "net.words", "model.decoder.embed_positions": "net.places",
           "model.decoder.final_layer_norm": "net.last_norm"}
LISTS = {"inside_layer_modules": [["attn.key", "attn.value", "attn.query"], ["attn.out_proj"],
                                  ["mlp.wide"], ["mlp.narrow"]],
         "outside_layer_modules": ["net.words", "net.places", "net.last_norm"]}


def longest(names, name):
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in names:
            return ".".join([names[".".join(parts[:end])], *parts[end:]])
    return name


def own_name(name):
    before = "model.decoder.layers."
    if not name.startswith(before):
        return longest(OUTSIDE, name)
    number, inner = name[len(before):].split(".", 1)
    return f"net.stack.{number}.{longest(INSIDE, inner)}"


def renamed_opt(directory, **changes):
    """A copy of the tiny OPT under other names, and the file that describes it."""
    source, model = os.path.join(FIXTURES, "opt"), os.path.join(directory, "model")
    os.makedirs(model, exist_ok=True)
    with open(os.path.join(source, "model.safetensors"), "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header, data = json.loads(f.read(size)), f.read()
    write_safetensors(os.path.join(model, "model.safetensors"),
                      {own_name(name): (t["dtype"], t["shape"], data[slice(*t["data_offsets"])])
                       for name, t in header.items() if name != "__metadata__"})
    with open(os.path.join(source, "config.json")) as f:
        config = json.load(f)
    config["width"], config["architectures"], config["model_type"] = \
        config.pop("hidden_size"), ["NetForCausalLM"], "net"
    del config["do_layer_norm_before"]
    with open(os.path.join(model, "config.json"), "w") as f:
        json.dump(config, f)
    arch = {"base": "opt", "architecture": "NetForCausalLM", "layers_block_name": "net.stack",
            "inside_names": INSIDE, "outside_names": OUTSIDE, "comment": "for a test",
            "config_names": {"hidden_size": "width"},
            "config_values": {"do_layer_norm_before": True}, **LISTS, **changes}
    path = os.path.join(directory, "arch.json")
    with open(path, "w") as f:
        json.dump({key: value for key, value in arch.items() if value is not None}, f)
    return model, path


def logits(directory, model, *flags):
    out = os.path.join(directory, "out.safetensors")
    run("forward", model, "--ids", os.path.join(FIXTURES, "opt/golden.safetensors"), "--out", out,
        *flags)
    return read_safetensors(out)["logits"]


def test_a_renamed_relative_runs(directory):
    model, arch = renamed_opt(directory)
    assert logits(directory, model, "--arch-file", arch) == \
        logits(directory, os.path.join(FIXTURES, "opt"))
    report = run_json("inspect", model, "--arch-file", arch)
    assert report["architecture"] == "NetForCausalLM"
    assert {m["name"] for m in report["modules"]} >= {"net.stack.0.attn.query",
                                                      "net.stack.1.mlp.narrow"}
    _, err = run("inspect", model, code=3)
    assert "unknown architecture 'NetForCausalLM'" in err, err


def test_it_is_quantized_under_its_names(directory):
    model, arch = renamed_opt(directory)
    out, plain = os.path.join(directory, "out"), os.path.join(directory, "plain")
    flags = ["--bits", "4", "--group-size", "16", "--samples", "4", "--seqlen", "16",
             "--calibration", calibration(directory)]
    run("quantize", model, out, "--arch-file", arch, *flags)
    run("quantize", os.path.join(FIXTURES, "opt"), plain, *flags)
    own = read_safetensors(os.path.join(out, "model.safetensors"))
    known = read_safetensors(os.path.join(plain, "model.safetensors"))
    assert own == {own_name(name): tensor for name, tensor in known.items()}
    assert "net.stack.0.attn.query.qweight" in own
    # The file went along: the output needs no flag.
    assert logits(directory, out) == logits(directory, plain)
    summary, _ = run("quantize", model, out, "--arch-file", arch, *flags)
    assert "nothing to do" in summary, summary
    with open(os.path.join(out, "config.json")) as f:
        assert json.load(f)["quantization_config"]["block_name_to_quantize"] == "net.stack"


def test_modules_that_are_not_listed_stay(directory):
    model, arch = renamed_opt(directory, inside_layer_modules=[["mlp.wide"], ["mlp.narrow"]])
    out = os.path.join(directory, "out")
    run("quantize", model, out, "--arch-file", arch, "--method", "rtn", "--group-size", "16")
    own = read_safetensors(os.path.join(out, "model.safetensors"))
    assert "net.stack.0.mlp.wide.qweight" in own and "net.stack.0.attn.query.weight" in own
    assert "net.stack.0.attn.query.qweight" not in own
    logits(directory, out)


def calibration(directory):
    path = os.path.join(directory, "ids.json")
    with open(path, "w") as f:
        json.dump([[(7 * i + 3 * j) % 90 + 4 for j in range(16)] for i in range(4)], f)
    return path


def test_mistakes_are_named(directory):
    for changes, words in [
            ({"base": "optt"}, "'base' is 'optt'; known: arcee, "),
            ({"base": None}, "base"),
            ({"bass": 1}, "unknown key 'bass'; known: base, "),
            ({"inside_names": {**INSIDE, "fc3": "x"}}, "inside_names has 'fc3', which a block of opt lacks"),
            ({"outside_names": {**OUTSIDE, "lm_hat": "x"}}, "outside_names has 'lm_hat', which opt lacks"),
            ({"inside_names": {**INSIDE, "fc1": "mlp.narrow"}}, "the same name, 'mlp.narrow'"),
            ({"inside_layer_modules": [["attn.q"]]}, "inside_layer_modules has 'attn.q', which is no linear"),
            ({"outside_layer_modules": ["words"]}, "outside_layer_modules has 'words', which is no module"),
            ({"config_names": {"hidden_size": "breadth"}}, "no 'breadth', which "),
            ({"layers_block_name": "net..stack"}, "'net..stack' is no module's name"),
            ({"inside_names": {"fc1": 5}}, "holds 5, expected a module's name"),
            ({"layers_block_name": "net.pile"}, "net.pile.0.")]:
        model, arch = renamed_opt(directory, **changes)
        result = run_failing("inspect", model, "--arch-file", arch)
        assert words in result, f"{changes}: {result}"
    _, err = run("inspect", model, "--arch-file", os.path.join(directory, "absent.json"), code=4)
    assert "absent.json" in err


def run_failing(*words):
    for code in (3, 4):
        try:
            return run(*words, code=code)[1]
        except AssertionError as error:
            last = error
    raise last


if __name__ == "__main__":
    main(tests_of(globals()))
