"""How fast, and how small: OMC beside the fast lossless codecs on files of 200 MB to 1 GB, and the figures to reach.

    python tools/bench_speed.py --quick [--seed 7]               generated and joined bf16, the nearest peers: minutes
    python tools/bench_speed.py [--seed 7] [--json FILE]         everything (one to two hours)
    python tools/bench_speed.py --only lossless --types fp32     a part

lossless  joined and generated files of each type: zstd -3, -19, ZipNN, pcodec 8, 12, OpenZL, lmzip, bigsmall, z4ai
updates   bf16 files of which 1, 2 and 4 % of the words changed: sparse index and value, XOR by zstd and by ZipNN, ...
levels    quantised weights: BINS against CC at equal error, and against NNCodec's speed of decoding
path      1 GB of bf16 from file to file by the command, with memory; one tensor of it
ratios    every model under CC, BINS and the default

Speeds are MB of the file per second of processors and of the clock, with one and two threads: the best of interleaved
rounds.  Every file that comes back is compared.  Files that are missing are made (tools/big_models.py), generated ones
with --seed; environments of the peers are made in the work folder, from PyPI.  Tables go to standard output, what is
measured meanwhile to standard error; a target that was missed does not change the exit code.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping

import big_models
from fetch_models import REPO, SOURCES
from peers.environments import BenchError, ensure_env, is_ready
from peers.steps import Step, run_steps, say, table
from speed import levels, path, targets
from speed.contest import OMC, Contestant, Measured, Workers, compete, median
from speed.made import blocks
from speed.output import TYPES, Tensor, write
from speed.targets import Target

OURS = (Contestant("OMC", OMC), Contestant(targets.BARE, OMC, encodes=False), Contestant("CC", OMC),
        Contestant("SHA-256", OMC, encodes=False, threads=False))
NEAREST = (Contestant("ZipNN", "lossless"), Contestant("pcodec 8", "lossless", threads=False),
           Contestant("zstd-3", "lossless", threads=False))
LOSSLESS = (*NEAREST, Contestant("pcodec 12", "lossless", threads=False),
            Contestant("OpenZL", "lossless", threads=False), Contestant("lmzip", "lmzip"),
            Contestant("bigsmall", "bigsmall"), Contestant("z4ai", "z4ai"),
            Contestant("zstd-19", "lossless", threads=False))
OPTIONAL = ("CC", *(c.name for c in LOSSLESS if c.name not in targets.FAST))
NEAREST_UPDATES = (Contestant("sparse", "lossless", threads=False), Contestant("xor zstd-3", "lossless", threads=False))
UPDATES = (*NEAREST_UPDATES, Contestant("xor ZipNN", "lossless"), Contestant("z4ai", "z4ai"),
           Contestant("lmzip", "lmzip"), Contestant("bigsmall", "bigsmall", threads=False),
           Contestant("xor zstd-19", "lossless", threads=False))
SECTIONS = ("lossless", "updates", "levels", "path", "ratios")
COST = {"lossless": 0.5, "updates": 0.3, "levels": 1.0, "path": 0.05, "ratios": 0.2}       # seconds per MB, roughly


class Bench:
    """The measurements asked for, as steps; what they find. results: rows by section.  targets: figures to reach."""

    def __init__(self, args: argparse.Namespace, workers: Workers):
        self.args, self.workers = args, workers
        self.results: dict[str, list[dict]] = {section: [] for section in args.only}
        self.targets: list[Target] = []
        self.environment = {**os.environ, "PYTHONPATH": str(REPO)}

    # Files

    def joined(self, label: str) -> pathlib.Path:
        found = self.args.big / f"joined-{label}.safetensors"
        if not found.exists():
            big_models.make_joined(self._making())
        return found

    def made(self, label: str, size: int = 210) -> pathlib.Path:
        """A generated file of the seed; with seed 1 the one that big_models.py makes."""
        name = f"made-{label}{'-1g' if size == 1000 else ''}" if self.args.seed == 1 else (
            f"made-{label}-{size}-{self.args.seed}")
        found = self.args.big / f"{name}.safetensors"
        big_models.make_made(self._making(), label, size, found)
        return found

    def update(self, base: pathlib.Path, share: float) -> pathlib.Path:
        name = big_models.update_name(base, share)
        if self.args.seed != 1 and base.stem.startswith("joined"):
            name = name.replace("-update-", f"-update-seed{self.args.seed}-")
        found = self.args.big / name
        big_models.make_update(self._making(), base, share, found)
        return found

    def _making(self) -> argparse.Namespace:
        return argparse.Namespace(out=self.args.big, wheels=None, again=False, seed=self.args.seed)

    # Sections

    def steps(self) -> list[Step]:
        makers: dict[str, Callable[[], list[Step]]] = {
            "lossless": self.lossless, "updates": self.updates, "levels": self.levels, "path": self.path,
            "ratios": self.ratios}
        return [Step("codec", "its loops are compiled", 30, self.warm_up),
                *(step for section in self.args.only for step in makers[section]())]

    def warm_up(self) -> list[dict]:
        """Codes a small file of each type, alone and as an update, so that loops are compiled before they are timed."""
        worker, folder = self.workers[OMC], self.args.work / "warm-up"
        for label in TYPES:
            old, new = (folder / f"{label}-{seed}.safetensors" for seed in (1, 2))
            for seed, file in enumerate((old, new)):
                write(file, label, [Tensor("w", (512, 512), functools.partial(blocks, (512, 512), (1, seed)))])
            for reference in (None, str(old)):
                for name in ("OMC", "CC"):
                    worker.ask(do="open", codec=name, path=str(new), reference=reference)
                    worker.ask(do="encode", codec=name, threads=1)
                    worker.ask(do="decode", codec=name, threads=1)
                worker.ask(do="close")
        return []

    def _step(self, section: str, label: str, megabytes: float, run: Callable[[], list[dict]]) -> Step:
        return Step(section, label, 1 + megabytes * COST[section], run)

    def lossless(self) -> list[Step]:
        types = ["bf16"] if self.args.quick else self.args.types
        return [self._step("lossless", f"{source} {label}", 500 if source == "joined" and label == "fp32" else 250,
                           functools.partial(self._lossless, source, label))
                for label in types for source in ("joined", "made")]

    def _lossless(self, source: str, label: str) -> list[dict]:
        file = self.joined(label) if source == "joined" else self.made(label)
        contestants = [c for c in (*OURS, *(NEAREST if self.args.quick else LOSSLESS))
                       if c.name not in self.args.without]
        found = compete(self.workers, contestants, file, rounds=self.args.rounds, say=say)
        self.targets += targets.lossless(file.stem, label, found)
        return rows_of(file.stem, found)

    def updates(self) -> list[Step]:
        shares = (0.02,) if self.args.quick else big_models.SHARES
        return [self._step("updates", f"{source} bf16, {100 * share:g} % of the words", 250,
                           functools.partial(self._update, source, share))
                for source in ("joined", "made") for share in shares]

    def _update(self, source: str, share: float) -> list[dict]:
        base = self.joined("bf16") if source == "joined" else self.made("bf16")
        file = self.update(base, share)
        ours = [c for c in OURS if c.name != "SHA-256"]
        found = compete(self.workers, [*ours, *(NEAREST_UPDATES if self.args.quick else UPDATES)], file, base,
                        rounds=self.args.rounds, say=say)
        self.targets += targets.update(file.stem, found)
        return rows_of(file.stem, found)

    def levels(self) -> list[Step]:
        models = ["magika"] if self.args.quick else levels.MODELS
        bits = (3,) if self.args.quick else levels.BITS
        for model in models:
            self._npz(model)
        steps = [self._step("levels", f"{model}, {b} bits", 10, functools.partial(self._level_sizes, model, b))
                 for model in models for b in bits]
        return steps if self.args.quick else [*steps, self._step("levels", "speed", 210, self._level_speeds)]

    def _level_sizes(self, model: str, bits: int) -> list[dict]:
        return [levels.size_row(self._npz(model), bits, states) for states in levels.LEVELS]

    def _npz(self, model: str) -> pathlib.Path:
        npz: pathlib.Path = self.args.models / "bench" / f"{model}.npz"
        if not npz.exists():
            raise BenchError(f"{npz} is not there: python tools/fetch_models.py --out {self.args.models}")
        return npz

    def _level_speeds(self) -> list[dict]:
        npz = levels.as_npz(self.made("fp32"), self.args.work / "levels")
        found = levels.speeds(self.workers, npz, 4, self.args.rounds, say)
        rate = {name: measured.speed("decode") or 0.0 for name, measured in found.items()}
        self.targets += [targets.level_speed(npz.stem, rate[name], rate["NNCodec"], name.split(",")[0])
                         for name in levels.LEVELS.values()]
        return [{"model": npz.stem, "codec": name, "bits/w": 8 * measured.bytes / measured.size,
                 "enc Mw/s": measured.speed("encode"), "dec Mw/s": rate[name],
                 "dec Mw/s, clock": measured.speed("decode", clock="wall")} for name, measured in found.items()]

    def path(self) -> list[Step]:
        size = 210 if self.args.quick else 1000
        return [self._step("path", f"{size} MB of bf16", size, functools.partial(self._path, size))]

    def _path(self, size: int) -> list[dict]:
        file = self.made("bf16", size)
        rows, largest = path.round_trip(file, self.args.work / "path", self.environment, 2, min(3, self.args.rounds))
        if size == 1000:
            self.targets += targets.file_to_file(file.stem, rows, largest)
        return [{"file": file.stem, "what": what, "threads": 2, **row} for what, row in rows.items()]

    def ratios(self) -> list[Step]:
        if self.args.quick:
            return []
        small = [file for source in SOURCES if (file := self.args.models / source.output).exists()]
        big = [*(functools.partial(make, label) for label in TYPES for make in (self.joined, self.made)),
               functools.partial(self.made, "bf16", 1000)]
        return [*(self._step("ratios", file.name, file.stat().st_size / 1e6,
                             functools.partial(self._ratio, functools.partial(pathlib.Path, file))) for file in small),
                *(self._step("ratios", "a large file", 300, functools.partial(self._ratio, make)) for make in big)]

    def _ratio(self, make: Callable[[], pathlib.Path]) -> list[dict]:
        file, worker, row = make(), self.workers[OMC], {}
        for name in ("CC", "BINS", "OMC fast", "OMC", "OMC best"):
            worker.ask(do="open", codec=name, path=str(file), reference=None)
            row[name] = file.stat().st_size / worker.ask(do="encode", codec=name, threads=2)["bytes"]
            worker.ask(do="close")
        return [{"model": file.name, "MB": round(file.stat().st_size / 1e6, 1),
                 **{{"OMC": "default"}.get(name, name.removeprefix("OMC ")): f"{ratio:.4f}"
                    for name, ratio in row.items()}}]


# ---- tables -----------------------------------------------------------------------------------------------------

def rows_of(file: str, found: Mapping[str, Measured]) -> list[dict]:
    """A row per codec: ratio, and MB/s: of processors and of the clock, with one and two threads; medians, too."""
    rows = []
    for name, measured in found.items():
        row: dict = {"file": file, "codec": name, "ratio": measured.ratio and f"{measured.ratio:.4f}"}
        for what in ("encode", "decode"):
            for threads in (1, 2):
                for clock, label in (("cpu", ""), ("wall", " clock")):
                    speed = measured.speed(what, threads, clock)
                    row[f"{what[:3]} {threads}{label}"] = speed and round(speed, 1)
        row["dec 1 median"] = round(measured.speed("decode", of=median) or 0, 1)
        rows.append({key: "" if value is None else value for key, value in row.items()})
    return rows


def ratios_to_peers(rows: list[dict]) -> list[dict]:
    """OMC / peer for every file: ratio, encoding and decoding, of processors' time, one thread."""
    ours = {row["file"]: row for row in rows if row["codec"] == "OMC"}
    found = []
    for row in rows:
        if row["codec"] not in ("OMC", "SHA-256", targets.BARE) and row["file"] in ours:
            own = ours[row["file"]]
            found.append({"file": row["file"], "OMC / ": row["codec"],
                          "ratio": f"{float(own['ratio']) / float(row['ratio']):.4f}",
                          "encode": own["enc 1"] / row["enc 1"], "decode": own["dec 1"] / row["dec 1"]})
    return found


