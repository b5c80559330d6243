"""Which random streams add coverage: a greedy cover, whose seeds go to KEPT in drawn.py.

    python -m conformance.recipes.greedy --count 300 --keep 20

Prints a seed a line, with the points that it adds to those of the suite (coverage.json, its random seeds left out).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ["REFCODEC_COMPILE"] = "0"           # the loops of the decoder are watched, and run backwards
SUITE = Path(__file__).parents[1]


def known() -> set[str]:
    """Points of the suite that other streams than the random seeds show."""
    from . import points

    found = json.loads((SUITE / "coverage.json").read_text(encoding="utf-8"))
    drawn = {i for i, name in enumerate(found["streams"]) if name[:2] == "r-" and name[2:].isdigit()}
    shown = {p for p, streams in found["points"].items() if set(streams) - drawn}
    return shown | {
        f"{g}:{n}" for g, names in points.contexts().items()
        for n in names if n not in found["groups"].get(g, [0, 0, [], []])[3]
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance.recipes.greedy", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the first seed that is tried (default 0)")
    parser.add_argument("--count", type=int, default=200, help="how many are tried (default 200)")
    parser.add_argument("--keep", type=int, default=20, help="how many are kept at most (default 20)")
    arguments = parser.parse_args()
    from .watch import Watch

    watch = Watch()
    from tqdm import tqdm

    from . import points
    from .drawn import drawn_stream

    have, met = known(), {}
    wanted = points.wanted() | set(
        watch.watched.ids) | {f"{g}:{n}" for g, names in points.contexts().items() for n in names}
    for seed in tqdm(range(arguments.seed, arguments.seed + arguments.count), unit="seed", disable=None):
        met[seed] = (watch.points_of(drawn_stream(seed)[0]) & wanted) - have
    for _ in range(arguments.keep):
        best = max(met, key=lambda seed: (len(met[seed]), -seed))
        added = met.pop(best)
        if not added:
            return
        print(best, len(added), *sorted(added)[:3], sep="  ")
        met = {seed: points_ - added for seed, points_ in met.items()}


if __name__ == "__main__":
    main()
