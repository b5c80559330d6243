"""The decimal quantisers of the source papers: S1, representation precision, and S2, s_bits and q_bits (informative).

Both count in units of 10^-p and share the decoder's division (SPEC 8.5.8); they differ in how they round.
A difference of models is quantised by giving the residual float64(element) - float64(prediction), rounded once.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ...errors import ConfigError
from ...quantization.decimal import EXPONENT_MAX, LEVEL_LIMIT, POWERS
from ..config_parts import S_BITS

ROUNDING_OFFSET = Fraction(2, 5)


def rp_levels(values: np.ndarray, precision: int) -> np.ndarray | None:
    """S1: int64(float64(w) * 10^p), the product rounded once, truncated toward zero; the decimal exponent is p.

    values: floats of any shape, elements or residuals.  precision: p, 0..22 (the paper: 2..8).
    Truncation doubles the zero interval and errs by up to a whole unit, with four times the squared error of rounding;
    and it is not idempotent: coding a decoded model again may lose another unit.
    Returns int64 of that shape; None where a value is not finite or a level is larger than 2^53.
    Raises ConfigError BAD_CONFIG for another p.
    """
    scaled = values.astype(np.float64) * _power(precision)      # in float32, 19.6 % of the levels differ at p = 8
    if not (np.abs(scaled) <= LEVEL_LIMIT).all():               # false for NaN, too
        return None
    return np.trunc(scaled).astype(np.int64)


def qbits_levels(values: np.ndarray, q_bits: int, s_bits: int = S_BITS, offset: Fraction = ROUNDING_OFFSET
                 ) -> np.ndarray | None:
    """S2: sign(w) * floor((|w| * 10^s + f * 10^k) / 10^k) in exact arithmetic; the decimal exponent is s - k.

    values: floats of any shape, elements or residuals.  q_bits: k (the paper: 4..11).  s_bits: s.
    offset: f, 0 < f < 1.
    The magnitude is rounded, so that both signs are treated alike: round(x + f) would bias every weight.
    Returns int64 of that shape; None where a value is not finite or a level is larger than 2^53.
    Raises ConfigError BAD_CONFIG where s - k is not in 0..22.
    """
    power = _power(s_bits - q_bits)
    magnitude = np.abs(values.reshape(-1).astype(np.float64))
    shifted = magnitude * power + float(offset)
    if not (shifted <= LEVEL_LIMIT).all():
        return None
    levels = np.floor(shifted)
    # Three roundings led here; where they could have crossed an integer, integers decide.
    for i in np.flatnonzero(np.abs(shifted - np.rint(shifted)) <= shifted * 2.0**-51):
        levels[i] = (Fraction(magnitude[i]) * int(power) + offset) // 1
    return np.where(values < 0, -levels.reshape(values.shape), levels.reshape(values.shape)).astype(np.int64)


def _power(exponent: int) -> float:
    if not 0 <= exponent <= EXPONENT_MAX:
        raise ConfigError("BAD_CONFIG", f"the decimal exponent must be in 0..{EXPONENT_MAX}, not {exponent}")
    return POWERS[exponent]
