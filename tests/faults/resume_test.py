#!/usr/bin/env python3
"""resume_test.py QUAVER SOURCE FAULTS [--all]: kills and failing calls of the system.

FAULTS is the library of faults.cpp. A job that was killed at any call about files, or at any instant,
is ended by the same command with the bytes of an undisturbed run; a call that fails once gives these
bytes or a clean error. Without --all, only some of the calls are tried.
"""
import itertools
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from quaver import FIXTURES, MODEL, PROGRAM, copy_of, edit_json, files_of, main, run, tests_of  # noqa: E402

LIBRARY, ALL = os.path.abspath(sys.argv[3]), "--all" in sys.argv
LLAMA = os.path.join(FIXTURES, "llama")
TIMES = {"quaver-report.json", "report.html", "quaver-manifest.json"}  # files that hold times, and their hashes
MODULES = 14


class Job:
    """A command, and what it writes when nothing disturbs it."""

    def __init__(self, directory, model, *words):
        self.directory, self.model, self.words, self.numbers = directory, model, words, itertools.count(1)
        self.reference = self.files(self.ended(self.fresh()))

    @staticmethod
    def files(out):
        return {name: data for name, data in files_of(out).items() if name not in TIMES}

    def fresh(self):
        return os.path.join(self.directory, f"out{next(self.numbers)}")

    def start(self, out, *more, fault=None, counts=None):
        env = dict(os.environ)
        if fault or counts:
            env["LD_PRELOAD"] = LIBRARY
        if fault:
            env["QUAVER_FAULT"] = fault
        if counts:
            env["QUAVER_FAULT_COUNT"] = counts
        return subprocess.Popen([PROGRAM, "quantize", self.model, out, *self.words, *more], env=env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(self, out, *more):
        process = self.start(out, "--quiet", *more)
        _, err = process.communicate()
        assert process.returncode == 0, err
        return out

    def check(self, out, what, remark=""):
        """The files are those of an undisturbed run, and nothing else lies about but what `remark` owns up to."""
        found = self.files(out)
        if "is not needed and cannot be removed" in remark:
            found = {name: data for name, data in found.items() if name in self.reference}
        assert found.keys() == self.reference.keys(), (what, found.keys() ^ self.reference.keys())
        for name, data in found.items():
            assert data == self.reference[name], f"{what}: {name} differs"
        beside = [name for name in os.listdir(self.directory) if name.startswith(os.path.basename(out) + ".")]
        assert not beside, (what, beside)

    def resume(self, out, what, *more):
        self.check(self.ended(out, *more), what)

    def counts(self):
        file = os.path.join(self.directory, "counts")
        _, err = self.start(self.fresh(), counts=file).communicate()
        with open(file) as f:
            return {kind: int(count) for kind, count in (line.split() for line in f)}


def tiny_job(directory, *words, model=LLAMA):
    ids = os.path.join(directory, "ids.json")
    with open(ids, "w") as f:
        json.dump([[(i * i + 7 * j) % 160 for i in range(32)] for j in range(8)], f)
    return Job(directory, model, "--group-size", "32", "--calibration", ids, "--samples", "8",
               "--seqlen", "32", "--threads", "2", *words)


def some(count, most):
    """Numbers from 1 to count; without --all at most some `most` of them."""
    step = 1 if ALL else max(1, count // most)
    return range(1 + (0 if ALL else random.randrange(step)), count + 1, step)


def each(cases, work):
    """work(*case) for all, several at a time: half of a small job is waiting for the disk."""
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        tasks = [pool.submit(work, *case) for case in cases]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def solved(events):
    """Names of the modules that a run said it had solved."""
    names = []
    if os.path.exists(events):
        with open(events) as f:
            for line in f.read().split("\n")[:-1]:
                event = json.loads(line)
                if "module" in event:
                    names.append(event["module"])
    return names


def test_killed_at_every_boundary(directory):
    job = tiny_job(directory)

    def killed(fault):
        out = job.fresh()
        events = out + "-events"
        process = job.start(out, "--quiet", "--events", events, fault=fault)
        process.communicate()
        assert process.returncode in (0, -9), (fault, process.returncode)
        done = set(solved(events))
        resumed = job.start(out)
        _, err = resumed.communicate()
        assert resumed.returncode == 0, (fault, err)
        job.check(out, fault)
        # Whatever was said to be solved is not solved again: at most what was at work.
        if process.returncode == -9 and 0 < len(done) and "going on behind" in err:
            known = int(err.split("going on behind ")[1].split()[0])
            assert known >= len(done), (fault, known, done)
        shutil.rmtree(out)

    faults = []
    for kind, count in job.counts().items():
        most = {"sync": 20, "rename": 20, "write": 12, "directory": 12}.get(kind, 6)
        for call in some(count, most):
            actions = ["kill", "torn"] if kind in ("write", "copy") else ["kill"]
            faults += [(f"{kind}:{call}:{action}",) for action in actions]
    each(faults, killed)


def test_killed_at_any_instant(directory):
    job = Job(directory, MODEL, "--samples", "4", "--seqlen", "64", "--threads", "2", "--quiet")
    start = time.monotonic()
    job.ended(job.fresh())
    whole = time.monotonic() - start
    kills, out = 0, job.fresh()
    while kills < (200 if ALL else 20):
        process = job.start(out)
        try:
            process.communicate(timeout=random.uniform(0, 0.7 * whole))
            assert process.returncode == 0
            job.check(out, f"after {kills} kills")
            out = job.fresh()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    job.resume(out, f"after {kills} kills", "--threads", "1")


def test_methods_without_calibration_go_on(directory):
    job = Job(directory, LLAMA, "--method", "rtn", "--group-size", "32", "--threads", "2")
    for call in some(job.counts()["sync"], 8):
        out = job.fresh()
        job.start(out, fault=f"sync:{call}:kill").communicate()
        job.resume(out, f"rtn, sync {call}")


def test_killed_at_the_head(directory):
    job = tiny_job(directory, "--lm-head", model=os.path.join(FIXTURES, "opt"))
    counts = job.counts()

    def killed(kind, call):
        out = job.fresh()
        job.start(out, fault=f"{kind}:{call}:kill").communicate()
        job.resume(out, f"head, {kind} {call}", "--threads", str(1 + call % 3))

    # Behind the last block: its outputs, the head, the files of OUT.
    each([(kind, call) for kind in ("sync", "rename")
          for call in range(1 if ALL else counts[kind] * 2 // 3, counts[kind] + 1)], killed)


def test_killed_while_modules_are_made_again(directory):
    chosen = ["--redo", r"layers\.1\..*(q_proj|up_proj|down_proj)", "--set", "damp=0.2,bits=8"]
    job = tiny_job(directory)
    old, first, file = job.reference, job.ended(job.fresh()), os.path.join(directory, "redo-counts")

    def copy_of_first():
        out = job.fresh()
        shutil.copytree(first, out)
        return out

    changed = copy_of_first()
    job.start(changed, *chosen, counts=file).communicate()
    job.reference = new = job.files(changed)
    assert new["model.safetensors"] != old["model.safetensors"]
    with open(file) as f:
        counts = {kind: int(count) for kind, count in (line.split() for line in f)}

    def killed(kind, call):
        out = copy_of_first()
        job.start(out, *chosen, fault=f"{kind}:{call}:kill").communicate()
        if os.path.exists(out):  # it is what it was, or what it becomes
            found = job.files(out)
            assert {name: found.get(name) for name in old} in (old, new), (kind, call)
        job.resume(out, f"redo, {kind} {call}", *chosen, "--threads", str(1 + call % 3))

    each([(kind, call) for kind in ("sync", "rename", "write", "remove")
          for call in some(counts[kind], 12)], killed)


ERRORS = {"open": ["EIO", "EMFILE"], "read": ["EIO", "EINTR", "short"],
          "write": ["ENOSPC", "EINTR", "short", "EIO"], "sync": ["EIO", "ENOSPC"],
          "rename": ["EIO", "ENOSPC"], "map": ["ENOMEM"], "directory": ["ENOSPC"],
          "remove": ["EIO", "EACCES"], "truncate": ["EIO"], "copy": ["ENOSPC", "EINTR", "short", "EIO"]}
HARMLESS = {"EINTR", "short"}  # for reads and writes: what every program must go on after


def test_every_call_fails_once(directory):
    job = tiny_job(directory)

    def failed(kind, call, error):
        fault = f"{kind}:{call}:{error}"
        out = job.fresh()
        process = job.start(out, fault=fault)
        _, err = process.communicate()
        if process.returncode == 0:
            job.check(out, fault, err)
            job.resume(out, f"again after {fault}")
        else:
            assert error not in HARMLESS, (fault, err)
            assert process.returncode in (3, 4), (fault, process.returncode, err)
            assert "quaver: " in err, (fault, err)
            if os.path.exists(out):  # it was whole before the call
                found = job.files(out)
                assert {name: found.get(name) for name in job.reference} == job.reference, fault
            job.resume(out, fault)
        shutil.rmtree(out)

    faults = []
    for kind, count in job.counts().items():
        for call in some(count, 16):
            errors = ERRORS[kind] if ALL else [ERRORS[kind][len(faults) % len(ERRORS[kind])]]
            faults += [(kind, call, error) for error in errors]
    each(faults, failed)


def test_torn_and_damaged_journals(directory):
    job = tiny_job(directory)
    out = job.fresh()
    half = job.counts()["rename"] // 2
    job.start(out, fault=f"rename:{half}:kill").communicate()
    journal = os.path.join(out + ".partial", "work", "journal")
    with open(journal, "rb") as f:
        whole = f.read()
    assert whole.count(b"\n") > 3
    kept = files_of(out + ".partial")
    # A record ends at each line end: all lengths about these, and some within records.
    ends = {end + near for end, byte in enumerate(whole) if byte == 10 for near in range(-20, 3)}
    lengths = {length for length in ends | set(range(0, len(whole), 7)) if 0 <= length <= len(whole)}
    if not ALL:
        lengths = random.sample(sorted(lengths), 12)
    damages = [whole[:length] for length in lengths]
    for _ in range(200 if ALL else 12):  # one bit, and bytes that a crash leaves behind
        at = random.randrange(len(whole))
        damages.append(whole[:at] + bytes([whole[at] ^ 1 << random.randrange(8)]) + whole[at + 1:])
        damages.append(whole + bytes(random.randrange(100)))

    def resumed(damaged):
        out = job.fresh()
        for name, data in kept.items():
            path = os.path.join(out + ".partial", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(damaged if name == "work/journal" else data)
        job.resume(out, f"a journal of {len(damaged)} bytes")
        shutil.rmtree(out)

    each([(damaged,) for damaged in damages], resumed)


def flip_in_tensor(path, part):
    """Changes a bit in the middle of the first tensor of a safetensors file whose name has `part`; returns the name."""
    with open(path, "r+b") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        name = sorted(name for name in header if part in name)[0]
        f.seek(8 + size + sum(header[name]["data_offsets"]) // 2)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 4]))
    return name


def test_damaged_work_is_made_again(directory):
    job = tiny_job(directory)
    last = job.counts()["rename"]
    for part in (".0.self_attn.q_proj.qweight", ".1.mlp.down_proj.scales", "chunk"):
        out = job.fresh()
        job.start(out, fault=f"rename:{last - 2}:kill").communicate()
        partial = out + ".partial"
        states = [name for name in os.listdir(os.path.join(partial, "work")) if name.startswith("hidden-")]
        folder = os.path.join(partial, "work", states[0]) if part == "chunk" else partial
        name = flip_in_tensor(os.path.join(folder, "model.safetensors"), part)
        _, err = job.start(out).communicate()
        assert "is not what the journal says; it is made again" in err, err
        job.check(out, f"with {name} damaged")


def test_a_shard_of_another_size_is_made_again(directory):
    job = tiny_job(directory)
    for damage in (lambda path: os.remove(path), lambda path: os.truncate(path, 1000),
                   lambda path: os.truncate(path, 0)):
        out = job.fresh()
        job.start(out, fault=f"rename:{job.counts()['rename'] - 2}:kill").communicate()
        damage(os.path.join(out + ".partial", "model.safetensors"))
        _, err = job.start(out).communicate()
        assert err.count("it is made again") == MODULES, err
        job.check(out, "without the shard that was there")


def test_another_job_is_refused_by_name(directory):
    model = copy_of(LLAMA, directory)
    job = tiny_job(directory)
    job.model = model
    out = job.fresh()
    job.start(out, fault="rename:5:kill").communicate()
    before = files_of(out + ".partial")
    process = job.start(out, "--bits", "3")
    _, err = process.communicate()
    assert process.returncode == 2 and "options.bits is 4 there, 3 here" in err, err
    ids = os.path.join(directory, "ids.json")
    with open(ids) as f:
        windows = json.load(f)
    with open(ids, "w") as f:
        json.dump(windows[::-1], f)
    _, err = job.start(out).communicate()
    assert "of another calibration text" in err, err
    with open(ids, "w") as f:
        json.dump(windows, f)
    edit_json(os.path.join(model, "config.json"), rms_norm_eps=0.001)
    _, err = job.start(out).communicate()
    assert "of another model" in err, err
    assert files_of(out + ".partial") == before
    process = job.start(out, "--overwrite")
    process.communicate()
    assert process.returncode == 0


def test_killed_while_it_replaces_an_output(directory):
    job = tiny_job(directory)
    count = job.counts()["rename"] + 1
    for call in range(count - 3, count + 1):
        for kind in ("rename", "remove"):
            out = job.fresh()
            run("quantize", LLAMA, out, "--method", "rtn", "--group-size", "32", "--quiet")
            job.start(out, "--overwrite", fault=f"{kind}:{call}:kill").communicate()
            assert os.path.exists(out) or os.path.exists(out + ".partial")
            job.resume(out, f"{kind}:{call} while replacing", "--overwrite")
            stamp = os.stat(os.path.join(out, "config.json")).st_mtime_ns
            job.resume(out, "the same command again", "--overwrite")
            assert os.stat(os.path.join(out, "config.json")).st_mtime_ns == stamp


if __name__ == "__main__":
    main(tests_of(globals()))
