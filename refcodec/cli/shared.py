"""What several commands have in common: their options, a progress bar, a result on one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigError, OmcError
from .first_use import FirstUse

if TYPE_CHECKING:                  # nothing of the codec is loaded to print a help
    from ..budget import Budget
    from ..model import Model

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
OF_AN_UPDATE = "the model that an update refers to"
REFRESH = 0.1                      # seconds between two looks of a bar


class HelpFormatter(argparse.HelpFormatter):
    """Wraps a paragraph; leaves what has lines of its own, such as examples, as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def add_command(commands: Commands, name: str, summary: str, description: str, examples: Mapping[str, str]
                ) -> argparse.ArgumentParser:
    """The parser of a command, whose help ends with examples: command lines, and what each is for."""
    lines = "".join(f"\n  {line}\n      {purpose}" for line, purpose in examples.items())
    return commands.add_parser(name, help=summary, description=description, formatter_class=HelpFormatter,
                               epilog=f"examples:{lines}\n\n'refcodec --help' explains the exit codes.")


def add_references(p: argparse.ArgumentParser, text: str = OF_AN_UPDATE) -> None:
    """--reference, which may be given again."""
    p.add_argument("--reference", action="append", default=[], metavar="FILE", help=text)


def add_threads(p: argparse.ArgumentParser) -> None:
    p.add_argument("--threads", type=int, metavar="N", help="threads (default: all processors)")


def add_json(p: argparse.ArgumentParser, text: str = "print the result as JSON") -> None:
    p.add_argument("--json", action="store_true", help=text)


def add_selection(p: argparse.ArgumentParser, text: str) -> None:
    """--tensor and --unit, which may be given again."""
    p.add_argument("--tensor", action="append", default=[], metavar="NAME",
                   help=f"{text} of this tensor; may be given again")
    p.add_argument("--unit", action="append", default=[], type=int, metavar="N",
                   help=f"{text} of this unit, counted from 0; may be given again")


def add_budget(p: argparse.ArgumentParser) -> None:
    """What a stranger's stream may cost: --max-memory, --max-work, --max-output."""
    group = p.add_argument_group("budget", "What is beyond it is refused with RESOURCE_LIMIT before it is spent. By "
                                 "default it follows from the size of the stream and of the references, so that honest "
                                 "streams pass and bombs do not.")
    group.add_argument("--max-memory", type=size, metavar="SIZE", help="most memory at a time, beside the program's "
                       "own, e.g. 500M or 2G (default: 1G and 64 times what is given, at most the machine's)")
    group.add_argument("--max-output", type=size, metavar="SIZE", help="most bytes that are put out (default: 256M and "
                       "256 times what is given)")
    group.add_argument("--max-work", type=size, metavar="UNITS", help="most work, in units of about a nanosecond, e.g. "
                       "60G (default: 10 s, half a second for each MB that is given, and 0.13 s for each MB that is "
                       "made)")


def budget_of(arguments: argparse.Namespace) -> Budget:
    """The budget of add_budget(). A limit of memory that is asked for binds the allocator, too."""
    from ..budget import Budget, return_memory

    if arguments.max_memory is not None:
        return_memory()
    return Budget(arguments.max_memory, arguments.max_work, arguments.max_output)


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
    from ..parallel import processors

    return arguments.threads or processors()


def calm_libraries() -> None:
    """Libraries of linear algebra keep to one thread each: their work here is small, and threads would wait for each
    other. What the user has set stays. To be called before numpy is loaded."""
    if "numpy" not in sys.modules:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ.setdefault(name, "1")


def load_all(paths: Sequence[str], references: Sequence[Model] = (), budget: Budget | None = None) -> list[Model]:
    """The models of files, or of streams that refer to `references`. budget: for all of them."""
    from ..inputs import load_any

    return [load_any(path, references, budget) for path in paths]


def refuse_overwriting(output: str, inputs: Iterable[str | None]) -> None:
    """Raises ConfigError BAD_CONFIG where the output is one of the inputs, by whatever path or link."""
    for path in filter(None, inputs):
        if os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path):
            raise ConfigError("BAD_CONFIG", f"{output!r} would take the place of its own input {path!r}; name another "
                              "output")


def files_of(path: str, model: Model) -> list[str]:
    """All files that a model was loaded from: its main file, and those with external data."""
    beside = [f.path.split("/") for f in model.source.files[1:]] if model.source else []
    return [path, *(os.path.join(os.path.dirname(path), *parts) for parts in beside)]


def references_beside_output(arguments: argparse.Namespace, budget: Budget) -> list[Model]:
    """The models of --reference, none of whose files, nor the input, may be the output. Raises OmcError."""
    refuse_overwriting(arguments.output, [arguments.input])
    references = load_all(arguments.reference, budget=budget)
    for path, model in zip(arguments.reference, references):
        refuse_overwriting(arguments.output, files_of(path, model))
    return references


@contextmanager
def references_named(paths: Sequence[str]) -> Iterator[None]:
    """Of a missing reference, where none was given, it is said how one is (the decoder names those that were)."""
    try:
        yield
    except OmcError as error:
        if error.code == "MISSING_REFERENCE" and not paths:
            error.message += "; pass the model as --reference FILE"
        raise


def print_result(arguments: argparse.Namespace, result: Mapping[str, Any], line: str) -> None:
    """One JSON object with --json, else a line."""
    print(json.dumps(result) if arguments.json else line)


@contextmanager
def progress_bar(total: int, what: str, unit: str = "B") -> Iterator[Callable[[int, int, str], None]]:
    """A callable (done, total, name) that moves a bar with the time left on a terminal and is silent elsewhere."""
    from tqdm import tqdm

    from ..inspection.text import shown

    with tqdm(total=total, unit=unit, unit_scale=True, desc=what, leave=False, disable=not sys.stderr.isatty(),
              smoothing=0, mininterval=REFRESH) as bar:
        begin, compiling = time.time(), FirstUse.seconds

        def move(done: int, in_all: int, name: str) -> None:
            bar.total = in_all
            bar.start_t = begin + FirstUse.seconds - compiling     # the compiler's time tells nothing of the time left
            bar.set_postfix_str(shown(name, 30), refresh=False)
            bar.update(done - bar.n)
        yield move
