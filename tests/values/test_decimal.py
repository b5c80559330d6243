"""Decimal and fixed-point quantisers (SPEC 8.5.8 to 8.5.10), and the levels of the papers S1 and S2."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refcodec.bitstream.structures import Component
from refcodec.dtypes import BY_CODE, BY_NAME, DType
from refcodec.encoder.components import fixed_point_component, integer_codebook_component
from refcodec.encoder.quantisers.decimal import qbits_levels, rp_levels
from refcodec.errors import ConfigError, ReconstructionError
from refcodec.quantization.decimal import reconstruct_decimal
from refcodec.quantization.fixed_point import best_fraction_bits, fixed_point_levels
from refcodec.quantization.rounding import supports
from refcodec.quantization.uniform import reconstruct, reconstruct_indices
from refcodec.quantization.values import values

FLOAT32, FLOAT64 = BY_NAME["float32"], BY_NAME["float64"]
FLOATS = [d for d in BY_CODE.values() if d.kind == "f" and supports(d)]


def nearest_float64(value: Fraction) -> float:
    """Correct rounding by the integers of Fraction."""
    return value.numerator / value.denominator


def code_of(call) -> str:
    with pytest.raises(ReconstructionError) as caught:
        call()
    return caught.value.code


# Decoder: decimal

@pytest.mark.parametrize("exponent", [0, 1, 4, 8, 12, 15, 22])
def test_one_division_correctly_rounded(exponent):
    rng = np.random.default_rng(exponent)
    levels = np.concatenate([rng.integers(-(1 << 53), (1 << 53) + 1, 300), rng.integers(-5000, 5000, 300),
                             [0, 1, -1, 1 << 53, -(1 << 53)]])
    expected = [nearest_float64(Fraction(int(q), 10**exponent)) for q in levels]
    assert reconstruct_decimal(levels, exponent, FLOAT64).tolist() == expected
    with np.errstate(over="ignore"):
        assert np.array_equal(reconstruct_decimal(levels, exponent, FLOAT32), np.array(expected).astype(np.float32))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_prediction_is_added_in_float64_and_rounded_to_the_type(dtype: DType):
    rng = np.random.default_rng(1)
    base = rng.normal(0, 0.5, (30, 40)).astype(dtype.numpy)
    levels = rng.integers(-900, 900, (30, 40))
    found = reconstruct_decimal(levels, 3, dtype, base)
    assert found.dtype == dtype.numpy
    assert found.shape == (30, 40)
    exact = base.astype(np.float64) + levels.astype(np.float64) / 1000.0
    if dtype.bits >= 32:
        assert np.array_equal(found, exact.astype(dtype.numpy))
    else:
        spacing = np.spacing(np.maximum(np.abs(exact), 2.0**-6)) * 2.0 ** (52 - dtype.mantissa)
        assert (np.abs(found.astype(np.float64) - exact) <= 0.5 * np.maximum(spacing, 0.5)).all()


def test_predictions_that_are_not_finite_predict_zero():
    base = np.array([np.nan, np.inf, -np.inf, -0.0, 1.0], np.float32)
    assert reconstruct_decimal(np.array([5, 5, 5, 0, 5]), 1, FLOAT32, base).tolist() == [0.5, 0.5, 0.5, 0.0, 1.5]


def test_many_chunks_equal_their_parts():
    levels = np.random.default_rng(2).integers(-10**6, 10**6, (3, 200_000))
    base = np.random.default_rng(3).normal(size=levels.shape).astype(np.float32)
    whole = reconstruct_decimal(levels, 6, FLOAT32, base)
    assert np.array_equal(whole, (base.astype(np.float64) + levels / 1e6).astype(np.float32))
    assert np.array_equal(reconstruct_decimal(levels.T, 6, FLOAT32, base.T), whole.T)


@pytest.mark.parametrize("level", [(1 << 53) + 1, -(1 << 53) - 1, -(1 << 63), (1 << 63) - 1])
def test_decimals_beyond_2_to_53(level):
    assert code_of(lambda: reconstruct_decimal(np.full((1, 1), level), 0, FLOAT32)) == "OUT_OF_RANGE"


def test_decimal_errors():
    one = np.ones((1, 1), np.int64)
    assert code_of(lambda: reconstruct_decimal(one, 23, FLOAT32)) == "OUT_OF_RANGE"
    assert code_of(lambda: reconstruct_decimal(one, -1, FLOAT32)) == "OUT_OF_RANGE"
    assert code_of(lambda: reconstruct_decimal(one * 65520, 0, BY_NAME["float16"])) == "OVERFLOW"
    largest = np.full((1, 1), np.finfo(np.float64).max)
    assert reconstruct_decimal(one, 0, FLOAT64, largest) == largest
    assert reconstruct_decimal(np.empty((0, 4), np.int64), 3, FLOAT32).shape == (0, 4)


# Encoder: S1

def test_rp_is_the_paper_to_the_bit():
    w = np.random.default_rng(4).laplace(0, 0.05, 20_000).astype(np.float32)
    for p in range(2, 9):
        levels = rp_levels(w, p)
        assert levels.dtype == np.int64
        assert levels.tolist() == [int(float(x) * 10.0**p) for x in w]
        decoded = reconstruct_decimal(levels, p, FLOAT32)
        assert np.array_equal(decoded, (levels.astype(np.float64) / 10.0**p).astype(np.float32))
        assert (np.abs(decoded) <= np.abs(w)).all() or p > 6
        assert np.abs(decoded.astype(np.float64) - w).max() <= 10.0**-p + 2.0**-25
    in_float32 = (w * np.float32(1e8)).astype(np.int64)
    assert (in_float32 != rp_levels(w, 8)).mean() > 0.1


def test_truncation_is_not_idempotent_and_rounding_is():
    w = np.random.default_rng(5).laplace(0, 0.05, 20_000).astype(np.float32)
    once = reconstruct_decimal(rp_levels(w, 4), 4, FLOAT32)
    assert (rp_levels(once, 4) != rp_levels(w, 4)).mean() > 0.01
    rounded = reconstruct_decimal(qbits_levels(w, 8), 4, FLOAT32)
    assert np.array_equal(qbits_levels(rounded, 8), qbits_levels(w, 8))
    truncated = np.square(once.astype(np.float64) - w).mean()
    assert truncated > 3.5 * np.square(rounded.astype(np.float64) - w).mean()


# Encoder: S2

def paper_qbits(w: float, k: int, s: int = 12, f: Fraction = Fraction(2, 5)) -> int:
    magnitude = (abs(Fraction(w)) * 10**s + f * 10**k) / 10**k
    return (-1 if w < 0 else 1) * math.floor(magnitude)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_qbits_is_exact(dtype):
    w = np.random.default_rng(6).laplace(0, 0.05, (20, 60)).astype(dtype)
    for k in range(13):
        levels = qbits_levels(w, k)
        assert levels.dtype == np.int64
        assert levels.shape == w.shape
        assert levels.reshape(-1).tolist() == [paper_qbits(float(x), k) for x in w.reshape(-1)]


def test_qbits_at_its_borders():
    for k in (4, 8, 11):
        p = 12 - k
        borders = np.array([(n + 0.6) / 10**p for n in range(200)])
        near = np.concatenate([borders, np.nextafter(borders, 0), np.nextafter(borders, 9), -borders])
        assert qbits_levels(near, k).tolist() == [paper_qbits(float(x), k) for x in near]
    few = np.array([0.0, -0.0, 0.0625, -0.0625, 0.06])           # the float64 next to 0.06 is a little less
    assert qbits_levels(few, 11).tolist() == [0, 0, 1, -1, 0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-2.0**20, 2.0**20), min_size=1, max_size=8), st.integers(0, 12),
       st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=50))
def test_any_finite_value(values, k, offset):
    w = np.array(values, np.float64)
    found = qbits_levels(w, k, offset=offset)
    expected = [paper_qbits(x, k, f=offset) for x in values]
    assert (found is None and max(map(abs, expected)) >= 1 << 52) or found.tolist() == expected


def test_both_signs_are_treated_alike():
    w = np.random.default_rng(7).normal(0, 0.1, 5000)
    for levels in (rp_levels, qbits_levels):
        assert np.array_equal(levels(-w, 4), -levels(w, 4))


def test_what_cannot_be_quantised():
    for bad in (np.nan, np.inf, -np.inf, 1e300):
        w = np.array([0.5, bad])
        assert rp_levels(w, 4) is None
        assert qbits_levels(w, 8) is None
    assert rp_levels(np.array([2.0**52]), 1) is None
    for levels, parameter in ((rp_levels, 23), (rp_levels, -1), (qbits_levels, 13), (qbits_levels, -11)):
        with pytest.raises(ConfigError):
            levels(np.ones(1), parameter)
    assert rp_levels(np.empty((0, 3), np.float32), 4).shape == (0, 3) == qbits_levels(np.empty((0, 3)), 8).shape


# Fixed point and integer codebook

def elements(c: Component, levels: np.ndarray, dtype: DType, base: np.ndarray | None = None) -> np.ndarray:
    return values(c, levels, dtype, None if base is None else base.view(dtype.word)).view(dtype.numpy)


@pytest.mark.parametrize("width", [1, 2, 8, 16, 32])
@pytest.mark.parametrize("fraction_bits", [-3, 0, 7, 40, 1074, -970])
def test_fixed_point_is_exact(width, fraction_bits):
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    levels = np.unique(np.array([low, low + 1, -1, 0, 1, high - 1, high]).clip(low, high))
    found = elements(fixed_point_component(width, fraction_bits), levels, FLOAT64)
    assert [Fraction(float(v)) for v in found] == [Fraction(int(q)) / Fraction(2) ** fraction_bits for q in levels]
    component = fixed_point_component(width, 0)
    assert code_of(lambda: elements(component, np.array([low - 1]), FLOAT64)) == "OUT_OF_RANGE"
    assert code_of(lambda: elements(component, np.array([high + 1]), FLOAT64)) == "OUT_OF_RANGE"


@pytest.mark.parametrize(("width", "fraction_bits"), [(0, 0), (33, 0), (8, 1075), (8, -971)])
def test_fixed_point_parameters_out_of_range(width, fraction_bits):
    component = fixed_point_component(width, fraction_bits)
    assert code_of(lambda: elements(component, np.ones(1, np.int32), FLOAT32)) == "OUT_OF_RANGE"


def test_fixed_point_errors_and_prediction():
    one = np.ones(1, np.int32)
    assert code_of(lambda: elements(fixed_point_component(8, -128), one, FLOAT32)) == "OVERFLOW"
    base = np.array([1.0, np.nan], np.float32)
    assert elements(fixed_point_component(3, 1), np.array([3, 3]), FLOAT32, base).tolist() == [2.5, 1.5]


@pytest.mark.parametrize("scale", [1e-6, 0.05, 1.0, 300.0])
@pytest.mark.parametrize("width", [2, 4, 8, 12])
def test_one_fraction_bit_more_or_fewer_errs_more(scale, width):
    x = np.random.default_rng(8).normal(0, scale, 3000).astype(np.float32)

    def error(bits: int) -> float:
        rebuilt = elements(fixed_point_component(width, bits), fixed_point_levels(x, width, bits), FLOAT32)
        return np.square(rebuilt.astype(np.float64) - x).sum()

    best = best_fraction_bits(x, width)
    assert error(best) <= min(error(best + 1), error(best - 1))


def test_best_fraction_bits():
    assert best_fraction_bits(np.zeros(4), 8) == 0
    assert best_fraction_bits(np.array([1.0, -0.5]), 8) == 6                  # 1.0 is 64 of 127


def test_integer_codebook_errors_and_prediction():
    integers = np.array([-7, 0, 3, 1 << 32], np.int64)
    levels = np.array([[-1, 0], [1, 2]], np.int32)

    def found(levels: np.ndarray, step: tuple[int, int], dtype: DType = FLOAT64, more: int = 0, **base) -> np.ndarray:
        return elements(integer_codebook_component(integers + more, 1, step), levels, dtype, **base)

    assert found(levels, (3, -1)).tolist() == [[-10.5, 0.0], [4.5, 1.5 * 2**32]]
    base = np.array([[0.5, np.inf], [1.0, 0.0]])
    assert found(levels, (3, -1), base=base).tolist()[0] == [-10.0, 0.0]
    for bad in (-1, 1):
        assert code_of(lambda bad=bad: found(levels + bad, (1, 0))) == "OUT_OF_RANGE"
    assert code_of(lambda: found(levels, (0, 0))) == "OUT_OF_RANGE"
    assert code_of(lambda: found(levels, (1, 0), more=1)) == "OUT_OF_RANGE"
    assert code_of(lambda: found(levels, (1, 970), FLOAT32)) == "OVERFLOW"


def test_indices_are_levels_without_a_trellis():
    levels = np.random.default_rng(9).integers(-(1 << 31), 1 << 31, 300_000).astype(np.int32)
    for dtype, exponent in ((FLOAT32, -40), (FLOAT64, -1074), (BY_NAME["bfloat16"], -33)):
        assert np.array_equal(reconstruct_indices(levels.astype(np.int64), 40503, exponent, dtype).view(dtype.word),
                              reconstruct(levels, 0, 40503, exponent, dtype).view(dtype.word))
