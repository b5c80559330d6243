"""Two states of the codec side by side: what became smaller or larger, faster or slower.

    python tools/bench_compare.py BEFORE.json AFTER.json
    python tools/bench_compare.py --trees BEFORE AFTER [--rounds 5] [--models models] [--json FILE]

The first form compares what two runs of bench_peers.py --json measured, row by row; speeds of the peers, which have not
changed, say how far the machine itself was faster or slower.  The second measures two working copies of this repository
by turns, each with its own codec and its own tools/peers/workers/omc_worker.py: the jobs of bench_peers.py --quick,
without the peers.  Streams are compared by their SHA-256, times as the median over the rounds of BEFORE / AFTER, clock
and processors apart, with the smallest and the largest ratio: how noisy the machine was.

A ratio above 1 is better everywhere: smaller or faster.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
from collections.abc import Iterable

from bench_peers import ALL, CODERS, DTYPES, PUBLISHED, QUANTISED, prepare
from fetch_models import REPO
from peers import omc
from peers.environments import BenchError
from peers.steps import Step, run_steps, table

KEYS = {"quantised": ("model", "bits"), "lossless": ("model", "type"), "updates": ("pair",),
        "outputs": ("model", "SNR dB")}
OWN = ("OMC", *CODERS)             # what columns of our own begin with
SNRS = {"silero": 24.0, "magika": 18.0}             # dB: about 3 bits per weight


# ---- two files --------------------------------------------------------------------------------------------------

def ratios(before: dict, after: dict) -> list[dict]:
    """A row per column of sizes and speeds that both runs have: ours or a peer's, and the ratio of each measurement."""
    found: dict[tuple[bool, str], list[float]] = {}
    for section, keys in KEYS.items():
        known = {tuple(row[key] for key in keys): row for row in before.get(section, ())}
        for row in after.get(section, ()):
            old = known.get(tuple(row[key] for key in keys), {})
            for column in row:
                ratio, own = _ratio(section, column, old.get(column), row[column]), column.startswith((*OWN, "bytes"))
                if ratio is not None:
                    found.setdefault((own, f"{section}: {column}"), []).append(ratio)
    return [{"whose": "OMC" if own else "peer", "what": what, "rows": len(values), **_spread(values)}
            for (own, what), values in sorted(found.items(), key=lambda item: not item[0][0])]


def _ratio(section: str, column: str, before: float | None, after: float) -> float | None:
    """Above 1 where it became better; None: nothing to compare."""
    if not before or not after:
        return None
    if column.endswith("/s"):
        return after / before
    own_size = column.endswith(" bytes") or (column == "bytes" and section == "outputs")
    return before / after if own_size else None


def _spread(values: Iterable[float]) -> dict[str, str]:
    values = list(values)
    return {"median": f"{statistics.median(values):.4f}", "least": f"{min(values):.4f}", "most": f"{max(values):.4f}"}


# ---- two working copies -----------------------------------------------------------------------------------------

def jobs(models: pathlib.Path, work: pathlib.Path) -> dict[str, dict]:
    """Jobs of omc_worker.py by name: those of bench_peers.py --quick."""
    found = {}
    for name in QUANTISED[:2]:
        for label, coder in CODERS.items():
            found[f"{name} {label}"] = dict(file=models / "bench" / f"{name}.npz", speed=True,
                                            config={**coder, "snr": SNRS[name], "rules": ALL})
    model, data = models / PUBLISHED[1], REPO / "tests" / "data"
    for label, path in prepare(model, work).items():
        found[f"{model.stem} {label} lossless"] = dict(file=path, speed=True)
    old, new = (prepare(data / f"digits_v{version}.onnx", work)[next(iter(DTYPES))] for version in (1, 2))
    found["digits V1 to V2 lossless"] = dict(file=new, references=[old], speed=True)
    return found


TIMES = ("encode_seconds", "encode_cpu", "decode_seconds", "decode_cpu", "decode_seconds_2")


