#!/usr/bin/env python3
"""usage_test.py QUAVER SOURCE: help, options, exit codes."""
import json
import os
import re
import subprocess

from quaver import FIXTURES, MODEL, PROGRAM, SOURCE, main, run, run_json, tests_of

COMMANDS = ["quantize", "plan", "generate", "chat", "eval", "forward", "tokenize", "detokenize", "inspect",
            "verify", "bench", "doctor"]
COMMON = ["--json", "--threads", "--device", "--quiet", "--verbose", "--config", "--events", "--help"]


def test_overview_lists_every_command(_):
    out, _ = run("--help")
    assert re.findall(r"^  (\w+)  ", out.split("Examples:")[0], re.M) == COMMANDS, out
    _, err = run(code=2)
    assert "Commands:" in err
    assert re.fullmatch(r"quaver \d+\.\d+\.\d+\n", run("--version")[0])


def test_help_of_every_command(_):
    for command in COMMANDS:
        out, err = run(command, "--help")
        assert out.startswith(f"Usage: quaver {command}") and err == "", out
        for option in COMMON:
            assert re.search(rf"^  {option}\b", out, re.M), f"{command}: {option}\n{out}"
        assert all(len(line) <= 140 for line in out.splitlines())
        examples = out.split("Examples:\n")[1].split("\n\n")[0].splitlines()
        assert len(examples) >= 2 and all(line.startswith("  ") for line in examples), out


def test_help_mentions_the_contract(_):
    contract = {
        "quantize": "method bits group-size sym asym desc-act act-group-aware "
                    "no-act-group-aware true-sequential no-true-sequential damp rule calibration "
                    "text-field samples seqlen seed format shard-size strict overwrite exact fast",
        "generate": "max-new-tokens temperature top-k top-p min-p typical-p repetition-penalty "
                    "frequency-penalty presence-penalty no-repeat-ngram-size min-new-tokens logit-bias "
                    "num-beams num-return-sequences length-penalty early-stopping "
                    "prompt-lookup-num-tokens kv-cache seed stop ids no-stream ignore-eos prompt-file",
        "chat": "system max-new-tokens temperature num-beams stop seed kv-cache exact fast",
        "eval": "text protocol context stride max-windows against exact fast",
        "forward": "ids out hidden exact fast",
        "tokenize": "file lines add-special-tokens",
        "detokenize": "file keep-special-tokens",
        "inspect": "tensors kernels",
        "verify": "inputs arch-file",
        "bench": "kernels",
        "doctor": "",
    }
    for command, options in contract.items():
        out, _ = run(command, "--help")
        for option in options.split():
            assert re.search(rf"--{option}\b", out), f"{command}: --{option} is not in its help"


def test_examples_run(directory):
    os.symlink(os.path.join(SOURCE, "models"), os.path.join(directory, "models"))
    path = os.path.dirname(PROGRAM) + os.pathsep + os.environ["PATH"]
    for command in COMMANDS:
        if command == "chat":
            continue  # needs a model with a chat template, which no shipped one has: chat_test.py
        out, _ = run(command, "--help")
        for line in out.split("Examples:\n")[1].split("\n\n")[0].splitlines():
            if command == "quantize":
                line += " --samples 4 --seqlen 128"
            result = subprocess.run(line, shell=True, cwd=directory, env={**os.environ, "PATH": path},
                                    capture_output=True, text=True)
            assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
            assert result.stdout.strip(), line


def test_wrong_usage_exits_with_2(directory):
    out = os.path.join(directory, "out")
    cases = [
        (["quantise"], "nearest known: quantize"),
        (["eval", MODEL, "--contex", "4"], "--context"),
        (["eval", MODEL, "--recipe", "best"], "unknown option '--recipe'"),
        (["quantize", MODEL], "usage: quaver quantize MODEL OUT"),
        (["quantize", MODEL, out, "more"], "unexpected argument 'more'"),
        (["quantize", MODEL, out, "--bits", "four"], "expected a whole number"),
        (["quantize", MODEL, out, "--bits", "5"], "5"),
        (["quantize", MODEL, out, "--group-size", "100"], "100"),
        (["quantize", MODEL, out, "--method", "gtpq"], "gptq"),
        (["quantize", MODEL, out, "--format", "ggml"], "gptq"),
        (["quantize", MODEL, out, "--rule", "fc[=skip"], "fc["),
        (["eval", MODEL, "--protocol", "other"], "strided"),
        (["eval", MODEL, "--threads", "0"], "--threads"),
        (["eval", MODEL, "--device", "cuda:0"], "'cuda:0'"),
        (["generate", MODEL, "x", "--top-p", "1.5"], "1.5"),
        (["generate", MODEL, "x", "--temperature"], "needs a value"),
        (["generate", MODEL, "x", "--ids", "y"], "exclude each other"),
        (["forward", MODEL, "--ids", "x.json"], "--out"),
        (["bench", MODEL, "-p", "1,,2"], "-p"),
        (["bench"], "MODEL"),
        (["doctor", "x"], "unexpected argument"),
    ]
    for words, wanted in cases:
        stdout, err = run(*words, code=2)
        assert stdout == "" and wanted in err, f"{words}: {err}"
    assert not os.path.exists(out) and not os.path.exists(out + ".partial")


def test_bad_files_exit_with_3(directory):
    ids = os.path.join(directory, "ids.json")
    cases = [(["eval", os.path.join(directory, "none")], "none"),
             (["inspect", directory], "config.json"),
             (["verify", os.path.join(directory, "none")], "none"),
             (["tokenize", os.path.join(FIXTURES, "opt"), "x"], "tokenizer"),
             (["detokenize", MODEL, "[1, -2]"], "-2"),
             (["detokenize", MODEL, "{"], "IDS"),
             (["generate", MODEL, "--ids", ids], "expected")]
    with open(ids, "w") as f:
        f.write('{"a": 1}')
    for words, wanted in cases:
        stdout, err = run(*words, code=3)
        assert stdout == "" and wanted in err, f"{words}: {err}"


def test_config_file_and_flag(directory):
    config = os.path.join(directory, "c.json")
    with open(config, "w") as f:
        json.dump({"context": 64, "max_windows": 3, "quiet": True}, f)
    assert run_json("eval", MODEL, "--config", config)["context"] == 64
    result = run_json("eval", MODEL, "--config", config, "--context", "32")
    assert result["context"] == 32 and result["windows"] == 3
    with open(config, "w") as f:
        json.dump({"contxt": 64}, f)
    _, err = run("eval", MODEL, "--config", config, code=2)
    assert "nearest known: context" in err


def test_quiet_and_events(directory):
    events = os.path.join(directory, "events.jsonl")
    out, err = run("eval", MODEL, "--context", "64", "--max-windows", "4", "--quiet", "--events", events)
    assert err == "" and "perplexity" in out
    with open(events) as f:
        lines = [json.loads(line) for line in f]
    assert lines[-1]["event"] == "finished" and all("time" in line for line in lines)


def test_doctor(_):
    report = run_json("doctor")
    assert report["measured"]["fma_gflops"] > 0 and report["measured"]["read_gbytes"] > 0
    assert report["cpu"]["isa_selected"] in report["cpu"]["isa_available"]
    capped = run_json("doctor", "--no-measure", env={"QUAVER_CPU": "generic"})
    assert capped["cpu"]["isa_selected"] == "generic" and capped["measured"] is None


if __name__ == "__main__":
    main(tests_of(globals()))
