"""Word coding: exact round trips of every type, hostile input, and the same bytes with and without the compiler."""

import hashlib

import numpy as np
import pytest
from helpers import uncompiled
from helpers.words import TYPES, random_words, special_words

from refcodec.bitstream.structures import WordParameters
from refcodec.dtypes import BY_NAME
from refcodec.entropy.range_coder import Strings, decoder_finish, decoder_start, encoder_finish, encoder_start
from refcodec.entropy.words import (
    BUFFER_FULL,
    OK,
    choose_parameters,
    decode_words,
    encode_words,
    estimate_bits,
    new_word_contexts,
)


def encode(words, dtype, predictor=None, params=None):
    params = params or choose_parameters(words, dtype, predictor)
    buf, raw = np.empty(words.size * 40 + 1024, np.uint8), np.full(words.size * 10 + 64, 255, np.uint8)
    strings = Strings(encoder_start(buf), buf, raw, 3)
    assert encode_words(words, predictor, dtype, params, new_word_contexts(), strings) == OK
    end = encoder_finish(strings.r, buf)
    return params, buf[:end].copy(), raw[:(strings.raw_bit + 7) // 8].copy(), strings.raw_bit


def round_trip(words, dtype, predictor=None, params=None):
    """Size in bits after a checked round trip."""
    params, buf, raw, raw_bit = encode(words, dtype, predictor, params)
    out = np.zeros_like(words)
    strings = Strings(decoder_start(buf, 0, len(buf)), buf, raw, 3)
    assert decode_words(out, predictor, dtype, params, new_word_contexts(), strings) == OK
    assert strings.raw_bit == raw_bit
    assert decoder_finish(strings.r, buf) == 1
    np.testing.assert_array_equal(out, words)
    return 8 * len(buf) + raw_bit - 3


@pytest.mark.parametrize("dtype", TYPES, ids=lambda d: d.name)
def test_every_type(dtype):
    rng = np.random.default_rng(dtype.code)
    special = special_words(dtype)
    for shape in ((7, 19), (1, 40), (40, 1)):
        words, other = random_words(rng, dtype, shape), random_words(rng, dtype, shape)
        round_trip(words, dtype)
        round_trip(words, dtype, other)
        round_trip(words, dtype, words)
    for words in (special, special.T.copy()):
        round_trip(words, dtype)
        round_trip(words, dtype, words[::-1, ::-1].copy())
        round_trip(words[::-1, ::-1].copy(), dtype, words)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64"])
def test_weights(name):
    dtype, rng = BY_NAME[name], np.random.default_rng(1)
    weights = (rng.standard_normal((300, 64)) * np.exp(rng.standard_normal((300, 1)))).astype(dtype.numpy)
    words = weights.view(dtype.word)
    bits = round_trip(words, dtype)
    assert bits < words.size * dtype.bits - words.size * (4.5 if dtype.exponent > 5 else 1.8)
    sparse = np.where(rng.random(weights.shape) < 0.9, 0, words).astype(dtype.word)
    assert round_trip(sparse, dtype) < 0.11 * bits + 0.5 * words.size
    assert abs(estimate_bits(words, None, dtype) / bits - 1) < 0.02


def test_trailing_zeros():
    rng, dtype = np.random.default_rng(2), BY_NAME["float32"]
    words = rng.standard_normal((40, 512)).astype(np.float32).view(np.uint32)
    per_tensor = words & ~np.uint32(0xFFFF)
    assert round_trip(per_tensor, dtype) < per_tensor.size * 12
    keep = rng.integers(4, 20, (40, 1)).astype(np.uint32)
    per_row = words >> keep << keep
    assert choose_parameters(per_row, dtype).row_shifts == 1
    assert round_trip(per_row, dtype) < per_row.size * (27.5 - keep.mean())
    integers = (rng.integers(-100, 100, (40, 512)) * 64).astype(np.int32).view(np.uint32)
    assert round_trip(integers, BY_NAME["int32"]) < integers.size * 8.2


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int16", "uint8"])
def test_updates(name):
    dtype, rng = BY_NAME[name], np.random.default_rng(3)
    old = rng.standard_normal((64, 256)) * (0.02 if dtype.kind == "f" else 30) + (0 if dtype.kind != "u" else 128)
    new = old + (rng.random(old.shape) < 0.02) * rng.standard_normal(old.shape) * old.std() / 50
    before, after = old.astype(dtype.numpy).view(dtype.word), new.astype(dtype.numpy).view(dtype.word)
    assert round_trip(after, dtype, before) < 0.7 * after.size
    assert round_trip(before, dtype, before) < 300


def test_constant_and_offset():
    for name, value in (("float32", 1.5), ("int64", -7), ("uint8", 128), ("bfloat16", 0)):
        dtype = BY_NAME[name]
        words = np.full((50, 20), value, dtype.numpy).view(dtype.word)
        assert round_trip(words, dtype) < 200 + words.size
    words = np.random.default_rng(4).normal(128, 2, (50, 80)).astype(np.uint8)
    assert round_trip(words, BY_NAME["uint8"]) < words.size * 3.6


def test_repeats():
    rng, dtype = np.random.default_rng(8), BY_NAME["float32"]
    half = rng.standard_normal((64, 65)).astype(np.float32)
    mirrored = np.concatenate([half, -half[:, -2:0:-1]], axis=1).view(np.uint32)
    assert choose_parameters(mirrored, dtype).repeats == 1
    assert round_trip(mirrored, dtype) < 0.55 * mirrored.size * 27
    rows = np.tile(half[:8], (8, 1)).view(np.uint32)
    assert round_trip(rows, dtype) < 0.2 * rows.size * 27


def test_full_buffers_are_reported():
    words = random_words(np.random.default_rng(5), BY_NAME["float32"], (20, 20))
    for size, raw_size in ((300, 10000), (10000, 100)):
        buf, raw = np.zeros(size, np.uint8), np.zeros(raw_size, np.uint8)
        strings = Strings(encoder_start(buf), buf, raw)
        assert encode_words(words, None, BY_NAME["float32"], WordParameters(), new_word_contexts(),
                            strings) == BUFFER_FULL


@pytest.mark.parametrize("name", ["float32", "int64", "uint8", "float4_e2m1fn", "float64"])
def test_garbage_ends_with_a_status(name):
    dtype, rng, seen = BY_NAME[name], np.random.default_rng(6), set()
    for trial in range(60):
        buf, raw = (rng.integers(0, 256, n, dtype=np.uint8) for n in rng.integers(0, 400, 2))
        out = np.zeros((30, 30), dtype.word)
        flags = (int(x) for x in rng.integers(0, (2, 3, 2, 2)))
        params = WordParameters(*flags, shift=int(rng.integers(0, dtype.bits)))
        predictor = random_words(rng, dtype, out.shape) if trial & 1 else None
        strings = Strings(decoder_start(buf, 0, len(buf)), buf, raw)
        seen.add(decode_words(out, predictor, dtype, params, new_word_contexts(), strings))
    assert seen - {OK}


def digest():
    """Digest of small payloads of all kinds; the same in both runs below."""
    h, rng = hashlib.sha256(), np.random.default_rng(7)
    for dtype in TYPES:
        words = np.concatenate([random_words(rng, dtype, (4, 14)), special_words(dtype)])
        for predictor in (None, words[::-1].copy()):
            for params in (None, WordParameters(1, 2, 1, 1)):
                round_trip(words, dtype, predictor, params)
                _, buf, raw, raw_bit = encode(words, dtype, predictor, params)
                h.update(buf.tobytes() + raw.tobytes() + bytes([raw_bit & 7]))
    return h.hexdigest()


def test_same_bytes_without_the_compiler():
    printed = uncompiled(__file__)
    assert printed.strip() == digest()


if __name__ == "__main__":
    print(digest())


def test_a_matrix_of_one_element_is_not_taken_for_predicted():
    """Rule 2 has contexts by the predictor's exponent only where there is a predictor: the pieces in which words are
    staged (here a last one of a single element) make no difference to the bytes."""
    from refcodec.entropy import words as module

    words = np.random.default_rng(3).normal(size=(257, 1)).astype(np.float32).view(np.uint32)
    dtype = BY_NAME["float32"]
    coded = []
    for chunk in (module.CHUNK, 256, 1):
        buf, raw = np.zeros(8192, np.uint8), np.zeros(8192, np.uint8)
        strings = Strings(encoder_start(buf), buf, raw)
        before, module.CHUNK = module.CHUNK, chunk
        try:
            status = encode_words(words, None, dtype, WordParameters(scale_rule=2, zeros=0), new_word_contexts(),
                                  strings)
        finally:
            module.CHUNK = before
        assert status == OK
        coded.append((buf[: encoder_finish(strings.r, buf)].tobytes(), raw[: strings.raw_bit // 8].tobytes()))
    assert coded[0] == coded[1] == coded[2]
