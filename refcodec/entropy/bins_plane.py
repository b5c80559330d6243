"""What the loops of BINS share (SPEC 9.12): constants, kinds of values, and what they know of a plane."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler import at, inlined, signed

OK, ENDED, BAD_BIN, BAD_TABLE, BAD_REST = range(5)      # statuses; each but OK has an error in bins.py

CHUNK_ELEMENTS = 1 << 17        # the integers of a chunk
LANES = 8                       # element i of a chunk is decoded by state i % LANES
TABLES_LOG2_MAX = 4
SLOT_BITS = 12                  # of a frequency; those of a table add up to TOTAL
TOTAL = 1 << SLOT_BITS
STATE_MIN = 1 << 16
STATE_BYTES = 4 * LANES         # of a plane of a chunk, before its words
SYMBOLS_MAX = 256               # most bins of a plane
PLAIN, SIGNED, FLOAT, TAIL = range(4)           # kinds of values: 9.12.2; a TAIL is a byte below the head
SIZE_START = 5                  # bits of the first frequency of a table, plus one, about
RUN = 64                        # elements that are looked at together


class Plane(NamedTuple):
    """Numbers only, so that a row of an int64 array holds them.

    bits: of a whole value.  mask: of a value in its place: a word has its bits only, a level, and what has 64 bits, is
    signed there.  ones: the largest value of the plane.  top: the highest bit of a head if it is the sign of 64 bits,
    else 0.  shift: bits of the tails below the value.  base: value of symbol 0, as if all bins were narrow.  narrow,
    bins: how many there are.  group: log2 of the elements that share a table.  choice_bits: log2 of the tables they
    choose from.  first_table, first_bin: where those of the plane begin among all.  by_exponent: 1 if the predictor's
    exponent chooses the table, not the group.
    """

    bits: int
    mask: int
    ones: int
    top: int
    shift: int
    raw_bits: int
    base: int
    narrow: int
    bins: int
    group: int
    choice_bits: int
    first_table: int
    first_bin: int
    by_exponent: int


class Bins(NamedTuple):
    """low: least value of each bin, uint32.  extra: bits above the raw ones, uint8."""

    low: np.ndarray
    extra: np.ndarray


@inlined
def plane_of(planes, p):
    """Row p of planes, int64 [planes, fields]."""
    r = at(p)
    return Plane(signed(planes[r, 0]), signed(planes[r, 1]), signed(planes[r, 2]), signed(planes[r, 3]),
                 signed(planes[r, 4]), signed(planes[r, 5]), signed(planes[r, 6]), signed(planes[r, 7]),
                 signed(planes[r, 8]), signed(planes[r, 9]), signed(planes[r, 10]), signed(planes[r, 11]),
                 signed(planes[r, 12]), signed(planes[r, 13]))
