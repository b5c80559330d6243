"""The C decoder under sanitizers: conformance/decoder_c/fuzz.c, built, run, and asked about single streams."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "conformance" / "decoder_c"
NOT_LINKED = {"main.c", "serve.c", "decoder.c", "check.c", "support.c", "fuzz.c"}          # fuzz.c includes support.c
FLAGS = ["-std=c99", "-O1", "-g", "-ffp-contract=off", "-fno-sanitize-recover=all"]
ENVIRONMENT = {**os.environ,
               "ASAN_OPTIONS": "max_allocation_size_mb=256:hard_rss_limit_mb=2048:allocator_may_return_null=0",
               "UBSAN_OPTIONS": "print_stacktrace=1"}


def compiler() -> str | None:
    """gcc or clang, or nothing."""
    return next((c for c in ("gcc", "clang", "cc") if shutil.which(c)), None)


def fuzzer_compiler() -> str | None:
    """A clang that has libFuzzer, or nothing."""
    names = ["clang", *(f"clang-{n}" for n in range(30, 10, -1))]
    return next((c for c in names if shutil.which(c) and _has_libfuzzer(c)), None)


def _has_libfuzzer(clang: str) -> bool:
    program = b"int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return !p || n > 9; }"
    command = [clang, "-fsanitize=fuzzer", "-x", "c", "-", "-o", os.devnull]
    done = subprocess.run(command, input=program, capture_output=True, check=False)
    return done.returncode == 0


def build(folder: Path, libfuzzer: bool = False) -> Path:
    """The harness, built in a folder. Raises CalledProcessError, or RuntimeError where there is no compiler."""
    cc, target = (fuzzer_compiler(), folder / "fuzz_coverage") if libfuzzer else (compiler(), folder / "fuzz")
    if cc is None:
        raise RuntimeError("there is no C compiler here")
    linked = sorted(str(p) for p in SOURCES.glob("*.c") if p.name not in NOT_LINKED)
    kind = ["-DLIBFUZZER", "-fsanitize=fuzzer,address,undefined"] if libfuzzer else ["-fsanitize=address,undefined"]
    subprocess.run([cc, *FLAGS, *kind, "-o", str(target), str(SOURCES / "fuzz.c"), *linked, "-lm"], check=True)
    return target


def _references(folders: Sequence[Path]) -> list[str]:
    return [part for f in folders for part in ("--reference", str(f))]


@dataclass
class Run:
    """What came of a run of damaged streams. fault: what the sanitizer or the harness says, if anything."""

    counts: dict
    fault: str
    last: Path


def run(harness: Path, count: int, seed: int, streams: Sequence[Path], references: Sequence[Path], last: Path) -> Run:
    """Damaged streams by the harness's own mutator. last: a file that keeps the input of a fault."""
    command = [str(harness), "run", str(count), str(seed), str(last), *_references(references), *map(str, streams)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, errors="replace")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{\"inputs\"")]
    fault = "" if done.returncode == 0 else f"exit {done.returncode}\n{done.stderr[-4000:]}"
    return Run(json.loads(lines[-1]) if lines else {}, fault, last)


def run_coverage(harness: Path, count: int, seed: int, corpus: Path, streams: Path, references: Sequence[Path]) -> Run:
    """Damaged streams guided by coverage (libFuzzer). corpus: a folder that grows; streams: that of the first ones."""
    environment = {**ENVIRONMENT, "OMC_REFERENCES": ":".join(map(str, references))}
    last = corpus.parent / "coverage-"
    command = [str(harness), f"-runs={count}", f"-seed={seed}", "-max_len=16384", "-timeout=20", "-rss_limit_mb=2048",
               "-print_final_stats=1", f"-artifact_prefix={last}", str(corpus), str(streams)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, errors="replace")
    counts = {"inputs": _final(done.stderr, "number_of_executed_units"), "corpus": len(list(corpus.iterdir()))}
    return Run(counts, "" if done.returncode == 0 else f"exit {done.returncode}\n{done.stderr[-4000:]}", last)


def _final(text: str, name: str) -> int:
    return next((int(line.split()[-1]) for line in text.splitlines() if f"stat::{name}:" in line), 0)


class Server:
    """The C decoder as a process that answers stream by stream: {"digest": ...}, {"code": ...} or {"feature": ...}."""

    def __init__(self, harness: Path, references: Sequence[Path]):
        self.command = [str(harness), "serve", *_references(references)]
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=pipe, env=ENVIRONMENT)

    def ask(self, data: bytes) -> dict:
        """{"fault": ...} where the process died, which is started again."""
        try:
            self.process.stdin.write(struct.pack("<I", len(data)) + data)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        text = self.process.stderr.read().decode(errors="replace")
        self.close()
        self.process = self._start()
        return {"fault": text[-4000:] or "the process ended"}

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
