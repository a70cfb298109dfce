#!/usr/bin/env python3
"""llama_peer.py QUAVER MODEL GGUF [--threads N] [--rounds N] [--prompt 512] [--generated 128] [--bench OPTIONS]

Tokens a second of quaver and of llama.cpp (llama-cpp-python from PyPI) on the same model, in turns: a
prompt of so many tokens read into an empty context, and so many tokens generated one by one from an
empty context. MODEL is a checkpoint directory for `quaver bench`, GGUF a file of equal bits, such as

  python3 convert_hf_to_gguf.py CHECKPOINT --outtype bf16 --outfile plain.gguf     (llama.cpp's own script)
  python3 bench/llama_peer.py --quantize plain.gguf q4_0.gguf Q4_0

The medians of the rounds count. Needs llama-cpp-python and numpy."""
import argparse
import json
import statistics
import subprocess
import sys
import time


def quantize(source, target, kind):
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, "LLAMA_FTYPE_MOSTLY_" + kind)
    if llama_cpp.llama_model_quantize(source.encode(), target.encode(), params) != 0:
        sys.exit(f"{source}: llama.cpp cannot quantize it")


class Peer:
    def __init__(self, a):
        import llama_cpp

        size = max(a.prompt, a.generated) + 8
        self.a = a
        self.model = llama_cpp.Llama(a.gguf, n_ctx=size, n_batch=a.prompt, n_ubatch=a.prompt, n_threads=a.threads,
                                     n_threads_batch=a.threads, verbose=False)
        self.ids = [(i * 7919) % 1000 + 100 for i in range(size)]

    def prompt(self):
        self.model.reset()
        start = time.monotonic()
        self.model.eval(self.ids[: self.a.prompt])
        return self.a.prompt / (time.monotonic() - start)

    def generated(self):
        self.model.reset()
        start = time.monotonic()
        for i in range(self.a.generated):
            self.model.eval([self.ids[i]])
        return self.a.generated / (time.monotonic() - start)


def ours(a):
    said = subprocess.run([a.quaver, "bench", a.model, "-p", str(a.prompt), "-n", str(a.generated), "-r", "1", "-t",
                           str(a.threads), "--json", *a.bench.split()], check=True, stdout=subprocess.PIPE, text=True)
    return [(r["tokens_per_second"], r["of_limit"]) for r in json.loads(said.stdout)["results"]]


def main():
    if sys.argv[1:2] == ["--quantize"]:
        return quantize(*sys.argv[2:5])
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("quaver", "model", "gguf"):
        p.add_argument(name)
    for name, value in (("threads", 2), ("rounds", 3), ("prompt", 512), ("generated", 128)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--bench", default="", help="more options of quaver bench")
    a = p.parse_args()
    peer = Peer(a)
    peer.prompt()
    rows = []
    for _ in range(a.rounds):
        (prompt, of_fma), (generated, of_read) = ours(a)
        rows.append((prompt, generated, of_fma, of_read, peer.prompt(), peer.generated()))
    prompt, generated, of_fma, of_read, their_prompt, their_generated = map(statistics.median, zip(*rows))
    print(f"prompt {a.prompt}: quaver {prompt:.1f}, llama.cpp {their_prompt:.1f} tokens/s: {prompt / their_prompt:.2f} of it; "
          f"{of_fma:.2f} of the f32 multiply-add rate")
    print(f"generated {a.generated}: quaver {generated:.1f}, llama.cpp {their_generated:.1f} tokens/s: "
          f"{generated / their_generated:.2f} of it; {of_read:.2f} of the read rate")


main()
