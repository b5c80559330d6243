"""Mechanical faults of a decoder's files: each operator, constant, condition and statement changed, one at a time.

    python -m tools.mutants.mechanical                            # the files of BINS, by the streams of BINS
    python -m tools.mutants.mechanical entropy/bins.py --every 5  # a sample of one file
    python -m tools.mutants.mechanical FILE... --streams TEXT     # others: TEXT stands in the names of their streams

Where tools/mutation_study.py asks whether the suite sees faults that somebody thought of, this asks about those that
nobody did.  Each is made in the syntax tree, so it survives moves of code.  A process of its own imports the package
with the changed file, uncompiled, and decodes the streams until one is not what the manifest says.  Those that no
stream can show are named with their reason in equivalent_mechanical.py.  Exit codes: 0 at least 95 % of the others are
caught; 1 fewer; 2 the package without faults does not pass.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import json
import multiprocessing
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .equivalent_mechanical import ENCODER_ONLY, EQUIVALENT

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "refcodec"
FILES = ("entropy/bins.py", "entropy/bins_[!cehst]*.py", "entropy/bins_chunk.py", "entropy/bins_symbols.py",
         "entropy/bins_trellis.py", "quantization/uniform.py")
WANTED = 0.95
SECONDS = 60                        # of one mutant; the streams of BINS take about twenty, uncompiled

COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
             ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
             ast.BitXor: ast.BitOr}
CALLS = {"min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """A fault. place: of the change in the tree, for `changed`.  old, new: the statement before and after."""

    file: str
    function: str
    line: int
    number: int
    old: str
    new: str

    @property
    def why_equivalent(self) -> str:
        return next((why for pattern, why in EQUIVALENT.items()
                     if re.fullmatch(pattern, f"{self.function}: {self.old} -> {self.new}")), "")


@dataclass
class Change:
    """A place in a tree and what stands there instead."""

    owner: Any
    key: str | int
    value: Any

    def swap(self) -> None:
        """Makes the change, or takes it back."""
        if isinstance(self.key, int):
            self.owner[self.key], self.value = self.value, self.owner[self.key]
        else:
            old = getattr(self.owner, self.key)
            setattr(self.owner, self.key, self.value)
            self.value = old


def changes(node: ast.AST) -> Iterator[Change]:
    """The changes of one node itself."""
    if isinstance(node, ast.Compare):
        yield from (Change(node.ops, k, COMPARISONS[type(op)]()) for k, op in enumerate(node.ops)
                    if type(op) in COMPARISONS)
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        yield Change(node, "op", OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield Change(node, "op", ast.And() if isinstance(node.op, ast.Or) else ast.Or())
        yield from (Change(node, "values", [v for v in node.values if v is not left]) for left in node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield Change(node, "op", ast.UAdd())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        yield Change(node, "op", ast.USub())
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield Change(node, "value", node.value + 1)
        if node.value:
            yield Change(node, "value", node.value - 1)
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield Change(node, "test", ast.Constant(True))
        yield Change(node, "test", ast.Constant(False))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield Change(node.func, "id", CALLS[node.func.id])
    for name in ("body", "orelse"):
        body = getattr(node, name, None)
        if isinstance(body, list):
            yield from (Change(body, k, ast.Pass()) for k, s in enumerate(body)
                        if isinstance(s, (ast.AugAssign, ast.Raise))
                        or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)))


SKIPPED = ("annotation", "returns", "decorator_list", "bases", "type_comment")


def walk(node: ast.AST, function: str, statement: ast.stmt | None) -> Iterator[tuple[ast.AST, str, ast.stmt | None]]:
    """All nodes that are run, with the function and the simple statement, or the head of one, around each."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        function = node.name
    if isinstance(node, (ast.Import, ast.ImportFrom)) or function in ENCODER_ONLY:
        return
    statement = node if isinstance(node, ast.stmt) else statement
    yield node, function, statement
    for name, value in ast.iter_fields(node):
        if name in SKIPPED or (name == "args" and isinstance(value, ast.arguments)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from walk(child, function, statement)


def head(statement: ast.stmt | None) -> str:
    """A statement without those in it, on one line."""
    return "" if statement is None else ast.unparse(statement).splitlines()[0]


def mutants(file: str, tree: ast.Module) -> list[Mutant]:
    """All faults of a file."""
    found = []
    for node, function, statement in walk(tree, "", None):
        for c in changes(node):
            inner = c.owner[c.key] if isinstance(c.key, int) and isinstance(c.value, ast.Pass) else statement
            old, line = head(inner), getattr(inner, "lineno", 0)
            c.swap()
            new = "pass" if inner is not statement else head(statement)
            c.swap()
            found.append(Mutant(file, function or "(module)", line, len(found), old, new))
    return found


def changed(file: str, number: int) -> ast.Module:
    """The tree of a file with fault `number` in it."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    all_changes = (c for node, _, _ in walk(tree, "", None) for c in changes(node))
    next(c for k, c in enumerate(all_changes) if k == number).swap()
    return ast.fix_missing_locations(tree)


class Loader(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Loads one module from a tree, all others as ever."""

    def __init__(self, file: str, tree: ast.Module):
        name = "refcodec." + file.removesuffix(".py").replace("/", ".")
        super().__init__(name, str(PACKAGE / file))
        self.tree = tree

    def find_spec(self, fullname, path=None, target=None):
        return importlib.machinery.ModuleSpec(fullname, self, origin=self.path) if fullname == self.name else None

    def get_code(self, fullname):
        return compile(self.tree, self.path, "exec")


def survives(streams: list[dict], file: str, number: int | None, likely: dict[str, int]) -> str:
    """In a process of its own: the stream that shows the fault, or nothing. number None: without a fault."""
    signal.alarm(SECONDS)
    if number is not None:
        sys.meta_path.insert(0, Loader(file, changed(file, number)))
    from refcodec.decoder import StreamDecoder
    from refcodec.errors import OmcError

    for s in sorted(streams, key=lambda s: (-likely.get(s["id"], 0), s["size"])):
        data = (ROOT / "conformance" / s["file"]).read_bytes()
        try:
            with StreamDecoder(data, []) as decoder:
                for k in range(len(decoder.parsed.models)):
                    model = decoder.model(k)
            seen = model.digest().hex() != s["expected"].get("model_digest")
        except OmcError as error:
            seen = error.code not in s["expected"].get("codes", ())
        except Exception:
            seen = True
        if seen:
            return s["id"]
    return ""


def one(task: tuple[list[dict], str, int | None, dict[str, int]]) -> str:
    """`survives` in a forked process, which a hang or a crash ends."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(send, survives(*task).encode() or b"-")
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return "" if text == "-" else text or "(it hangs, or does not start)"


def study(found: list[Mutant], streams: list[dict], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Each fault with the stream that shows it."""
    likely: Counter[str] = Counter()
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for first in range(0, len(found), 8 * jobs):
            part = found[first : first + 8 * jobs]
            for m, stream in zip(part, pool.map(one, [(streams, m.file, m.number, dict(likely)) for m in part], 1)):
                likely[stream] += 1
                yield m, stream


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=FILES, metavar="FILE", help="below refcodec/; may have a *")
    parser.add_argument("--streams", default="bins", metavar="TEXT", help="those with this in their id")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th fault")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults of functions whose name holds this")
    parser.add_argument("--equivalent", action="store_true", help="run those, too, that are said to be equivalent")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all outcomes")
    arguments = parser.parse_args()
    os.environ["REFCODEC_COMPILE"] = "0"

    import numpy  # noqa: F401  once, not in each process

    files = sorted({p.relative_to(PACKAGE).as_posix() for f in arguments.files for p in PACKAGE.glob(f)})
    every = [m for f in files for m in mutants(f, ast.parse((PACKAGE / f).read_text(encoding="utf-8")))]
    every = [m for m in every if arguments.only in m.function][:: arguments.every]
    same = [m for m in every if m.why_equivalent and not arguments.equivalent]
    streams = [s for s in json.loads((ROOT / "conformance" / "manifest.json").read_text())["streams"]
               if arguments.streams in s["id"] and not s["references"]]
    if one((streams, files[0], None, {})):
        print("the package without faults does not pass", file=sys.stderr)
        return 2
    began, outcomes = time.monotonic(), []
    for m, stream in study([m for m in every if m not in same], streams, arguments.jobs):
        outcomes.append((m, stream))
        if not stream:
            print(f"{m.file}:{m.line}: {m.function}: {m.old} -> {m.new}", flush=True)
    survived = sum(not stream for _, stream in outcomes)
    print(f"{len(every)} faults in {', '.join(files)}; {len(streams)} streams see {len(outcomes) - survived}, "
          f"{len(same)} are equivalent, {survived} survive ({time.monotonic() - began:.0f} s)")
    if arguments.json:
        arguments.json.write_text(json.dumps([{**m.__dict__, "stream": s} for m, s in outcomes], indent=1) + "\n")
    return int(survived > (1 - WANTED) * len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
