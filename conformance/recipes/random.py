"""Make random legal streams by seed, with a manifest of their own, so that any decoder can be checked on them.

    python -m conformance.recipes.random --seed 1000 --count 500 --out FOLDER
    refcodec check --decoder "CMD" --manifest FOLDER/manifest.json

A seed gives the same bytes everywhere. Each stream is decoded by the reference decoder, whose words are the expected
ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["REFCODEC_COMPILE"] = "0"           # so that the loops ask what to decode (chooser.py)


def kept() -> list[dict]:
    """The random streams of the suite: those of contexts.py and the seeds that were kept (cover of greedy_cover.py)."""
    from . import contexts, drawn

    made = [{"id": name, "purpose": purpose, "data": data.hex(), "seed": None}
            for name, purpose, data in contexts.streams()]
    for seed in drawn.KEPT:
        made.append({
            "id": f"r-{seed}", "purpose": f"a random stream: seed {seed}", "data": drawn.drawn_stream(seed)[0].hex(),
            "seed": seed
        })
    return made


def write(folder: Path, seeds: range) -> None:
    """Streams of seeds and their manifest."""
    from tqdm import tqdm

    from . import drawn
    from .__main__ import entry, write_manifest
    from .streams import Made

    (folder / "streams").mkdir(parents=True, exist_ok=True)
    entries = []
    for seed in tqdm(seeds, unit="stream", disable=None):
        name, (data, _) = f"r-{seed}", drawn.drawn_stream(seed)
        (folder / "streams" / f"{name}.omc").write_bytes(data)
        entries.append(
            entry(Made(name, f"a random stream: seed {seed}", "valid", f"drawn: {seed}", data, seed=seed), {}))
    write_manifest(folder, entries, entries[0]["id"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.recipes.random", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the first stream; the others follow (default 0)")
    parser.add_argument("--count", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to; it is made")
    parser.add_argument("--kept", action="store_true",
                        help="print those of the suite as JSON instead (used by the recipes)")
    arguments = parser.parse_args()
    if arguments.kept:
        json.dump(kept(), sys.stdout)
        return 0
    if arguments.out is None or arguments.count < 1 or arguments.seed < 0:
        parser.error("--out FOLDER is needed, --count at least 1, --seed at least 0")
    write(arguments.out, range(arguments.seed, arguments.seed + arguments.count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
