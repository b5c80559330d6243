"""Components as the encoder makes them, one function for each quantiser (informative).

Each says how integers become values; the entropy mode is the one to begin with.
"""

from __future__ import annotations

import numpy as np

from ..bitstream.structures import (
    Codebook,
    Component,
    EntropyMode,
    FixedPoint,
    IntegerCodebook,
    Quantiser,
    UniformParameters,
)
from ..dtypes import BY_NAME, DType
from ..entropy.words import choose_parameters


def words_component(words: np.ndarray, dtype: DType, predictor: np.ndarray | None = None, *, trials: bool = True
                    ) -> Component:
    """Words [rows, columns] as they are, or as differences from those of a predictor. trials: see choose_parameters."""
    parameters = choose_parameters(words, dtype, predictor, trials=trials)
    return Component(Quantiser.NONE, EntropyMode.CC, word=parameters, word_offset_flag=int(parameters.offset != 0))


def grid_component(halves: np.ndarray, scales: np.ndarray) -> Component:
    """A scaled half-precision grid. halves: words of float16 [rows, columns].  scales: float32 [rows]."""
    return Component(Quantiser.GRID, EntropyMode.CC, grid_scales=scales.astype("<f4").tobytes(),
                     word=choose_parameters(halves, BY_NAME["float16"]))


def uniform_component(step: tuple[int, int], states: int = 0, mode: EntropyMode = EntropyMode.CC) -> Component:
    """Levels of one step, plain or trellis-coded. step: mantissa and exponent."""
    trellis_size = states.bit_length() - 2 if states else 0
    return Component(Quantiser.UNIFORM, mode, uniform=UniformParameters(trellis_size, *step))


def codebook_component(entries: np.ndarray, zero_index: int) -> Component:
    """Indices of a codebook. entries: words [n]."""
    data = entries.astype(entries.dtype.newbyteorder("<")).tobytes()
    return Component(Quantiser.CODEBOOK, EntropyMode.CC, codebook=Codebook(len(entries) - 1, zero_index, data))


def integer_codebook_component(entries: np.ndarray, zero_index: int, step: tuple[int, int]) -> Component:
    """Indices of listed multiples of a step. entries: integers [n].  step: mantissa and exponent."""
    listed = IntegerCodebook(len(entries) - 1, zero_index, [int(n) for n in entries])
    return Component(Quantiser.INTEGER_CODEBOOK, EntropyMode.CC, uniform=UniformParameters(0, *step),
                     integer_codebook=listed)


def decimal_component(decimal_exponent: int) -> Component:
    """Levels over a power of ten."""
    return Component(Quantiser.DECIMAL, EntropyMode.LZMA, decimal_exponent=decimal_exponent)


def fixed_point_component(width: int, fraction_bits: int, mode: EntropyMode = EntropyMode.FIXED) -> Component:
    """Levels of `width` bits over a power of two."""
    return Component(Quantiser.FIXED_POINT, mode, fixed_point=FixedPoint(width, fraction_bits))


def is_constant(c: Component) -> bool:
    """True if a codebook has one entry, so that nothing is coded."""
    listed = {Quantiser.CODEBOOK: c.codebook.codebook_size_minus1,
              Quantiser.INTEGER_CODEBOOK: c.integer_codebook.codebook_size_minus1}
    return listed.get(Quantiser(c.quantiser)) == 0
