"""What several commands have in common: their options, a progress bar, a result on one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from .first_use import FirstUse

if TYPE_CHECKING:                  # nothing of the codec is loaded to print a help
    from ..model import Model

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
OF_AN_UPDATE = "the model that an update refers to"


def add_references(p: argparse.ArgumentParser, text: str = OF_AN_UPDATE) -> None:
    """--reference, which may be given again."""
    p.add_argument("--reference", action="append", default=[], metavar="FILE", help=text)


def add_threads(p: argparse.ArgumentParser) -> None:
    p.add_argument("--threads", type=int, metavar="N", help="threads (default: all processors)")


def add_json(p: argparse.ArgumentParser, text: str = "print the result as JSON") -> None:
    p.add_argument("--json", action="store_true", help=text)


def add_max_memory(p: argparse.ArgumentParser) -> None:
    p.add_argument("--max-memory", type=size, metavar="SIZE", help="most memory for one tensor, e.g. 500M or 2G")


def size(text: str) -> int:
    """Bytes from 123, 500K, 20M, 3G (powers of 1024)."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    digits = text.upper().removesuffix("B").removesuffix("I")
    try:
        number = float(digits[:-1]) * units[digits[-1]] if digits[-1:] in units else float(digits)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M") from None
    if not 0 < number < 2**60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M")
    return int(number)


def threads_of(arguments: argparse.Namespace) -> int:
    return arguments.threads or os.cpu_count() or 1


def load_all(paths: Sequence[str], references: Sequence[Model] = ()) -> list[Model]:
    """The models of files, or of streams that refer to `references`."""
    from ..inputs import load_any

    return [load_any(path, references) for path in paths]


def print_result(arguments: argparse.Namespace, result: dict, line: str) -> None:
    """One JSON object with --json, else a line."""
    print(json.dumps(result) if arguments.json else line)


@contextmanager
def progress_bar(total: int, what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A callable (done, total, name) that moves a bar with the time left on a terminal and is silent elsewhere."""
    from tqdm import tqdm

    with tqdm(total=total, unit="B", unit_scale=True, desc=what, leave=False, disable=not sys.stderr.isatty(),
              smoothing=0) as bar:
        begin, compiling = time.time(), FirstUse.seconds

        def move(done: int, in_all: int, name: str) -> None:
            bar.total = in_all
            bar.start_t = begin + FirstUse.seconds - compiling     # the compiler's time tells nothing of the time left
            bar.set_postfix_str(name[-30:], refresh=False)
            bar.update(done - bar.n)
        yield move
