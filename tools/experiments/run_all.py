"""Runs the papers' experiments and writes their report.

    python tools/experiments/run_all.py [s1 s2 ...]      full: trains with torch, results and report beside this file
    python tools/experiments/run_all.py --quick          committed weights, no torch; into build/experiments-quick

Exit codes: 0 done, 1 an experiment failed (the others are still run), 2 wrong use.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import sys
import time
import traceback

os.environ.setdefault("OMP_NUM_THREADS", "1")           # the same sums on every machine, and no core too many

from report import write_report
from section import HERE, Context, write

REPO = HERE.parent.parent
SEEDS = (1, 2, 3, 4, 5)
RUN = "\ndef run(context"


def experiments() -> dict[str, str]:
    """Name (s1, ..., transformer) to module: the files NAME_*.py that define `run(context...)`."""
    return {path.stem.split("_")[0]: path.stem for path in sorted(HERE.glob("*_*.py"))
            if RUN in path.read_text("utf-8")}


def run(names: list[str], context: Context, results: pathlib.Path) -> dict[str, dict]:
    """Each experiment's seconds, or its error."""
    outcome: dict[str, dict] = {}
    for name in names:
        start = time.perf_counter()
        try:
            section = importlib.import_module(experiments()[name]).run(context)
            section.facts.setdefault("seeds", len(context.seeds))
            write(section, results / f"{name}.json")
            outcome[name] = {"seconds": round(time.perf_counter() - start, 1)}
        except Exception as error:
            traceback.print_exc()
            outcome[name] = {"error": f"{type(error).__name__}: {error}"}
    return outcome


def main() -> int:
    found = experiments()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(found)}; all without one")
    parser.add_argument("--quick", action="store_true", help="no torch, minutes")
    parser.add_argument("--seeds", type=int, help=f"how many (1 if quick, else {len(SEEDS)})")
    parser.add_argument("--models", type=pathlib.Path, help="folder of tools/fetch_models.py, where it is used")
    parser.add_argument("--out", type=pathlib.Path, help="folder for results and report")
    parser.add_argument("--json", action="store_true", help="print seconds and errors as JSON")
    args = parser.parse_args()
    if unknown := set(args.names) - set(found):
        parser.error(f"there is no experiment {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    if args.seeds is not None and not 1 <= args.seeds <= len(SEEDS):
        parser.error(f"--seeds is 1..{len(SEEDS)}")
    out = args.out or (REPO / "build" / "experiments-quick" if args.quick else HERE)
    models = args.models or REPO / "models"
    context = Context(args.quick, SEEDS[: args.seeds or (1 if args.quick else len(SEEDS))],
                      models=models if models.is_dir() else None, progress=sys.stderr.isatty())
    outcome = run(args.names or list(found), context, out / "results")
    write_report(out / "results", out)
    if args.json:
        print(json.dumps({"report": str(out / "report.md"), "experiments": outcome}))
    else:
        for name, what in outcome.items():
            print(f"{name}: {what['error'] if 'error' in what else str(what['seconds']) + ' s'}")
        print(f"report: {out / 'report.md'}, {out / 'report.html'}")
    return int(any("error" in what for what in outcome.values()))


if __name__ == "__main__":
    sys.exit(main())
