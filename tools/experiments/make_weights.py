"""Trains the small weights that the quick mode needs, into weights/ (needs torch and scikit-learn).

    python tools/experiments/make_weights.py [MODULE...]      all without one

Seeds are fixed; with the torch of pyproject.toml and one thread the files are the same on the same processor.
"""

from __future__ import annotations

import argparse
import importlib
import pathlib
import shutil

from section import HERE, Context
from trained import pruned, sequence, tasks

SEED = 1
MAKES = "\ndef make_weights(folder"


def make_weights(folder: pathlib.Path) -> None:
    """What S1 and S2 need: versions, tasks and pruned models of small networks on the 8 x 8 digits."""
    context = Context(quick=False, seeds=(SEED,), cache=folder)
    sequence(context, "small-resnet", SEED)
    for group in (sequence, tasks, pruned):
        group(context, "small-lenet", SEED)


def makers() -> list[str]:
    """The modules that define make_weights(folder)."""
    return [path.stem for path in sorted(HERE.glob("*.py")) if MAKES in path.read_text("utf-8")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="MODULE", help=f"of {', '.join(makers())}")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "weights")
    args = parser.parse_args()
    if unknown := set(args.names) - set(makers()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(makers())}")
    for name in args.names or makers():
        fresh = args.out / f".{name}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        importlib.import_module(name).make_weights(fresh)
        for path in sorted(fresh.iterdir()):
            print(f"{path.name}: {path.stat().st_size:,} bytes")
            path.replace(args.out / path.name)
        fresh.rmdir()


if __name__ == "__main__":
    main()