def print_section(name: str, rows: list[dict]) -> None:
    print(f"## {name}\n")
    if name == "levels":
        table([row for row in rows if "% over CC" in row])
        table([row for row in rows if "codec" in row])
        return
    table(rows)
    if name in ("lossless", "updates"):
        table(ratios_to_peers(rows))


def bench(args: argparse.Namespace) -> None:
    """Runs the sections; each is printed when it is whole, the figures to reach at the end."""
    args.work.mkdir(parents=True, exist_ok=True)
    before = path.machine()
    with Workers(args.work, REPO, dict(os.environ)) as workers:
        run = Bench(args, workers)
        steps = [*installations(args), *run.steps()]
        last = {step.section: step for step in steps}

        def done(step: Step, rows: list[dict]) -> None:
            if step.section not in run.results:
                return
            run.results[step.section] += rows
            keep(args, run, before)
            if step is last[step.section]:
                if step.section == "levels":
                    run.targets += targets.level_sizes([r for r in run.results["levels"] if "% over CC" in r])
                print_section(step.section, run.results[step.section])

        run_steps(steps, done)
        keep(args, run, before)
    print("## figures to reach\n")
    table([target.row() for target in run.targets])
    print(f"{targets.missed(run.targets)} of {len(run.targets)} missed; seed {args.seed}; load of the machine "
          f"{before['load'][0]} before, {path.machine()['load'][0]} after")