def compare_trees(args) -> bool:
    """Measures and prints; whether all streams are the same."""
    args.work.mkdir(parents=True, exist_ok=True)
    todo = jobs(args.models, args.work)
    measured: dict[str, list[tuple[omc.Result, omc.Result]]] = {name: [] for name in todo}

    def measure(name: str, turn: int) -> list[dict]:
        trees = args.trees[::-1] if turn % 2 else args.trees           # who is first takes turns, too
        results = {tree: omc.run([todo[name]], tree)[0] for tree in trees}
        pair = results[args.trees[0]], results[args.trees[1]]
        measured[name].append(pair)
        return [{"before": pair[0].bytes, "after": pair[1].bytes,
                 **{time: getattr(pair[0], time) / getattr(pair[1], time) for time in TIMES}}]

    def step(name: str, turn: int) -> Step:
        return Step(f"round {turn + 1}", name, 1 + todo[name]["file"].stat().st_size / 1e6, lambda: measure(name, turn))

    def keep(*_: object) -> None:
        if args.json:
            args.json.write_text(json.dumps({name: [[r._asdict() for r in pair] for pair in pairs]
                                             for name, pairs in measured.items()}, indent=1))

    run_steps([step(name, turn) for turn in range(args.rounds) for name in todo], keep)
    print_trees(measured)
    return all(before.sha256 == after.sha256 for pairs in measured.values() for before, after in pairs)


def print_trees(measured: dict[str, list[tuple[omc.Result, omc.Result]]]) -> None:
    """A row per job, then one over all jobs."""
    def ratio(pair: tuple[omc.Result, omc.Result], time: str) -> float:
        return getattr(pair[0], time) / getattr(pair[1], time)

    rows = []
    for name, pairs in measured.items():
        before, after = pairs[-1]
        row = {"job": name, "bytes before": before.bytes, "bytes after": after.bytes,
               "same stream": "yes" if all(b.sha256 == a.sha256 for b, a in pairs) else "NO"}
        for time in TIMES:
            values = [ratio(pair, time) for pair in pairs]
            row[time] = f"{statistics.median(values):.3f} ({min(values):.2f}..{max(values):.2f})"
        rows.append(row)
    table(rows)
    table([{"all jobs": time, "rounds": min(map(len, measured.values())),
            "median of medians": f"{statistics.median(medians):.3f}", "least": f"{min(medians):.3f}",
            "most": f"{max(medians):.3f}"}
           for time in TIMES
           for medians in [[statistics.median(ratio(pair, time) for pair in pairs) for pairs in measured.values()]]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=pathlib.Path, metavar="RUN.json", help="two --json of bench_peers.py")
    parser.add_argument("--trees", nargs=2, type=pathlib.Path, metavar=("BEFORE", "AFTER"), help="working copies")
    parser.add_argument("--rounds", type=int, default=5, help="of both trees (default: 5)")
    parser.add_argument("--models", type=pathlib.Path, default=REPO / "models", help="folder of fetch_models.py")
    parser.add_argument("--work", type=pathlib.Path, default=REPO / ".bench" / "compare", help="prepared files")
    parser.add_argument("--json", type=pathlib.Path, help="with --trees: write all that was measured here")
    args = parser.parse_args()
    if bool(args.trees) == bool(args.runs) or len(args.runs) not in (0, 2) or args.rounds < 1:
        parser.error("give two files, or --trees with two folders")
    if args.runs:
        try:
            before, after = (json.loads(path.read_text()) for path in args.runs)
            table(ratios(before, after))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            sys.exit(f"bench_compare: no two runs of bench_peers.py --json: {error!r}")
        return
    try:
        same = compare_trees(args)
    except (BenchError, FileNotFoundError) as error:
        sys.exit(f"bench_compare: {error}")
    print("every stream is the same" if same else "STREAMS DIFFER")
    sys.exit(not same)


if __name__ == "__main__":
    main()
