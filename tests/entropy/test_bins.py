"""Bins (SPEC 9.12): every kind of integer comes back, damage ends in a listed error; the same bits uncompiled."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
from helpers.processes import uncompiled
from hypothesis import given, settings
from hypothesis import strategies as st

from refcodec.entropy.bins import CHUNK_ELEMENTS, Coded, Payload, decode_bins, read_header
from refcodec.entropy.bins_encoder import encode_bins
from refcodec.entropy.bins_plane import FLOAT, PLAIN, SIGNED
from refcodec.errors import EntropyError

WORDS = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def word_type(bits: int) -> type:
    return next(t for size, t in WORDS.items() if bits <= size)


def words_of(bits: int, spread: str, count: int, seed: int = 0) -> np.ndarray:
    """Unsigned words: of any bits, few, one, near zero (of either sign), or sparse."""
    rng = np.random.default_rng(seed)
    anything = rng.integers(0, 1 << 63, count, np.uint64) * 2 + rng.integers(0, 2, count, np.uint64)
    small = np.rint(rng.laplace(0, 5, count)).astype(np.int64).view(np.uint64)
    chosen = {"any": anything, "few": anything[:1] + rng.integers(0, 3, count, np.uint64),
              "one": np.repeat(anything[:1], count), "near": small,
              "sparse": np.where(rng.random(count) < 0.02, small, 0).astype(np.uint64)}[spread]
    return (chosen & np.uint64((1 << bits) - 1)).astype(word_type(bits))


def again(words: np.ndarray, coded: Coded, **options) -> np.ndarray:
    payload = np.frombuffer(encode_bins(words, coded, **options), np.uint8)
    return decode_bins(payload, coded, words.dtype, threads=2)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000, 5003, CHUNK_ELEMENTS, CHUNK_ELEMENTS + 1, 2 * CHUNK_ELEMENTS + 77])
@pytest.mark.parametrize("kind", [PLAIN, SIGNED, FLOAT])
def test_every_count(kind, count):
    words = words_of(16, "near", count)
    assert np.array_equal(again(words, Coded(count, 16, kind)), words)


@pytest.mark.parametrize("spread", ["any", "few", "one", "near", "sparse"])
@pytest.mark.parametrize("kind", [PLAIN, SIGNED, FLOAT])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 16, 32, 64])
def test_every_width(bits, kind, spread):
    words = words_of(bits, spread, 4001)
    assert np.array_equal(again(words, Coded(4001, bits, kind)), words)


@pytest.mark.parametrize("bits, mantissa, exponent",
                         [(16, 7, 8), (16, 10, 5), (32, 23, 8), (64, 52, 11), (8, 3, 4), (8, 0, 0)])
@pytest.mark.parametrize("spread", ["any", "near", "sparse"])
def test_differences(bits, mantissa, exponent, spread):
    predictor = words_of(bits, "any", 3000, 1)
    words = words_of(bits, spread, 3000, 2)
    coded = Coded(3000, bits, SIGNED, predictor=predictor, mantissa=mantissa, exponent_bits=exponent)
    payload = np.frombuffer(encode_bins(words, coded), np.uint8)
    out = decode_bins(payload, coded, words.dtype)
    assert np.array_equal(out, added(words, predictor, bits, exponent > 0))


def added(differences: np.ndarray, predictor: np.ndarray, bits: int, floating: bool) -> np.ndarray:
    """SPEC 8.4.1 and 8.4.2, one by one."""
    half = 1 << (bits - 1)

    def word(d: int, p: int) -> int:
        magnitude = p & (half - 1)
        ordered = p if not floating or p < half else (-magnitude or -half)
        x = (d + ordered + half) % (2 * half) - half
        if not floating or x >= 0:
            return x % (2 * half)
        return half if x == -half else half - x

    return np.array([word(int(d), int(p)) for d, p in zip(differences, predictor, strict=True)], differences.dtype)


@pytest.mark.parametrize("states", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("scale", [0.4, 3, 4000])
def test_trellis(states, scale):
    count = CHUNK_ELEMENTS + 1001
    levels = np.rint(np.random.default_rng(3).laplace(0, scale, count)).astype(np.int32)
    coded = Coded(count, 20, SIGNED, levels=True, states=states)
    out = decode_bins(np.frombuffer(encode_bins(levels, coded), np.uint8), coded)
    assert np.array_equal(out, levels)


def test_some_chunks_only():
    words = words_of(16, "near", 4 * CHUNK_ELEMENTS)
    coded = Coded(words.size, 16, FLOAT)
    data, read = np.frombuffer(encode_bins(words, coded), np.uint8), []
    payload = Payload(lambda first, count: read.append((first, count)) or data[first : first + count], len(data), coded,
                      words.dtype)
    out, known = np.empty(2 * CHUNK_ELEMENTS, words.dtype), len(read)
    payload.decode(range(1, 3), out)
    assert np.array_equal(out, words[CHUNK_ELEMENTS : 3 * CHUNK_ELEMENTS])
    assert read[known:] == [(payload.offsets[1], payload.offsets[3] - payload.offsets[1])]


@pytest.mark.parametrize("seed", range(8))
def test_damage_of_one_chunk_is_told_of_that_one_alone(seed):
    words, rng = words_of(16, "near", 3 * CHUNK_ELEMENTS + 1, seed), np.random.default_rng(seed)
    coded = Coded(words.size, 16, FLOAT)
    data = np.frombuffer(encode_bins(words, coded), np.uint8).copy()
    payload = Payload(lambda first, count: data[first : first + count], len(data), coded, words.dtype)
    hurt = int(rng.integers(0, 4))
    data[rng.integers(payload.offsets[hurt], payload.offsets[hurt + 1], 3)] ^= 0x55
    data.flags.writeable = False
    for c in range(4):
        out = np.empty(coded.chunk(c).stop - coded.chunk(c).start, words.dtype)
        try:
            payload.decode(range(c, c + 1), out)
        except EntropyError as error:
            assert c == hurt
            assert error.code == "ENTROPY_END"
            assert f"chunk {c} " in error.message
        assert c == hurt or np.array_equal(out, words[coded.chunk(c)])


def test_an_alphabet_of_any_size_takes_what_it_should():
    """Sizes near the entropy of the source: a geometric one, with a sign."""
    levels = np.rint(np.random.default_rng(5).laplace(0, 9, 1 << 17)).astype(np.int64)
    counts = np.unique(levels, return_counts=True)[1] / levels.size
    ideal = -(counts * np.log2(counts)).sum() * levels.size / 8
    payload = encode_bins((levels & 0xFFFF).astype(np.uint16), Coded(levels.size, 16, SIGNED))
    assert len(payload) < 1.006 * ideal + 300


@given(st.data())
@settings(max_examples=60)
def test_any_words(data):
    bits = data.draw(st.integers(1, 64))
    count = data.draw(st.integers(1, 300))
    words = np.array(data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=count, max_size=count)),
                     word_type(bits))
    coded = Coded(count, bits, data.draw(st.sampled_from([PLAIN, SIGNED, FLOAT])))
    assert np.array_equal(again(words, coded), words)


def damaged_payloads(seed: int):
    """(payload, what it codes): bytes exchanged, cut, added; headers above all."""
    rng = np.random.default_rng(seed)
    bits, kind = int(rng.choice([4, 8, 16, 32, 64])), int(rng.choice([PLAIN, SIGNED, FLOAT]))
    words = words_of(bits, str(rng.choice(["any", "few", "near", "sparse"])), int(rng.integers(1, 6000)), seed)
    coded = Coded(words.size, bits, kind)
    payload = bytearray(encode_bins(words, coded))
    for _ in range(40):
        data = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            where = rng.integers(0, min(len(data), 60) if rng.random() < 0.7 else len(data))
            data[where] = rng.integers(0, 256)
        cut = rng.random()
        yield bytes(data[: rng.integers(0, len(data))] if cut < 0.15 else data + b"\0" if cut > 0.9 else data), coded


@pytest.mark.parametrize("seed", range(12))
def test_damage_ends_in_a_listed_error_or_in_other_words(seed):
    for data, coded in damaged_payloads(seed):
        try:
            decode_bins(np.frombuffer(data, np.uint8), coded, np.dtype(word_type(coded.bits)))
        except EntropyError as error:
            assert error.code in ("ENTROPY_END", "OUT_OF_RANGE")
            assert all(rule.startswith("R9.12") for rule in error.rules)


def test_the_header_says_what_was_coded():
    coded = Coded(5000, 16, FLOAT)
    header, _ = read_header(np.frombuffer(encode_bins(words_of(16, "any", 5000), coded), np.uint8), coded)
    assert header.bits == 16
    assert len(header.planes) == 1


def digest() -> str:
    """SHA-256 over payloads and what is decoded from them."""
    found = hashlib.sha256()
    for bits, kind, spread in ((16, FLOAT, "any"), (8, PLAIN, "near"), (32, SIGNED, "sparse"), (64, FLOAT, "few")):
        words = words_of(bits, spread, 1003)
        coded = Coded(1003, bits, kind)
        payload = encode_bins(words, coded)
        out = decode_bins(np.frombuffer(payload, np.uint8), coded, words.dtype)
        found.update(payload + out.tobytes())
    levels = np.rint(np.random.default_rng(1).laplace(0, 2, 900)).astype(np.int32)
    coded = Coded(900, 8, SIGNED, levels=True, states=8)
    payload = encode_bins(levels, coded)
    out = decode_bins(np.frombuffer(payload, np.uint8), coded)
    found.update(payload + out.tobytes())
    predictor = words_of(16, "any", 900, 4)
    coded = Coded(900, 16, SIGNED, predictor=predictor, mantissa=7, exponent_bits=8)
    payload = encode_bins(words_of(16, "sparse", 900), coded)
    out = decode_bins(np.frombuffer(payload, np.uint8), coded, np.dtype(np.uint16))
    found.update(payload + out.tobytes())
    return found.hexdigest()


def test_same_bits_without_the_compiler():
    assert uncompiled(__file__).strip() == digest()


if __name__ == "__main__":
    print(digest())
    sys.exit()
