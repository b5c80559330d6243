"""Fuzz everything that takes bytes from strangers, and print what came of it.

    python -m tools.fuzz                      # the long run: 1,000,000 inputs over the C decoder, 100,000 over Python's
    python -m tools.fuzz --scale 0.01         # a hundredth of it
    python -m tools.fuzz --only c --seed 7    # one campaign, other inputs

Campaigns: c (the C decoder under AddressSanitizer and UndefinedBehaviorSanitizer, its own mutator), coverage (the same,
guided by coverage, where clang has libFuzzer), python (the reference decoder), differential (both decoders have to
agree, digests made anew), bins (the same for payloads of BINS, drawn at random), tools (info and trace), validate,
files (ONNX, safetensors, npz, npy).  NUMBA_BOUNDSCHECK=1 with a folder of its own in REFCODEC_CACHE has the compiled
loops tell every index that is out of range.
A fault is a crash, a sanitizer's report, an unlisted code, no answer within seconds of computing, memory beyond the
budget, or a model that is not what the stream says (WRONG-ACCEPT). Its input is kept in the folder of --out.
Exit codes: 0 no fault; 1 faults; 2 no compiler for the C decoder (the other campaigns were run).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tqdm import tqdm

from . import c_harness, campaigns, python_targets
from .campaigns import Seeds
from .python_targets import Tally

COUNTS = {"c": 1_000_000, "coverage": 200_000, "python": 100_000, "differential": 20_000, "bins": 100_000,
          "tools": 10_000, "validate": 10_000, "files": 50_000}


class Runs:
    """The campaigns. work: a folder for what is built; out: one for the inputs of faults."""

    def __init__(self, seed: int, work: Path, out: Path, quiet: bool):
        self.seed, self.work, self.out, self.quiet = seed, work, out, quiet
        self.seeds: Seeds = campaigns.seeds()

    def _python(self, name: str, count: int, campaign: Callable[..., Tally]) -> Tally:
        hidden = self.quiet or not sys.stderr.isatty()
        with tqdm(total=count, desc=name, unit="input", disable=hidden, leave=False) as bar:
            return campaign(bar.update)

    def python(self, count: int) -> Tally:
        return self._python("python", count, lambda p: campaigns.fuzz_decoder(self.seeds, count, self.seed, p))

    def differential(self, count: int) -> Tally:
        server = c_harness.Server(c_harness.build(self.work), self.seeds.folders)
        try:
            return self._python("differential", count,
                                lambda p: campaigns.fuzz_differential(self.seeds, server, count, self.seed, p))
        finally:
            server.close()

    def bins(self, count: int) -> Tally:
        server = c_harness.Server(c_harness.build(self.work), []) if c_harness.compiler() else None
        try:
            return self._python("BINS", count, lambda p: campaigns.fuzz_bins(server, count, self.seed, p))
        finally:
            if server:
                server.close()

    def tools(self, count: int) -> Tally:
        inputs = campaigns.stream_files(self.seeds, self.seed)
        return self._python("tools", count,
                            lambda p: campaigns.fuzz_files("info and trace", inputs, python_targets.describe, count, p))

    def validate(self, count: int) -> Tally:
        target = python_targets.validator()
        inputs = campaigns.stream_files(self.seeds, self.seed)
        return self._python("validate", count,
                            lambda p: campaigns.fuzz_files("validate", inputs, target, count, p))

    def files(self, count: int) -> Tally:
        inputs = campaigns.model_files(self.seed)
        return self._python("files", count,
                            lambda p: campaigns.fuzz_files("model files", inputs, python_targets.read_model, count, p))

    def c(self, count: int) -> Tally:
        streams = [campaigns.MANIFEST.parent / "streams" / f"{s.name}.omc" for s in self.seeds.all]
        last, began = self.work / "last", time.monotonic()
        done = c_harness.run(c_harness.build(self.work), count, self.seed, streams, self.seeds.folders, last)
        return self._of_c("C decoder", done, began)

    def coverage(self, count: int) -> Tally | None:
        if c_harness.fuzzer_compiler() is None:
            return None
        corpus, streams, began = self.work / "corpus", self.work / "streams", time.monotonic()
        corpus.mkdir()
        streams.mkdir()
        for s in self.seeds.all:
            (streams / s.name).write_bytes(s.data)
        harness = c_harness.build(self.work, libfuzzer=True)
        done = c_harness.run_coverage(harness, count, self.seed, corpus, streams, self.seeds.folders)
        return self._of_c("C decoder, by coverage", done, began)

    def _of_c(self, name: str, done: c_harness.Run, began: float) -> Tally:
        tally = Tally(name, done.counts.get("inputs", 0), seconds=time.monotonic() - began)
        tally.slowest = done.counts.get("slowest", 0.0)
        shown = ("decoded", "rejected", "unsupported", "corpus")
        tally.answers.update({k: v for k, v in done.counts.items() if k in shown})
        if done.fault:
            kept = sorted(done.last.parent.glob(f"{done.last.name}*"))
            tally.fault(done.fault, kept[-1].read_bytes() if kept else b"")
        return tally

    def keep(self, name: str, tally: Tally) -> None:
        """The inputs of faults, made shorter where Python's decoder has them."""
        def fails(data: bytes) -> bool:
            with python_targets.limits():
                run = partial(python_targets.decode, data, self.seeds.references)
                return python_targets.timed(Tally(""), data, run) is None

        for number, (description, data) in enumerate(tally.faults):
            data = campaigns.minimised(data, fails) if name == "python" and fails(data) else data
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / f"{name}-{number}").write_bytes(data)
            (self.out / f"{name}-{number}.txt").write_text(description + "\n", encoding="utf-8")