def keep(args: argparse.Namespace, run: Bench, before: dict) -> None:
    if args.json:
        args.json.write_text(json.dumps({
            "machine": before, "seed": args.seed, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **run.results, "targets": [{**target._asdict(), "met": target.met} for target in run.targets]}, indent=1))


def installations(args: argparse.Namespace) -> list[Step]:
    """A step for each environment of the peers that has to be made."""
    names = {"lossless": ["lossless"] if args.quick else ["lossless", "lmzip", "bigsmall", "z4ai"],
             "updates": ["lossless"] if args.quick else ["lossless", "lmzip", "bigsmall", "z4ai"],
             "levels": [] if args.quick else ["nncodec"]}

    def install(name: str) -> list[dict]:
        ensure_env(args.work, name)
        return []

    wanted = dict.fromkeys(name for section in args.only for name in names.get(section, ()))
    return [Step("environments", name, 60, functools.partial(install, name)) for name in wanted
            if not is_ready(args.work, name)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--types", nargs="+", choices=TYPES, default=["bf16", "fp16", "fp32"], help="of lossless")
    parser.add_argument("--quick", action="store_true", help="bf16 only, the nearest peers, no ratios, no NNCodec")
    parser.add_argument("--without", nargs="+", default=[], metavar="CODEC", choices=OPTIONAL,
                        help=f"leave codecs out of lossless: {', '.join(OPTIONAL)}")
    parser.add_argument("--seed", type=int, default=1, help="of generated files and updates (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="of decoding (default: 5)")
    parser.add_argument("--models", type=pathlib.Path, default=REPO / "models", help="folder of fetch_models.py")
    parser.add_argument("--big", type=pathlib.Path, help="folder of big_models.py (default: MODELS/big)")
    parser.add_argument("--work", type=pathlib.Path, default=REPO / ".bench", help="environments and streams")
    parser.add_argument("--json", type=pathlib.Path, help="write all rows and figures here")
    args = parser.parse_args()
    if args.rounds < 1 or args.seed < 0:
        parser.error("--rounds is at least 1, --seed at least 0")
    args.big = args.big or args.models / "big"
    try:
        bench(args)
    except (BenchError, OSError) as error:
        sys.exit(f"bench_speed: {error}")


if __name__ == "__main__":
    main()
