"""What published networks still answer after coding with loss, and what that costs in bytes.

    python tools/bench_answers.py [--only NAME...] [--part protect|equal ...] [--json FILE] [--quick]

protect  without inputs of the network: decisions that one step for all loses, and steps that protect (the default of
         `refcodec encode`), at 4 and 6 bits a weight, and `--lossy`
equal    bytes at equal answers: the search of `--calibration` makes a stream for a share of the decisions (--target),
         which is judged on the test inputs; one step, steps that protect, steps by sensitivity and NNCodec's best
         setting are brought to the distance of the outputs that it has there, and to the share of decisions

Networks and recorded inputs come out of packages (tools/answers/catalogue.py), pinned; calibration and test inputs are
made of different recordings, photographs, sentences, files.  All streams of OMC: mixed coding, 32 states (protect: the
defaults of the command).  --quick: digits alone, without NNCodec.  Needs refcodec[calibration] here; other environments
are made in the work folder.  Half an hour to an hour on two cores for all; networks can be left out by --only.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys
import time

from answers.catalogue import MODELS, Entry
from answers.judge import Judge
from answers.methods import Bench, Curve, lost, moved
from fetch_models import REPO
from peers.environments import BenchError, ensure_env, run_worker
from peers.steps import say, table

import refcodec
from refcodec import Config
from refcodec.encoder.config_parts import LOSSY_BITS

PREPARE = pathlib.Path(__file__).parent / "answers" / "prepare.py"
LARGE = 1 << 24                         # weights of a network that NNCodec takes many minutes for
RATES = (4.0, 6.0)


def prepared(entry: Entry, args: argparse.Namespace) -> Judge:
    """The judge of a network, which is fetched and made if it is not there."""
    if not list(args.models.glob(f"{entry.name}.onnx")):
        python = ensure_env(args.work, "answers")
        for line in run_worker(python, PREPARE, str(args.models), str(args.wheels), entry.name):
            say(line)
    return Judge(entry, args.models)


def protect(judge: Judge, args: argparse.Namespace) -> dict:
    """A row: decisions lost in per cent, by one step and by steps that protect."""
    row: dict = {"network": judge.entry.name, "decisions": len(judge.decided)}
    for bits in RATES:
        for label, safe in (("one step", False), ("default", True)):
            stream = refcodec.encode(judge.model, Config(bits_per_weight=bits, protect=safe, threads=2))
            row[f"{bits:g} bits, {label}"] = 100 * (1 - judge.of_stream(stream).same)
    stream = refcodec.encode(judge.model, Config(bits_per_weight=LOSSY_BITS, protect=True, threads=2))
    row |= {"--lossy": 100 * (1 - judge.of_stream(stream).same), "its bytes": len(stream),
            "of the file": f"1/{judge.path.stat().st_size / len(stream):.2f}"}
    return row


def equal(judge: Judge, args: argparse.Namespace) -> dict:
    """A row: bytes at the distance that the calibrated stream has on the test inputs."""
    bench, began = Bench(judge), time.monotonic()
    made, way = bench.calibrated(args.target, args.effort)
    row: dict = {"network": judge.entry.name, "asked %": 100 * args.target, "on test inputs %": 100 * made.verdict.same,
                 "moved by": f"{made.verdict.distance:.2g}", "calibrated": made.bytes, "bits": made.bits, "way": way,
                 "search s": round(time.monotonic() - began)}
    say(f"{judge.entry.name}: {made}")
    start = bench.first + 1
    ways = {"steps": bench.steps(), "protected": bench.protected(), "one step": bench.one_step()}
    curves = {label: Curve(make, start) for label, make in ways.items()}
    peers = [Curve(bench.nncodec(args.work, scale), start) for scale in (0, 1)] if (
        args.nncodec and bench.weights < LARGE) else []
    for what, measure in (("", moved), (", decisions", lost)):
        wanted = measure(made.verdict)
        for label, curve in curves.items():
            row[label + what] = curve.bytes_at(wanted, measure)
        if peers:
            row["NNCodec" + what] = min((c.bytes_at(wanted, measure) for c in peers), key=lambda n: (math.isnan(n), n))
        for label in ("one step", "NNCodec"):
            if label + what in row:
                row[f"% under {label}{what}"] = 100 * (1 - made.bytes / row[label + what])
    row["s"] = round(time.monotonic() - began)
    say(f"    {row}")
    return row


PARTS = {"protect": protect, "equal": equal}


def summary(rows: list[dict], part: str) -> str:
    if part == "equal":
        missed = sum(row["on test inputs %"] < row["asked %"] for row in rows)
        return f"{missed} of {len(rows)} targets were missed on the test inputs."
    shares = [row[f"{bits:g} bits, default"] / row[f"{bits:g} bits, one step"] for row in rows for bits in RATES
              if row[f"{bits:g} bits, one step"] > 0]
    return f"The default loses {sum(shares) / max(len(shares), 1):.2f} times what one step loses, in the mean."


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", nargs="+", choices=[e.name for e in MODELS], metavar="NAME", help="these networks")
    p.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="these tables")
    p.add_argument("--models", type=pathlib.Path, default=REPO / "models" / "answers", help="folder of the networks")
    p.add_argument("--wheels", type=pathlib.Path, help="folder of the packages (default: MODELS/wheels)")
    p.add_argument("--work", type=pathlib.Path, default=REPO / ".bench", help="folder of environments")
    p.add_argument("--target", type=float, default=0.97, metavar="P", help="equal: share of the decisions (0.97)")
    p.add_argument("--effort", type=int, default=16, metavar="N", help="equal: streams that are tried (16)")
    p.add_argument("--no-nncodec", dest="nncodec", action="store_false", help="equal: leave NNCodec out")
    p.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the rows there, too, as they are measured")
    p.add_argument("--quick", action="store_true", help="digits alone, without NNCodec, few streams")
    args = p.parse_args()
    args.wheels = args.wheels or args.models / "wheels"
    if args.quick:
        args.only, args.nncodec, args.effort = ["digits"], False, 6
    found: dict[str, list[dict]] = {part: [] for part in args.part}
    for entry in MODELS:
        if args.only and entry.name not in args.only:
            continue
        try:
            judge = prepared(entry, args)
            for part in args.part:
                found[part].append(PARTS[part](judge, args))
        except (BenchError, refcodec.OmcError) as error:
            say(f"{entry.name}: {error}")
        if args.json:
            args.json.write_text(json.dumps(found, indent=1))
    for part, rows in found.items():
        table(rows)
        if rows:
            print(summary(rows, part), end="\n\n")
    if not any(found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
