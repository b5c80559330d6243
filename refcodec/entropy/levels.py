"""What the two level coders share: trellis state, magnitude statistics and binarisation (SPEC 9.3.2 to 9.3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..compiler import at, bit_length, inlined
from .range_coder import LEVEL_COUNT_LIMIT, Coder, code_bypass
from .tables import LOG_BITS, LOG_BUCKET, RECIPROCAL, STEPS_PER_OCTAVE
from .watch import ContextTable, Kind, both, clause, step

OK, EXHAUSTED, OUT_OF_RANGE = 0, 1, 2   # status of a level coder; EXHAUSTED: no room, or no payload, is left
LEVEL_MAX = (1 << 30) - 1
ROOM = 256                              # bytes of room that the encoder asks for before each level

# Nodes of the binarisation. Q is the parity of the trellis state, g the class index.
NODE = ContextTable("9.3.4", "level", LEVEL_COUNT_LIMIT)
SIGNIFICANT = NODE.add("significant_flag", "sig", 2)        # + Q
GREATER_1 = NODE.add("greater1_flag", "gt1", 2)             # + Q
GREATER_2 = NODE.add("greater2_flag", "gt2", 2)             # + Q
CLASS = NODE.add("class_more_flag", "class", 14)            # + min(g, 13)
SIGN = NODE.add("sign_flag", "sign", 1)
TOP_BIT = NODE.add("top_bit", "top bit", 14)                # + min(g, 13)
SECOND_BIT = NODE.add("second_bit", "second bit", 28, row=2, unused=lambda i, bit: i < 2)  # + 2 min(g, 13) + top bit
NODES = 64
CLASS_MAX = 28                                # the class of LEVEL_MAX

BUCKETS = 44 * STEPS_PER_OCTAVE + 2           # buckets of any sum of magnitudes below 2^44


@clause("9.3.2")
@inlined
def trellis_masks(states: int) -> tuple[int, int]:
    """The pair (A, B) of the state update; (0, 0) where there is no trellis."""
    if states == 4:
        return 2, 1
    if states == 8:
        return 5, 2
    if states == 16:
        return 9, 2
    if states == 32:
        return 18, 4
    if states == 64:
        return 33, 10
    return 0, 0


@inlined
def sign(x: int) -> int:
    return (1 if x > 0 else 0) - (1 if x < 0 else 0)


@clause("9.3.3")
@inlined
def log_bucket(v: int) -> int:
    """Logarithmic bucket of v >= 0 (SPEC 9.3.3)."""
    # In steps of four, until v >> octaves is in the table.
    octaves = (max(bit_length(v), LOG_BITS - 3) - (LOG_BITS - 3)) & -4
    return int(LOG_BUCKET[at(v >> octaves)]) + octaves * STEPS_PER_OCTAVE


@inlined
def reciprocal(divisor: int) -> int:
    """65536 / divisor, rounded down, 1 <= divisor <= 256."""
    return int(RECIPROCAL[at(divisor)])


@inlined
def moved(mean: int, value: int, part: int) -> int:
    """The running mean after a value: a step of part / 65536 towards it."""
    return mean + (((value - mean) * part) >> 16)


@step("level")
@clause("9.3.5")
@inlined
def code_level(mode: int, r: Coder, buf: np.ndarray, code: Callable[..., tuple[int, Coder]], model: Any, place: Any,
               sign_place: Any, positive_place: Any, negative_place: Any, q: int, k: int) -> tuple[int, Coder]:
    """Code level k in parity q (SPEC 9.3.4). Returns (k, coder); |k| > LEVEL_MAX tells that it is out of range.

    code(mode, r, buf, model, place, node, bit) codes one bin and returns (bin, coder).
    """
    m = abs(k)
    bit, r = code(mode, r, buf, model, place, SIGNIFICANT + q, 1 if m > 0 else 0)
    if not bit:
        return 0, r
    negative, r = code(mode, r, buf, model, sign_place, SIGN, 1 if k < 0 else 0)
    rest_place = negative_place if negative else positive_place
    bit, r = code(mode, r, buf, model, rest_place, GREATER_1 + q, 1 if m > 1 else 0)
    if not bit:
        return (-1 if negative else 1), r
    bit, r = code(mode, r, buf, model, rest_place, GREATER_2 + q, 1 if m > 2 else 0)
    if not bit:
        return (-2 if negative else 2), r
    v = m - 1                     # class g holds 2^(g+1) <= v < 2^(g+2)
    g = 0
    while g <= CLASS_MAX:
        bit, r = code(mode, r, buf, model, rest_place, CLASS + min(g, 13), 1 if v >> (g + 2) else 0)
        if not bit:
            break
        g += 1
    if g > CLASS_MAX:
        return LEVEL_MAX + 1, r
    top, r = code(mode, r, buf, model, rest_place, TOP_BIT + min(g, 13), (v >> g) & 1)
    out = 2 | top
    if g > 0:
        second, r = code(mode, r, buf, model, rest_place, SECOND_BIT + 2 * min(g, 13) + top, (v >> (g - 1)) & 1)
        out = out << 1 | second
        rest, r = code_bypass(mode, r, buf, g - 1, v & ((1 << (g - 1)) - 1))
        out = (out << (g - 1)) | rest
    return (-1 - out if negative else 1 + out), r


# What contexts are for: those of a level coder are pairs of a place and a node.

def buckets(limit: int, unit: int = 1) -> list[int]:
    """The buckets (SPEC 9.3.3) of the multiples of `unit` below a limit."""
    found = {log_bucket(v) for v in range(0, min(limit, 1 << 16), unit)}
    return sorted(found | {log_bucket(v << s) for s in range(4, 40, 4) for v in range(256, 4096) if v << s < limit})


def scales() -> list[int]:
    """Buckets of a sum of two means of Abs(n) << 8, Abs(n) < 2^31."""
    return buckets(1 << 40)


def near() -> list[int]:
    """Buckets of the sum of SPEC 9.4.4 over neighbours: eight values, multiples of 16 up to 2^23."""
    return buckets((8 << 23) + 1, 16)


class Part(NamedTuple):
    """A number below `size` that a place is made of; values: gives those that occur, None: all do."""

    name: str
    size: int
    values: Callable[[], Iterable[int]] | None = None


class Places(NamedTuple):
    """The places of one set of contexts, the name of which begins those of its points.

    parts: what a place is made of, the first one counting most.  sign_parts: the same for the node SIGN, from place
    sign_first on; empty: as for all nodes.
    """

    name: str
    parts: tuple[Part, ...]
    sign_parts: tuple[Part, ...] = ()
    sign_first: int = 0


class LevelTable(ContextTable):
    """Contexts of a level coder: NODES times place, plus node; in one set of places, or in several that are mixed."""

    def __init__(self, clause: str, *sets: Places):
        super().__init__(clause, "level", LEVEL_COUNT_LIMIT)
        self.sets = sets

    def kind(self, i: int) -> Kind:
        return NODE.kind(i % NODES)

    def points(self, i: int, bit: int, among: int = 0) -> list[str]:
        (place, node), (name, parts, sign_parts, sign_first) = divmod(i, NODES), self.sets[among]
        found = [f"{name}node:{node_name(node)}={bit}"]
        if node == SIGN and sign_parts:
            parts, place = sign_parts, place - sign_first
        for part in reversed(parts):
            place, number = divmod(place, part.size)
            found.append(f"{name}{part.name}:{number}={bit}")
        return found

    def groups(self) -> dict[str, list[str]]:
        used = [i for kind in NODE.kinds for i in range(kind.first, kind.first + kind.size)
                if not kind.unused(i - kind.first, 0)]
        found = {}
        for name, parts, sign_parts, _ in self.sets:
            for part in (*parts, *sign_parts):
                found[name + part.name] = both(part.values() if part.values else range(part.size))
            found[f"{name}node"] = both(sorted(map(node_name, used)))
        return found


def node_name(node: int) -> str:
    """A node in the words of SPEC 9.3.4, with what chose it."""
    kind = NODE.kind(node)
    i = node - kind.first
    return kind.purpose if kind.size == 1 else f"{kind.purpose} {f'{i // kind.row} {i % kind.row}' if kind.row else i}"
