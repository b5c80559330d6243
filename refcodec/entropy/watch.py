"""The one observer beside the loops, and the names of what it sees.

Whoever lists bins, measures coverage or writes a payload as it is decoded subscribes here: `with watching(observer):`.
Payloads, blocks and values are told always; single steps (bins, bypass bits, levels, classes) only where nothing is
compiled (REFCODEC_COMPILE=0), for there `step` leaves a loop as it is written.  What a context is for stands in the
`ContextTable` beside the loop that uses it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..compiler import COMPILE, Function

if TYPE_CHECKING:
    import numpy as np

    from ..bitstream.structures import Component
    from ..dtypes import DType
    from .modes import Block
    from .payload import PayloadReader
    from .range_coder import Coder

ENCODE, DECODE, COST = 0, 1, 2      # what a loop is run for


class Observer:
    """Looks on while payloads are decoded. Nothing is done here: a subclass has the methods that it needs."""

    def payload_begins(self, payload: PayloadReader) -> None:
        """Before the first block of a payload: payload.unit and payload.first_bit are its place in the stream."""

    def block_begins(self, payload: PayloadReader, block: Block) -> None:
        """Before a block. block.coder.table: what its contexts are for."""

    def block_ends(self, payload: PayloadReader, block: Block) -> None:
        """After a block that was decoded without an error."""

    def payload_ends(self, payload: PayloadReader) -> None:
        """After the last block, before the end condition is tested (SPEC 9.1.4)."""

    def choose(self, kind: str, where: tuple[Any, ...]) -> int | None:
        """What a step of a decoder gives in place of what the payload holds, written there as an encoder does; None:
        the payload is read. kind: of `step`.  where: what stands between buffer and value in the step's arguments."""
        return None

    def bin(self, contexts: list[tuple[int, int]], p: int, value: int, before: Coder, after: Coder) -> None:
        """A bin was coded (SPEC 9.1.2), and the coder moved from `before` to `after`. contexts: of each prediction that
        made the probability p, the number of the context and its state before the bin."""

    def bypass(self, n: int, value: int, before: Coder, after: Coder) -> None:
        """n bypass bits were coded (SPEC 9.1.3)."""

    def values_begin(self, component: Component | None) -> None:
        """Before the integers of a component become values (SPEC 8.5); None: those of factors (8.6)."""

    def rounded(self, values: np.ndarray, out: np.ndarray | None, dtype: DType) -> None:
        """Values (float64) were rounded to a type (SPEC 8.5.2), to `out`; None: one of them does not fit."""


NOBODY = Observer()
_observer = NOBODY


def observer() -> Observer:
    """The one that looks on at present."""
    return _observer


@contextmanager
def watching(one: Observer) -> Iterator[None]:
    """Let one observer, and no other, look on in the whole process. Raises RuntimeError where it asks for steps of
    compiled loops."""
    global _observer
    if COMPILE and any(getattr(type(one), f) is not getattr(Observer, f) for f in ("choose", "bin", "bypass")):
        raise RuntimeError("steps of loops are seen where nothing is compiled: set REFCODEC_COMPILE=0")
    before, _observer = _observer, one
    try:
        yield
    finally:
        _observer = before


# Marks of functions

def step(kind: str) -> Callable[[Function], Function]:
    """Marks function(mode, r, buf, *where, value) -> (value, coder, ...), which codes one value, for the observer.

    kind: "bin" and "bypass" are those of the range coder; any other name is one that Observer.choose gets.
    """
    def mark(function: Function) -> Function:
        if COMPILE:
            return function

        @functools.wraps(function)
        def told(mode: int, r: Coder, buf: np.ndarray, *arguments: Any) -> Any:
            if _observer is NOBODY:
                return function(mode, r, buf, *arguments)
            *where, value = arguments
            chosen = _observer.choose(kind, tuple(where)) if mode == DECODE else None
            if chosen is not None:
                mode, value = ENCODE, chosen
            result = function(mode, r, buf, *where, value)
            if kind == "bin":
                (places, node, states), p = where
                contexts = [(place + node, state) for place, state in zip(places, states)]
                _observer.bin(contexts, p, result[0], r, result[1])
            elif kind == "bypass":
                _observer.bypass(where[0], result[0], r, result[1])
            return result
        return cast(Function, told)
    return mark


def clause(number: str) -> Callable[[Function], Function]:
    """Names the clause of SPEC.md that a function carries out, for readers of its source."""
    return lambda function: function


# What contexts are for

def both(items: Iterable[object]) -> list[str]:
    """Names of contexts, each with either value of a bin."""
    return [f"{i}={bit}" for i in items for bit in (0, 1)]


@dataclass(frozen=True)
class Kind:
    """Contexts first .. first + size - 1 of a table.

    name: of the bins that they code, in traces.  purpose: in the words of SPEC.  row: they are sets of so many, 0 if
    they are single.  unused(i, bit): whether no legal payload has the bin `bit` in context first + i.
    """

    name: str
    purpose: str
    first: int
    size: int
    row: int
    unused: Callable[[int, int], bool]

    def points(self, i: int, bit: int) -> list[str]:
        """What a bin in context `i` of the table shows: a set and a place in it, or a single context."""
        if not self.row:
            return [f"{self.purpose}:{i}={bit}"]
        high, low = divmod(i - self.first, self.row)
        return [f"{self.purpose} by set:{high}={bit}", f"{self.purpose} by place:{low}={bit}"]

    def groups(self) -> dict[str, list[str]]:
        """All that legal payloads show, group by group."""
        if self.row:
            return {f"{self.purpose} by set": both(range(self.size // self.row)),
                    f"{self.purpose} by place": both(range(self.row))}
        return {self.purpose: [f"{self.first + i}={bit}" for i in range(self.size) for bit in (0, 1)
                               if not self.unused(i, bit)]}


class ContextTable:
    """The contexts of an entropy mode, kind by kind, in one numbering.

    clause, structure: where the bins stand in SPEC and in a trace.  count_limit: of the estimator (SPEC 9.2).
    """

    def __init__(self, clause: str, structure: str, count_limit: int):
        self.clause, self.structure, self.count_limit = clause, structure, count_limit
        self.kinds: list[Kind] = []

    @property
    def size(self) -> int:
        return sum(kind.size for kind in self.kinds)

    def add(self, name: str, purpose: str, size: int, row: int = 0,
            unused: Callable[[int, int], bool] = lambda i, bit: False) -> int:
        """`size` more contexts, as Kind has them. Returns the number of the first."""
        self.kinds.append(Kind(name, purpose, self.size, size, row, unused))
        return self.kinds[-1].first

    def kind(self, i: int) -> Kind:
        """What context `i` is for."""
        return next(k for k in self.kinds if k.first <= i < k.first + k.size)

    def points(self, i: int, bit: int, among: int = 0) -> list[str]:
        """Points of coverage, group:number=bin, that a bin shows whose prediction number `among` (where several are
        mixed) is by context `i`."""
        return self.kind(i).points(i, bit)

    def groups(self) -> dict[str, list[str]]:
        """All points, group by group."""
        return {group: points for kind in self.kinds for group, points in kind.groups().items()}
