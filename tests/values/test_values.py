"""The one way from integers to values: a row for each quantiser, segment by segment (SPEC 8.5)."""

from __future__ import annotations

import numpy as np
import pytest

from refcodec.bitstream.structures import INDICES, Component, PredictionMode, Quantiser, SpatialPredictor
from refcodec.dtypes import BY_NAME
from refcodec.encoder.components import (
    codebook_component,
    decimal_component,
    fixed_point_component,
    grid_component,
    integer_codebook_component,
    uniform_component,
)
from refcodec.errors import ReconstructionError
from refcodec.prediction.neighbours import Neighbours
from refcodec.prediction.spatial import subtract_spatial
from refcodec.quantization.values import QUANTISERS, Place, indices, levels_type, step_of, values

FLOAT32 = BY_NAME["float32"]
LEFT = Neighbours(PredictionMode.SPATIAL, SpatialPredictor.LEFT)
RNG = np.random.default_rng(3)
LEVELS = RNG.integers(-8, 8, (12, 5)).astype(np.int32)
HALVES = RNG.normal(size=(12, 5)).astype(np.float16).view(np.uint16)
SCALES = RNG.uniform(0.5, 2, 12).astype(np.float32)
BASE = RNG.normal(size=(12, 5)).astype(np.float32)
ENTRIES = RNG.normal(size=16).astype(np.float32)

# quantiser: component, integers, and their values without a prediction
CASES: dict[Quantiser, tuple[Component, np.ndarray, np.ndarray]] = {
    Quantiser.NONE: (Component(Quantiser.NONE), BASE.view(np.uint32), BASE),
    Quantiser.UNIFORM: (uniform_component((3, -2)), LEVELS, (LEVELS * 0.75).astype(np.float32)),
    Quantiser.CODEBOOK: (codebook_component(ENTRIES.view(np.uint32), 8), LEVELS, ENTRIES[LEVELS + 8]),
    Quantiser.GRID: (grid_component(HALVES, SCALES), HALVES,
                     (HALVES.view(np.float16).astype(np.float64) * SCALES[:, None]).astype(np.float32)),
    Quantiser.DECIMAL: (decimal_component(3), LEVELS.astype(np.int64), (LEVELS / 1000.0).astype(np.float32)),
    Quantiser.FIXED_POINT: (fixed_point_component(4, 1), LEVELS, (LEVELS / 2).astype(np.float32)),
    Quantiser.INTEGER_CODEBOOK: (integer_codebook_component(np.arange(16) ** 2, 8, (1, -3)), LEVELS,
                                 ((LEVELS + 8) ** 2 / 8).astype(np.float32)),
}
PREDICTED = (Quantiser.UNIFORM, Quantiser.DECIMAL, Quantiser.FIXED_POINT, Quantiser.INTEGER_CODEBOOK)


def test_every_quantiser_has_a_row():
    assert set(QUANTISERS) == set(Quantiser) == set(CASES)


def test_rows_with_a_step_are_those_that_factors_may_have():
    assert {q for q, row in QUANTISERS.items() if row.step and row.indices} == set(INDICES)
    assert not any((row.step is None) != (row.indices is None) for row in QUANTISERS.values())


@pytest.mark.parametrize("quantiser", CASES)
def test_values(quantiser):
    c, integers, expected = CASES[quantiser]
    assert np.array_equal(values(c, integers, FLOAT32), expected.view(np.uint32))


@pytest.mark.parametrize("quantiser", PREDICTED)
def test_values_are_added_to_a_prediction(quantiser):
    c, integers, expected = CASES[quantiser]
    residual = LEVELS / 1000.0 if quantiser == Quantiser.DECIMAL else expected.astype(np.float64)
    found = values(c, integers, FLOAT32, BASE.view(np.uint32)).view(np.float32)
    assert np.array_equal(found, (BASE.astype(np.float64) + residual).astype(np.float32))


@pytest.mark.parametrize("quantiser", CASES)
def test_a_segment_knows_its_place(quantiser):
    c, integers, expected = CASES[quantiser]
    found = values(c, integers[7:], FLOAT32, None, Place(7))
    assert np.array_equal(found, np.ascontiguousarray(expected[7:]).view(np.uint32))


@pytest.mark.parametrize("quantiser", CASES)
def test_a_segment_may_be_empty(quantiser):
    c, integers, _ = CASES[quantiser]
    assert values(c, integers[:0], FLOAT32).shape == (0, 5)


@pytest.mark.parametrize("c", [uniform_component((3, -2)), fixed_point_component(5, 2)], ids=["uniform", "fixed point"])
@pytest.mark.parametrize("predictor", SpatialPredictor)
@pytest.mark.parametrize("first, plane_rows", [(0, 1), (0, 5), (8, 5)])
def test_neighbours(c, predictor, first, plane_rows):
    differences = subtract_spatial(LEVELS[first:], predictor, plane_rows, first % plane_rows)
    place = Place(first, plane_rows, Neighbours(PredictionMode.SPATIAL, predictor))
    found = values(c, differences, FLOAT32, None, place)
    assert np.array_equal(found, values(c, LEVELS[first:], FLOAT32))


def test_the_range_of_fixed_point_is_that_of_indices():
    """Not of the differences that are coded (R8.5-10)."""
    far = np.array([[7, -8, 7]], np.int32)
    differences = LEFT.subtract(far, 1, 0)
    assert np.abs(differences).max() == 15
    c = fixed_point_component(4, 0)
    found = values(c, differences, FLOAT32, None, Place(neighbours=LEFT))
    assert np.array_equal(found.view(np.float32), far)
    with pytest.raises(ReconstructionError):
        values(c, differences, FLOAT32)


@pytest.mark.parametrize("quantiser, step", [
    (Quantiser.UNIFORM, (3, -2)), (Quantiser.FIXED_POINT, (1, -1)), (Quantiser.INTEGER_CODEBOOK, (1, -3))])
def test_indices_and_steps(quantiser, step):
    c, levels, expected = CASES[quantiser]
    assert step_of(c) == step
    n = indices(c, levels)
    assert n.dtype == np.int64
    assert np.array_equal(n * (step[0] * 2.0 ** step[1]), expected)


@pytest.mark.parametrize("quantiser", set(Quantiser) - set(INDICES))
def test_others_have_neither(quantiser):
    c, integers, _ = CASES[quantiser]
    with pytest.raises(ValueError):
        step_of(c)
    with pytest.raises(ValueError):
        indices(c, integers)


@pytest.mark.parametrize("quantiser", Quantiser)
def test_types_of_levels(quantiser):
    assert levels_type(Component(quantiser)) == (np.int64 if quantiser == Quantiser.DECIMAL else np.int32)


def test_words_of_a_codebook_fit_its_type():
    c = codebook_component(np.array([3, 16], np.uint8), 0)
    with pytest.raises(ReconstructionError) as error:
        values(c, np.zeros((2, 2), np.int32), BY_NAME["float4_e2m1fn"])
    assert error.value.rules == ("R7.7.5-1",)


def test_complex_codebooks_list_parts():
    c = codebook_component(np.array([1.0, -2.0], np.float32).view(np.uint32), 0)
    found = values(c, np.array([[0, 1, 1, 0]], np.int32), BY_NAME["complex64"])
    assert found.view(np.complex64).tolist() == [[1 - 2j, -2 + 1j]]
