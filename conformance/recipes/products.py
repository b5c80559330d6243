"""Products of factors at the border of what a float64 holds exactly, and one step beyond it ([R8.6-1])."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.structures import Representation as R

from .edits import payload
from .faults import Fault, fault
from .invalid import level_bytes
from .parts import MODES, levels, represented, uniform
from .single import several
from .streams import Recipe

SIDE = 4
HALF = 1 << 26


def exact_products():
    """k * Max(Abs(A)) * Max(Abs(B)) is 2^53 in each, by ranks 1, 2 and 4 and either sign."""
    made = []
    for rank, left, right in ((1, HALF, 2 * HALF), (2, HALF, HALF), (2, -HALF, HALF), (4, HALF // 2, HALF)):
        parts = [levels(np.full(shape, value), uniform(1, -20), MODES.RAW, dtype="float64")
                 for shape, value in (((SIDE, rank), left), ((rank, SIDE), right))]
        made.append((f"rank {rank}, {left}", "float64", (SIDE, SIDE), represented(R.LOW_RANK, parts, factor_rank=rank)))
    return made


def recipes() -> Iterator[Recipe]:
    """All streams of this module."""
    yield Recipe("b-products", "sums of products of exactly 2^53", several(exact_products), kind="limit")


def faults() -> Iterator[Fault]:
    """The same, where one factor is larger by 1."""
    for unit, (rank, left) in enumerate(((1, HALF), (2, HALF), (2, -HALF), (4, HALF // 2))):
        beyond = [left + (1 if left > 0 else -1)] + [left] * (SIDE * rank - 1)
        yield fault("R8.6-1", f"beyond-{unit}", "b-products",
                    payload(lambda d, beyond=beyond: level_bytes(beyond), unit=unit), "OVERFLOW",
                    f"sums of {rank} products that may pass 2^53")
