"""General-purpose coders of serialised integers: round trips, layouts, damage, bombs (SPEC 9.9, 9.10.2)."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refcodec.bitstream.structures import EntropyMode
from refcodec.entropy.byte_coding import (
    best_bytes,
    decode_bytes,
    encode_bytes,
    least_width,
)
from refcodec.errors import EntropyError
from refcodec.expansion import LZMA_FILTERS

MODES = [EntropyMode.RAW, EntropyMode.DEFLATE, EntropyMode.GZIP, EntropyMode.BZIP2, EntropyMode.LZMA]
COMPRESSING = MODES[1:]
LEVELS = np.array([0, 1, -1, 5, 0, 0, 0, -128, 127, 3], np.int64)
TYPES = st.sampled_from([np.dtype(f"{kind}{width}") for kind in "iu" for width in (1, 2, 4, 8)])


@settings(max_examples=60, deadline=None)
@given(TYPES.flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 40))), st.sampled_from(MODES), st.booleans())
def test_round_trip(values, mode, planes):
    signed, width = values.dtype.kind == "i", values.dtype.itemsize
    data = encode_bytes(values, mode, width, signed, planes)
    decoded = decode_bytes(data, values.size, mode, width, signed, planes)
    assert decoded.dtype == values.dtype and np.array_equal(decoded, values)
    data, width, planes = best_bytes(values, mode, signed)
    assert np.array_equal(decode_bytes(data, values.size, mode, width, signed, planes), values)


def test_layout_and_containers():
    values = np.array([0x0102, -2], np.int16)
    assert encode_bytes(values, EntropyMode.RAW, 2, True) == b"\x02\x01\xfe\xff"
    assert encode_bytes(values, EntropyMode.RAW, 2, True, planes=True) == b"\x02\xfe\x01\xff"
    assert zlib.decompress(encode_bytes(values, EntropyMode.DEFLATE, 4, True)) == b"\x02\x01\0\0\xfe\xff\xff\xff"
    assert gzip.decompress(encode_bytes(values, EntropyMode.GZIP, 2, True)) == b"\x02\x01\xfe\xff"
    assert bz2.decompress(encode_bytes(values, EntropyMode.BZIP2, 2, True)) == b"\x02\x01\xfe\xff"
    coded = encode_bytes(values, EntropyMode.LZMA, 2, True)
    assert coded[-1] == 0 and lzma.decompress(coded, lzma.FORMAT_RAW, filters=LZMA_FILTERS) == b"\x02\x01\xfe\xff"


def test_width():
    assert least_width(np.zeros(0, np.int64)) == least_width(LEVELS) == 1
    for width in (1, 2, 4):
        edge = 1 << (8 * width - 1)
        assert least_width(np.array([-edge, edge - 1])) == width
        assert least_width(np.array([-edge - 1])) == least_width(np.array([edge])) == 2 * width
    for signed, values in ((True, [128]), (True, [-129]), (False, [256]), (False, [-1])):
        with pytest.raises(EntropyError) as error:
            encode_bytes(np.array(values), EntropyMode.DEFLATE, 1, signed)
        assert error.value.code == "OUT_OF_RANGE"


def test_planes_pay_where_bytes_differ():
    weights = np.random.default_rng(1).normal(0, 0.05, 4000).astype(np.float32).view(np.uint32)
    for mode in (EntropyMode.DEFLATE, EntropyMode.BZIP2):
        data, width, planes = best_bytes(weights, mode, False)
        assert planes and width == 4 and len(data) < len(encode_bytes(weights, mode, 4, False))


@pytest.mark.parametrize("mode", MODES)
def test_end(mode):
    data = encode_bytes(LEVELS, mode, 2, True)
    bad = [data + b"\0", data[:-1], b"", data + data]
    if mode != EntropyMode.RAW:
        bad += [data[:k] for k in range(len(data))]
    cases = [(b, 10) for b in bad] + [(data, 9), (data, 11), (data, 0)]
    for coded, count in cases:
        with pytest.raises(EntropyError) as error:
            decode_bytes(coded, count, mode, 2, True)
        assert error.value.code == "ENTROPY_END"
    assert decode_bytes(encode_bytes(LEVELS[:0], mode, 8, False), 0, mode, 8, False).size == 0


@pytest.mark.parametrize("mode", COMPRESSING)
def test_damage(mode):
    rng = np.random.default_rng(mode)
    data = encode_bytes(LEVELS.repeat(50), mode, 2, True)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            assert decode_bytes(damaged, 500, mode, 2, True).size == 500
        except EntropyError as error:
            assert error.code == "ENTROPY_END"
    for _ in range(100):
        with pytest.raises(EntropyError):
            decode_bytes(rng.bytes(rng.integers(60)), 500, mode, 2, True)


def test_headers():
    whole = encode_bytes(LEVELS, EntropyMode.GZIP, 1, True)
    named = whole[:3] + b"\x08" + whole[4:10] + b"name\0" + whole[10:]
    assert gzip.decompress(named) == LEVELS.astype(np.int8).tobytes()
    preset = zlib.compressobj(9, zlib.DEFLATED, 15, 9, 0, b"a preset dictionary")
    dictionary = preset.compress(LEVELS.astype(np.int8).tobytes()) + preset.flush()
    other = whole[:4] + b"\x01\x02\x03\x04\x02\x07" + whole[10:]             # time, flags, system: of no meaning
    assert np.array_equal(decode_bytes(other, 10, EntropyMode.GZIP, 1, True), LEVELS)
    for mode, data in ((EntropyMode.GZIP, named), (EntropyMode.DEFLATE, dictionary), (EntropyMode.DEFLATE, whole)):
        with pytest.raises(EntropyError):
            decode_bytes(data, 10, mode, 1, True)


@pytest.mark.parametrize("mode", COMPRESSING)
def test_bombs_and_memory(mode):
    zeros = np.zeros(1 << 22, np.uint8)
    bomb = encode_bytes(zeros, mode, 1, False)
    tracemalloc.start()
    with pytest.raises(EntropyError):
        decode_bytes(bomb, 1000, mode, 1, False)
    assert tracemalloc.get_traced_memory()[1] < 1 << 21
    tracemalloc.reset_peak()
    decoded = decode_bytes(encode_bytes(zeros[: 1 << 20], mode, 4, False, True), 1 << 20, mode, 4, False, True)
    tracemalloc.stop()
    assert decoded.size == 1 << 20 and not decoded.any()


def test_memory_of_planes():
    values = np.random.default_rng(0).integers(0, 256, 1 << 20).astype(np.uint32)
    data = encode_bytes(values, EntropyMode.DEFLATE, 4, False, True)
    tracemalloc.start()
    decoded = decode_bytes(data, values.size, EntropyMode.DEFLATE, 4, False, True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(decoded, values) and peak < 3 * values.nbytes