def table(tallies: list[Tally]) -> str:
    """One line a campaign."""
    lines = [f"{'campaign':<24} {'inputs':>9} {'seconds':>9} {'slowest':>8} {'accepted':>9} {'faults':>7}"]
    for t in tallies:
        accepted = t.answers["accepted"] + t.answers["decoded"]
        lines.append(f"{t.name:<24} {t.inputs:>9} {t.seconds:>9.1f} {t.slowest:>8.3f} {accepted:>9} {len(t.faults):>7}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(COUNTS), default=[],
                        help="this campaign; may be given again")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X",
                        help="so many times the inputs of the long run")
    parser.add_argument("--count", type=int, metavar="N", help="inputs of each campaign, in place of its own number")
    parser.add_argument("--seed", type=int, default=1, help="other inputs")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), metavar="FOLDER",
                        help="for the inputs of faults")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    arguments = parser.parse_args()
    tallies, left_out = [], []
    with tempfile.TemporaryDirectory(prefix="omc-fuzz-") as work:
        runs = Runs(arguments.seed, Path(work), arguments.out, arguments.json)
        for name in arguments.only or COUNTS:
            if name in ("c", "differential") and c_harness.compiler() is None:
                left_out.append(name)
                continue
            tally = getattr(runs, name)(arguments.count or max(1, round(COUNTS[name] * arguments.scale)))
            if tally is None:
                print(f"{name}: not here", file=sys.stderr)
                continue
            runs.keep(name, tally)
            tallies.append(tally)
    shown = [{"campaign": t.name, "inputs": t.inputs, "seconds": round(t.seconds, 1), "slowest": round(t.slowest, 3),
              "answers": t.answers, "faults": [f.splitlines()[0] for f, _ in t.faults]} for t in tallies]
    print(json.dumps(shown, indent=1) if arguments.json else table(tallies))
    for t in tallies:
        print("".join(f"{t.name}: {f.splitlines()[0][:300]}\n" for f, _ in t.faults[:20]), end="", file=sys.stderr)
    if any(t.faults for t in tallies):
        return 1
    return 2 if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
