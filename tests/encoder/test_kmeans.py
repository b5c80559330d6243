"""Codebooks by k-means: error near the optimum, zeros that stay, entries that the decoder reproduces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refcodec.dtypes import BY_NAME
from refcodec.encoder.components import integer_codebook_component
from refcodec.encoder.quantisers.kmeans import integer_codebook, kmeans_centres, kmeans_codebook
from refcodec.encoder.rate_control import representable, step_parts
from refcodec.quantization.codebook import reconstruct_codebook
from refcodec.quantization.values import values

FLOAT32 = BY_NAME["float32"]


def least_error(x: np.ndarray, size: int) -> float:
    """Squared error of the best `size` centres, by dynamic programming over the sorted values."""
    x = np.sort(x)
    sums, squares = np.concatenate([[0], np.cumsum(x)]), np.concatenate([[0], np.cumsum(x * x)])
    first, end = np.arange(x.size + 1)[:, None], np.arange(x.size + 1)[None, :]
    cost = squares[end] - squares[first] - (sums[end] - sums[first]) ** 2 / np.maximum(end - first, 1)
    cost = np.where(first <= end, cost, np.inf)
    best = cost[0]
    for _ in range(size - 1):
        best = (best[:, None] + cost).min(axis=0)
    return float(best[-1])


@pytest.mark.parametrize("kind", ["laplace", "normal", "uniform"])
@pytest.mark.parametrize("size", [2, 4, 8, 16, 32])
def test_error_is_near_the_optimum(kind, size):
    x = getattr(np.random.default_rng(3), kind)(size=800)
    error = float(np.square(x[:, None] - kmeans_centres(x, size)[None, :]).min(axis=1).sum())
    assert error <= 1.15 * least_error(x, size)


def test_few_values_are_kept_exactly():
    x = np.array([0.5, -1.25, 0.5, 3.0, 0.0], np.float32)
    found = kmeans_codebook(x, 4, FLOAT32)
    assert found.entries.tolist() == [-1.25, 0.0, 0.5, 3.0]
    assert found.zero_index == 1
    assert found.levels.tolist() == [1, -1, 1, 2, 0]
    assert found.levels.dtype == np.int32


def test_fixed_zero_keeps_pruned_weights():
    rng = np.random.default_rng(4)
    x = np.where(rng.random((60, 50)) < 0.7, 0, rng.normal(0.3, 1, (60, 50))).astype(np.float32)
    found = kmeans_codebook(x, 16, FLOAT32, fixed_zero=True)
    rebuilt = reconstruct_codebook(found.levels, found.entries, found.zero_index)
    assert found.entries[found.zero_index] == 0
    assert len(found.entries) <= 16
    assert (rebuilt[x == 0] == 0).all()
    assert (found.levels[x == 0] == 0).all()
    assert np.square(rebuilt - x).mean() < 0.01 * np.square(x).mean()
    assert kmeans_codebook(np.ones((3, 3), np.float32), 1, FLOAT32, fixed_zero=True).entries.tolist() == [0]


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64", "float8_e4m3fn"])
def test_every_entry_is_of_the_type_and_each_level_the_nearest(name):
    dtype = BY_NAME[name]
    x = np.random.default_rng(5).normal(0, 1, 4000).astype(dtype.numpy)
    found = kmeans_codebook(x, 12, dtype)
    numbers = found.entries.astype(np.float64)
    assert found.entries.dtype == dtype.numpy
    assert (np.diff(numbers) > 0).all()
    assert 8 <= len(numbers) <= 12
    rebuilt = reconstruct_codebook(found.levels, found.entries, found.zero_index).astype(np.float64)
    exact = x.astype(np.float64)
    assert np.array_equal(np.abs(rebuilt - exact), np.abs(exact[:, None] - numbers).min(axis=1))
    again = kmeans_codebook(x, 12, dtype)
    assert np.array_equal(again.levels, found.levels)
    assert np.array_equal(again.entries, found.entries)


@pytest.mark.parametrize("fixed_zero", [False, True])
def test_integer_codebook(fixed_zero):
    x = np.random.default_rng(6).laplace(0, 0.05, (40, 70)).astype(np.float32)
    step = representable(0.003)
    found = integer_codebook(x, 24, step, fixed_zero)
    component = integer_codebook_component(found.entries, found.zero_index, step_parts(step))
    decoded = values(component, found.levels, FLOAT32).view(np.float32)
    assert found.entries.dtype == np.int64
    assert len(found.entries) <= 24
    assert (np.diff(found.entries) > 0).all()
    assert set(np.unique(decoded)) <= set((found.entries * step).astype(np.float32))
    plain = kmeans_codebook(x, 24, FLOAT32, fixed_zero)
    ideal = reconstruct_codebook(plain.levels, plain.entries, plain.zero_index)
    assert np.square(decoded - x).mean() < 1.1 * np.square(ideal - x).mean() + step**2 / 12


def test_what_has_no_codebook():
    for bad in ([], [np.nan, 1.0], [np.inf], [1e300]):
        x = np.array(bad, np.float64)
        assert kmeans_codebook(x, 4, BY_NAME["float64"]) is None
        assert integer_codebook(x, 4, 1.0) is None
    assert integer_codebook(np.array([1.0, 2.0]), 2, 1e-12) is None


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-2.0**100, 2.0**100, width=32)),
       st.integers(1, 20), st.booleans())
def test_any_values(x, size, fixed_zero):
    for dtype in (FLOAT32, BY_NAME["float64"]):
        found = kmeans_codebook(x, size, dtype, fixed_zero)
        assert 1 <= len(found.entries) <= size
        assert 0 <= found.zero_index < len(found.entries)
        rebuilt = reconstruct_codebook(found.levels, found.entries, found.zero_index)
        assert rebuilt.shape == x.shape
        assert x.min() <= max(rebuilt.max(), x.min())
        if np.unique(x).size <= size and not fixed_zero:
            assert np.array_equal(rebuilt, x.astype(dtype.numpy))
