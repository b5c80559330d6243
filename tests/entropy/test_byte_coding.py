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

from refcodec.entropy.byte_coding import (
    BZIP2,
    DEFLATE,
    GZIP,
    LZMA,
    RAW,
    best_bytes,
    decode_bytes,
    encode_bytes,
    least_width,
)
from refcodec.entropy.modes import MODES
from refcodec.errors import EntropyError
from refcodec.expansion import LZMA_FILTERS

CODERS = {mode.name: row.byte_coder for mode, row in MODES.items() if getattr(row, "byte_coder", None)}
COMPRESSING = {name: coder for name, coder in CODERS.items() if coder is not RAW}
EACH = pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS)
EACH_COMPRESSING = pytest.mark.parametrize("coder", COMPRESSING.values(), ids=COMPRESSING)
LEVELS = np.array([0, 1, -1, 5, 0, 0, 0, -128, 127, 3], np.int64)
TYPES = st.sampled_from([np.dtype(f"{kind}{width}") for kind in "iu" for width in (1, 2, 4, 8)])


@settings(max_examples=60, deadline=None)
@given(TYPES.flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 40))), st.sampled_from(list(CODERS.values())),
       st.booleans())
def test_round_trip(values, coder, planes):
    signed, width = values.dtype.kind == "i", values.dtype.itemsize
    data = encode_bytes(values, coder, width, signed, planes)
    decoded = decode_bytes(data, values.size, coder, width, signed, planes)
    assert decoded.dtype == values.dtype
    assert np.array_equal(decoded, values)
    data, width, planes = best_bytes(values, coder, signed)
    assert np.array_equal(decode_bytes(data, values.size, coder, width, signed, planes), values)


def test_layout_and_containers():
    values = np.array([0x0102, -2], np.int16)
    assert encode_bytes(values, RAW, 2, True) == b"\x02\x01\xfe\xff"
    assert encode_bytes(values, RAW, 2, True, planes=True) == b"\x02\xfe\x01\xff"
    assert zlib.decompress(encode_bytes(values, DEFLATE, 4, True)) == b"\x02\x01\0\0\xfe\xff\xff\xff"
    assert gzip.decompress(encode_bytes(values, GZIP, 2, True)) == b"\x02\x01\xfe\xff"
    assert bz2.decompress(encode_bytes(values, BZIP2, 2, True)) == b"\x02\x01\xfe\xff"
    coded = encode_bytes(values, LZMA, 2, True)
    assert coded[-1] == 0
    assert lzma.decompress(coded, lzma.FORMAT_RAW, filters=LZMA_FILTERS) == b"\x02\x01\xfe\xff"


def test_width():
    assert least_width(np.zeros(0, np.int64)) == least_width(LEVELS) == 1
    for width in (1, 2, 4):
        edge = 1 << (8 * width - 1)
        assert least_width(np.array([-edge, edge - 1])) == width
        assert least_width(np.array([-edge - 1])) == least_width(np.array([edge])) == 2 * width
    for signed, values in ((True, [128]), (True, [-129]), (False, [256]), (False, [-1])):
        with pytest.raises(EntropyError) as error:
            encode_bytes(np.array(values), DEFLATE, 1, signed)
        assert error.value.code == "OUT_OF_RANGE"


def test_planes_pay_where_bytes_differ():
    weights = np.random.default_rng(1).normal(0, 0.05, 4000).astype(np.float32).view(np.uint32)
    for coder in (DEFLATE, BZIP2):
        data, width, planes = best_bytes(weights, coder, False)
        assert planes
        assert width == 4
        assert len(data) < len(encode_bytes(weights, coder, 4, False))


@EACH
def test_end(coder):
    data = encode_bytes(LEVELS, coder, 2, True)
    bad = [data + b"\0", data[:-1], b"", data + data]
    if coder is not RAW:
        bad += [data[:k] for k in range(len(data))]
    cases = [(b, 10) for b in bad] + [(data, 9), (data, 11), (data, 0)]
    for coded, count in cases:
        with pytest.raises(EntropyError) as error:
            decode_bytes(coded, count, coder, 2, True)
        assert error.value.code == "ENTROPY_END"
    assert decode_bytes(encode_bytes(LEVELS[:0], coder, 8, False), 0, coder, 8, False).size == 0


@EACH_COMPRESSING
def test_damage(coder):
    rng = np.random.default_rng(len(encode_bytes(LEVELS, coder, 2, True)))
    data = encode_bytes(LEVELS.repeat(50), coder, 2, True)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            assert decode_bytes(damaged, 500, coder, 2, True).size == 500
        except EntropyError as error:
            assert error.code == "ENTROPY_END"
    for _ in range(100):
        with pytest.raises(EntropyError):
            decode_bytes(rng.bytes(rng.integers(60)), 500, coder, 2, True)


def test_headers():
    whole = encode_bytes(LEVELS, GZIP, 1, True)
    named = whole[:3] + b"\x08" + whole[4:10] + b"name\0" + whole[10:]
    assert gzip.decompress(named) == LEVELS.astype(np.int8).tobytes()
    preset = zlib.compressobj(9, zlib.DEFLATED, 15, 9, 0, b"a preset dictionary")
    dictionary = preset.compress(LEVELS.astype(np.int8).tobytes()) + preset.flush()
    other = whole[:4] + b"\x01\x02\x03\x04\x02\x07" + whole[10:]             # time, flags, system: of no meaning
    assert np.array_equal(decode_bytes(other, 10, GZIP, 1, True), LEVELS)
    for coder, data in ((GZIP, named), (DEFLATE, dictionary), (DEFLATE, whole)):
        with pytest.raises(EntropyError):
            decode_bytes(data, 10, coder, 1, True)


@EACH_COMPRESSING
def test_bombs_and_memory(coder):
    zeros = np.zeros(1 << 22, np.uint8)
    bomb = encode_bytes(zeros, coder, 1, False)
    tracemalloc.start()
    with pytest.raises(EntropyError):
        decode_bytes(bomb, 1000, coder, 1, False)
    assert tracemalloc.get_traced_memory()[1] < 1 << 21
    tracemalloc.reset_peak()
    decoded = decode_bytes(encode_bytes(zeros[: 1 << 20], coder, 4, False, True), 1 << 20, coder, 4, False, True)
    tracemalloc.stop()
    assert decoded.size == 1 << 20
    assert not decoded.any()


def test_memory_of_planes():
    values = np.random.default_rng(0).integers(0, 256, 1 << 20).astype(np.uint32)
    data = encode_bytes(values, DEFLATE, 4, False, True)
    tracemalloc.start()
    decoded = decode_bytes(data, values.size, DEFLATE, 4, False, True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(decoded, values)
    assert peak < 3 * values.nbytes
