"""Structure of tensors: what is found gives back exactly the same words, and ordinary tensors are left alone."""

import numpy as np
import pytest

from refcodec.dtypes import BY_NAME, dtype_of
from refcodec.encoder.first_looks import has_more_values, is_constant, is_off_grid
from refcodec.encoder.hidden_structure import Constant, Listed, Multiples, ScaledHalves, find_structure
from refcodec.quantization.codebook import reconstruct_codebook
from refcodec.quantization.grid import reconstruct_grid
from refcodec.quantization.uniform import reconstruct

RNG = np.random.default_rng(0)


def find(values):
    dtype = dtype_of(values)
    return find_structure(np.ascontiguousarray(values).view(dtype.word), dtype)


def same(a, b):
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(np.uint8), np.ascontiguousarray(b).view(np.uint8))


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64", "int8", "int64"])
def test_constant(name):
    values = np.full((5, 7), 3, BY_NAME[name].numpy)
    found = find(values)
    assert isinstance(found, Constant)
    assert found.word == int(values.view(BY_NAME[name].word)[0, 0])
    assert find(values[:0]) is None


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64"])
def test_uniform(name):
    dtype = BY_NAME[name]
    levels = RNG.integers(-100, 101, (60, 70))
    values = (levels * (3 if name != "bfloat16" else 1) * 2.0 ** -9).astype(dtype.numpy)
    found = find(values)
    assert isinstance(found, Multiples)
    assert found.levels.dtype == np.int32
    same(reconstruct(found.levels, 0, found.step_mantissa, found.step_exponent, dtype), values)
    negative_zero = values.copy()
    negative_zero[levels == 0] = -0.0
    assert not isinstance(find(negative_zero), Multiples)


def test_uniform_integers():
    values = RNG.integers(-100, 101, (60, 70)) * 20
    found = find(values)
    assert isinstance(found, Multiples)
    step = found.step_mantissa * 2 ** found.step_exponent
    np.testing.assert_array_equal(found.levels.astype(np.int64) * step, values)


@pytest.mark.parametrize("name", ["float32", "float64", "int32", "float16"])
def test_codebook(name):
    dtype = BY_NAME[name]
    book = (RNG.standard_normal(30) * 1000 + (0 if dtype.kind == "f" else 50000)).astype(dtype.numpy)
    values = book[np.minimum(RNG.geometric(0.15, (80, 90)), 29)]
    found = find(values)
    assert isinstance(found, Listed)
    assert (np.diff(found.codebook.view(dtype.numpy).astype(float)) > 0).all()
    same(reconstruct_codebook(found.levels, found.codebook, found.zero_index), values.view(dtype.word))


def test_codebook_with_nan_and_both_zeros():
    values = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, 1.1], np.float32)[RNG.integers(0, 6, (50, 50))]
    found = find(values)
    assert isinstance(found, Listed)
    same(reconstruct_codebook(found.levels, found.codebook, found.zero_index), values.view(np.uint32))


@pytest.mark.parametrize("halves", [RNG.standard_normal((40, 64)) * 0.05, RNG.integers(-127, 128, (40, 64)),
                                    RNG.standard_normal((40, 64)) * 1e-6])
def test_grid(halves):
    h = halves.astype(np.float16)
    h[3], h[4, :60] = 0, -0.0
    scales = np.exp(RNG.standard_normal((40, 1)) * 3).astype(np.float32)
    values = (h.astype(np.float64) * scales.astype(np.float64)).astype(np.float32)
    found = find(values)
    assert isinstance(found, ScaledHalves)
    same(reconstruct_grid(found.halves, found.scales), values)
    values[20, 5] = np.nextafter(values[20, 5], np.float32(np.inf), dtype=np.float32)
    assert find(values) is None


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64"])
def test_ordinary_tensors(name):
    for shape in ((64, 100), (1, 200), (200, 1), (300, 3)):
        assert find((RNG.standard_normal(shape) * 0.05).astype(BY_NAME[name].numpy)) is None
    values = RNG.standard_normal((30, 30)).astype(BY_NAME[name].numpy)
    values[0, 0], values[1, 1] = np.nan, np.inf
    assert find(values) is None


# First looks

@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64", "float8_e4m3fn"])
def test_what_is_off_every_grid_is_no_multiple(name):
    dtype = BY_NAME[name]
    octaves = min(16, dtype.mantissa + 1)
    ordinary = RNG.normal(0, 0.1, 4000).astype(dtype.numpy).view(dtype.word)
    assert is_off_grid(ordinary, dtype, octaves) or dtype.bits == 8
    limit = min(1 << octaves, 256 if dtype.bits > 8 else 8)
    on_grid = (RNG.integers(-limit + 1, limit, 4000) * 2.0 ** -8).astype(dtype.numpy) + 0
    assert not is_off_grid(on_grid.view(dtype.word), dtype, octaves)
    assert not is_off_grid(np.zeros(9, dtype.word), dtype, octaves)
    assert is_off_grid(np.array([1 << (dtype.bits - 1)], dtype.word), dtype, octaves)             # -0


@pytest.mark.parametrize("word", ["u1", "u2", "u4", "u8"])
def test_different_words_are_counted(word):
    dtype = np.dtype(word)
    spread = np.arange(100, dtype=np.uint64) * (2**64 // 101) >> (64 - 8 * dtype.itemsize)
    words = RNG.permutation(np.repeat(spread, 5)).astype(dtype)
    assert np.unique(words).size == 100
    assert not has_more_values(words, 100)
    assert has_more_values(words, 99)
    assert has_more_values(np.concatenate([words, np.array([2**(8 * dtype.itemsize) - 1], dtype)]), 100)


def test_constants_are_seen():
    assert is_constant(np.full((3, 4), 2**63 + 1, np.uint64))
    assert is_constant(np.zeros((1, 1), np.uint8))
    assert not is_constant(np.array([[5, 5, 5, 6]], np.uint16))
