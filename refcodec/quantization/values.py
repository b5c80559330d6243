"""From integers to values: one row a quantiser, for the decoder and for the encoder (SPEC 8.5).

What a stream holds of a segment are integers, words or levels; values() makes elements of them, and nothing else does.
Factors (SPEC 8.6) take the indices of levels and the step instead: indices() and step_of().
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bitstream.structures import Component, Quantiser, mode_facts
from ..dtypes import DType
from ..entropy.watch import observer
from ..errors import ReconstructionError
from ..prediction.neighbours import Neighbours
from . import uniform
from .codebook import reconstruct_codebook
from .decimal import reconstruct_decimal
from .fixed_point import check_width
from .grid import reconstruct_grid
from .uniform import reconstruct_indices


@dataclass(frozen=True)
class Place:
    """Where a segment stands in its matrix.

    first_row: number of its first row in the matrix.  plane_rows: rows of a plane (SPEC 8.3).  neighbours: what
    indices are predicted from (SPEC 8.7.1), or None.
    """

    first_row: int = 0
    plane_rows: int = 1
    neighbours: Neighbours | None = None


WHOLE = Place()                     # a matrix of one segment, without prediction from neighbours


def values(c: Component, integers: np.ndarray, dtype: DType, predictor: np.ndarray | None = None,
           place: Place = WHOLE) -> np.ndarray:
    """The elements that the integers of one segment stand for (SPEC 8.5).

    integers: [rows, columns], words (of `dtype`, differences added up; of GRID: of float16) or levels (levels_type()).
    predictor: words of `dtype` that residuals are added to, like `integers`, or None.
    Returns words of `dtype` (for complex types: of its parts), of the shape of `integers`.
    Raises ReconstructionError OUT_OF_RANGE or OVERFLOW, as the clause of the quantiser says.
    """
    observer().values_begin(c)
    if integers.size == 0:
        return np.empty(integers.shape, dtype.word)
    base = None if predictor is None else predictor.view(dtype.numpy)
    return QUANTISERS[Quantiser(c.quantiser)].values(c, integers, dtype, base, place).view(dtype.word)


def indices(c: Component, levels: np.ndarray, place: Place = WHOLE) -> np.ndarray:
    """The int64 indices n of the levels of one segment, where the value is n * step (SPEC 8.5.4, 8.5.9, 8.5.10, 8.7.1).

    ValueError: the quantiser has no step.
    """
    row = QUANTISERS[Quantiser(c.quantiser)]
    if row.indices is None:
        raise ValueError(f"{Quantiser(c.quantiser).name} has no indices")
    return row.indices(c, levels, place)


def step_of(c: Component) -> tuple[int, int]:
    """Mantissa and exponent of the step. ValueError: the quantiser has none."""
    row = QUANTISERS[Quantiser(c.quantiser)]
    if row.step is None:
        raise ValueError(f"{Quantiser(c.quantiser).name} has no step")
    return row.step(c)


def levels_type(c: Component) -> np.dtype[Any]:
    """The type of levels: int32, or int64 where they may have 64 bits."""
    return np.dtype(np.int64 if QUANTISERS[Quantiser(c.quantiser)].wide else np.int32)


def check_words(words: np.ndarray, dtype: DType, rule: str) -> None:
    """Raises ReconstructionError OUT_OF_RANGE for words that are none of the type (SPEC 5.2)."""
    if dtype.bits < 8 * dtype.word.itemsize and int(words.max()) >> dtype.bits:
        raise ReconstructionError("OUT_OF_RANGE", f"SPEC 5.2: a word is no {dtype.name}", rules=rule)


# Values of each quantiser: (component, integers, dtype, base, place), where base are the values of the predictor

def _words(c: Component, words: np.ndarray, dtype: DType, base: np.ndarray | None, place: Place) -> np.ndarray:
    return words


def _uniform(c: Component, levels: np.ndarray, dtype: DType, base: np.ndarray | None, place: Place) -> np.ndarray:
    if place.neighbours is not None:
        return _indexed(c, levels, dtype, base, place)
    return uniform.reconstruct(levels, c.uniform.states, *step_of(c), dtype, base, lanes=_lanes(c))    # in pieces


def _codebook(c: Component, levels: np.ndarray, dtype: DType, base: np.ndarray | None, place: Place) -> np.ndarray:
    codebook = np.frombuffer(c.codebook.codebook_words, dtype.word.newbyteorder("<")).astype(dtype.word)
    check_words(codebook, dtype, "R7.7.5-1")
    return reconstruct_codebook(levels, codebook, c.codebook.zero_index, "R8.5-7")


def _grid(c: Component, halves: np.ndarray, dtype: DType, base: np.ndarray | None, place: Place) -> np.ndarray:
    scales = np.frombuffer(c.grid_scales, "<f4")[place.first_row:place.first_row + len(halves)].astype(np.float32)
    return reconstruct_grid(halves, scales)


def _decimal(c: Component, levels: np.ndarray, dtype: DType, base: np.ndarray | None, place: Place) -> np.ndarray:
    return reconstruct_decimal(levels.astype(np.int64, copy=False), c.decimal_exponent, dtype, base)


def _indexed(c: Component, levels: np.ndarray, dtype: DType, base: np.ndarray | None, place: Place) -> np.ndarray:
    return reconstruct_indices(indices(c, levels, place), *step_of(c), dtype, base)


# Indices and steps of those that have them

def _uniform_indices(c: Component, levels: np.ndarray, place: Place) -> np.ndarray:
    if place.neighbours is not None:
        return _by_neighbours(levels, place.neighbours, place)
    return uniform.indices(levels, c.uniform.states, _lanes(c))


def _lanes(c: Component) -> bool:
    return mode_facts(c.entropy_mode).lanes


def _fixed_point_indices(c: Component, levels: np.ndarray, place: Place) -> np.ndarray:
    by = place.neighbours
    n = levels.astype(np.int64, copy=False) if by is None else _by_neighbours(levels, by, place)
    check_width(n, c.fixed_point.fixed_point_width)
    return n


def _listed_indices(c: Component, levels: np.ndarray, place: Place) -> np.ndarray:
    codebook = np.array(c.integer_codebook.codebook_integer, np.int64)
    return reconstruct_codebook(levels, codebook, c.integer_codebook.zero_index, "R8.5-11")


def _by_neighbours(levels: np.ndarray, neighbours: Neighbours, place: Place) -> np.ndarray:
    return neighbours.add(levels, place.plane_rows, place.first_row % place.plane_rows)


def _uniform_step(c: Component) -> tuple[int, int]:
    return c.uniform.step_mantissa, c.uniform.step_exponent


def _fixed_point_step(c: Component) -> tuple[int, int]:
    return 1, -c.fixed_point.fraction_bits


# The table

@dataclass(frozen=True)
class Row:
    """What a quantiser makes of integers. indices, step: where values are index * step.  wide: levels of 64 bits."""

    values: Callable[[Component, np.ndarray, DType, np.ndarray | None, Place], np.ndarray]
    indices: Callable[[Component, np.ndarray, Place], np.ndarray] | None = None
    step: Callable[[Component], tuple[int, int]] | None = None
    wide: bool = False


QUANTISERS: dict[Quantiser, Row] = {
    Quantiser.NONE: Row(_words),
    Quantiser.UNIFORM: Row(_uniform, _uniform_indices, _uniform_step),
    Quantiser.CODEBOOK: Row(_codebook),
    Quantiser.GRID: Row(_grid),
    Quantiser.DECIMAL: Row(_decimal, wide=True),
    Quantiser.FIXED_POINT: Row(_indexed, _fixed_point_indices, _fixed_point_step),
    Quantiser.INTEGER_CODEBOOK: Row(_indexed, _listed_indices, _uniform_step),
}
