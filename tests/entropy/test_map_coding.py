"""Map coding: exact round trips of every type, what it must win, hostile input, and the same bytes without the
compiler."""

import bz2
import hashlib
import lzma
import zlib

import numpy as np
import pytest
from helpers import uncompiled
from helpers.words import TYPES, random_words, smooth_maps, special_words
from hypothesis import given, settings
from hypothesis import strategies as st

from refcodec.bitstream.structures import Component, EntropyMode
from refcodec.dtypes import BY_NAME
from refcodec.entropy.map_coding import (
    BAD_SHIFT,
    BUFFER_FULL,
    OK,
    RAW_EXHAUSTED,
    MapParameters,
    choose_map_parameters,
    decode_map,
    encode_map,
    estimate_map_bits,
    new_map_contexts,
)
from refcodec.entropy.modes import Block
from refcodec.entropy.payload import PayloadReader, encode_payload
from refcodec.entropy.range_coder import Strings, decoder_start, encoder_start
from refcodec.errors import EntropyError

FLOAT32 = BY_NAME["float32"]


def block(words, dtype, rows=1, predictor=None, first_row=0, mode=EntropyMode.MAP):
    return Block(Component(entropy_mode=mode), words, dtype, predictor, plane_rows=rows, first_row=first_row)


def coded(words, dtype, rows=1, predictor=None, first_row=0):
    """(coded, bypass) after a checked round trip."""
    payload = encode_payload([block(words, dtype, rows, predictor, first_row)])
    out = np.zeros_like(words)
    reader = PayloadReader(*payload)
    reader.read(block(out, dtype, rows, predictor, first_row))
    reader.finish()
    np.testing.assert_array_equal(out, words)
    return payload


def size(*arguments, **named):
    return sum(map(len, coded(*arguments, **named)))


def words_of(maps):
    return np.ascontiguousarray(maps).reshape(-1, maps.shape[-1]).view(f"u{maps.itemsize}")


@pytest.mark.parametrize("dtype", TYPES, ids=lambda d: d.name)
def test_every_type(dtype):
    rng = np.random.default_rng(dtype.code)
    special = special_words(dtype)
    for shape, rows in (((12, 19), 4), ((12, 19), 5), ((1, 40), 1), ((40, 1), 8)):
        words, other = random_words(rng, dtype, shape), random_words(rng, dtype, shape)
        mixed = np.where(rng.random(shape) < 0.5, words, other)
        for w, p in ((words, None), (words, other), (mixed, words), (words, words), (np.zeros_like(words), words)):
            coded(w, dtype, rows, p)
        coded(words, dtype, rows, None, first_row=rows - 1)
    for words in (special, special.T.copy()):
        coded(words, dtype, 7)
        coded(words, dtype, 7, words[::-1, ::-1].copy())
        coded(np.repeat(words, 2, 0), dtype, 2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_words(data):
    dtype = data.draw(st.sampled_from(TYPES))
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    few = data.draw(st.lists(st.integers(0, (1 << dtype.bits) - 1), min_size=1, max_size=6))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    words = rng.choice(np.array(few, np.uint64), shape).astype(dtype.word)
    predictor = rng.choice(np.array(few, np.uint64), shape).astype(dtype.word) if data.draw(st.booleans()) else None
    coded(words, dtype, data.draw(st.integers(1, 12)), predictor, data.draw(st.integers(0, 5)))


def test_smaller_than_general_purpose_coders():
    maps = smooth_maps()
    data = maps.tobytes()
    best = min(len(zlib.compress(data, 9)), len(bz2.compress(data, 9)),
               len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)))
    assert 0.2 < np.mean(maps == 0) < 0.9
    assert size(words_of(maps), FLOAT32, 28) < 0.9 * best


def test_repeated_words():
    maps = smooth_maps(8, 14, 14)
    upsampled = maps.repeat(2, 1).repeat(2, 2)
    small, large = size(words_of(maps), FLOAT32, 14), size(words_of(upsampled), FLOAT32, 28)
    assert choose_map_parameters(words_of(upsampled), FLOAT32).equals == 1
    assert large < 1.2 * small + 100


def test_predictor():
    frame = smooth_maps(seed=1)
    after = frame.copy()
    after[:, 10:16] = smooth_maps(seed=2)[:, 10:16]
    alone = size(words_of(after), FLOAT32, 28)
    assert size(words_of(after), FLOAT32, 28, words_of(frame)) < 0.35 * alone
    assert size(words_of(frame), FLOAT32, 28, words_of(frame)) < 120
    assert size(words_of(after), FLOAT32, 28, words_of(smooth_maps(seed=3))) < 1.02 * alone


def test_parameters():
    maps = smooth_maps(4, 8, 9)
    assert choose_map_parameters(words_of(maps), FLOAT32).signs == 0
    assert choose_map_parameters(words_of(-maps), FLOAT32).signs == 1           # -0 only, in places
    halves = words_of(maps.astype(np.float16).astype(np.float32))
    assert choose_map_parameters(halves, FLOAT32).shift == 13
    assert size(halves, FLOAT32, 8) < 0.65 * size(words_of(maps), FLOAT32, 8)
    levels = np.random.default_rng(0).normal(128, 3, (64, 40)).astype(np.uint8)
    assert choose_map_parameters(levels, BY_NAME["uint8"]).offset in range(120, 136)
    assert size(levels, BY_NAME["uint8"], 8) < 0.53 * levels.size


@pytest.mark.parametrize("name", ["float32", "float16", "uint8"])
def test_estimate(name):
    dtype = BY_NAME[name]
    maps = (smooth_maps(96) * (50 if dtype.kind == "u" else 1)).astype(dtype.numpy)
    words = np.ascontiguousarray(maps).reshape(-1, 28).view(dtype.word)
    assert abs(estimate_map_bits(words, None, dtype, 28) / (8 * size(words, dtype, 28)) - 1) < 0.03


def test_joined_payload():
    rng = np.random.default_rng(3)
    arrays = [random_words(rng, FLOAT32, (6, 5)), words_of(smooth_maps(2, 7, 9)), random_words(rng, FLOAT32, (3, 3))]
    blocks = [block(arrays[0], FLOAT32, 3), block(arrays[1], FLOAT32, 7, first_row=2),
              block(arrays[2], FLOAT32, mode=EntropyMode.CC), block(arrays[0], FLOAT32, 1, arrays[0].copy())]
    reader = PayloadReader(*encode_payload(blocks))
    for b in blocks:
        wanted, b.array = b.array, np.zeros_like(b.array)
        reader.read(b)
        np.testing.assert_array_equal(b.array, wanted)
    reader.finish()


def test_full_buffers_are_reported():
    words = random_words(np.random.default_rng(5), FLOAT32, (20, 20))
    for room, raw_room in ((300, 10000), (10000, 100), (10000, 0)):
        buf, raw = np.zeros(room, np.uint8), np.zeros(raw_room, np.uint8)
        strings = Strings(encoder_start(buf), buf, raw)
        assert encode_map(words, None, FLOAT32, new_map_contexts(), strings, plane_rows=4) == BUFFER_FULL


@pytest.mark.parametrize("dtype", TYPES, ids=lambda d: d.name)
def test_garbage_ends_with_a_status(dtype):
    rng, seen = np.random.default_rng(6), set()
    for trial in range(30):
        buf, raw = (rng.integers(0, 256, n, dtype=np.uint8) for n in rng.integers(0, 400, 2))
        if trial % 3 == 0 and len(raw):
            raw[0] &= 0xC0              # a shift that the type has
        out = np.zeros((30, 30), dtype.word)
        predictor = random_words(rng, dtype, out.shape) if trial & 1 else None
        strings, plane_rows = Strings(decoder_start(buf, 0, len(buf)), buf, raw), int(rng.integers(1, 40))
        seen.add(decode_map(out, predictor, dtype, new_map_contexts(), strings, plane_rows=plane_rows))
    assert seen - {OK}


def test_damage_is_reported():
    words = words_of(smooth_maps(4, 9, 9))
    good, bypass = coded(words, FLOAT32, 9)
    for data, raw in ((good[:-3], bypass), (good, bypass[:-3]), (good, b""), (good + b"\0", bypass),
                      (good, bypass + b"\0"), (b"", bypass)):
        reader = PayloadReader(data, raw)
        with pytest.raises(EntropyError) as caught:
            reader.read(block(np.zeros_like(words), FLOAT32, 9))
            reader.finish()
        assert caught.value.code in ("ENTROPY_END", "OUT_OF_RANGE")


def test_shifts_beyond_the_type():
    for name, shift in (("float32", 24), ("uint8", 8), ("float64", 53), ("float8_e8m0fnu", 1)):
        out, raw = np.zeros((2, 2), BY_NAME[name].word), np.array([shift] + [0] * 20, np.uint8)
        buf = np.zeros(20, np.uint8)
        for bypass, status in ((raw, BAD_SHIFT), (raw[:0], RAW_EXHAUSTED)):
            strings = Strings(decoder_start(buf, 0, 20), buf, bypass)
            assert decode_map(out, None, BY_NAME[name], new_map_contexts(), strings, plane_rows=1) == status


def digest():
    """Digest of small payloads of all kinds; the same in both runs below."""
    h, rng = hashlib.sha256(), np.random.default_rng(7)
    cases = [(smooth_maps(3, 6, 7).astype(d.numpy), d)
             for d in map(BY_NAME.get, ("float32", "float16", "float64", "int8"))]
    for maps, dtype in cases:
        words = words_of(maps)
        for predictor in (None, words[::-1].copy(), words_of(smooth_maps(3, 6, 7, 1).astype(dtype.numpy))):
            h.update(b"".join(coded(words, dtype, 6, predictor)))
    for dtype in TYPES:
        words = np.concatenate([random_words(rng, dtype, (4, 14)), special_words(dtype)]).repeat(2, 0)
        for predictor in (None, words[::-1].copy()):
            h.update(b"".join(coded(words, dtype, 3, predictor)))
    return h.hexdigest()


def test_same_bytes_without_the_compiler():
    printed = uncompiled(__file__)
    assert printed.strip() == digest()


def test_pieces_make_no_difference(monkeypatch):
    from refcodec.entropy import map_coding

    words, before = words_of(smooth_maps(2, 9, 5)), words_of(smooth_maps(2, 9, 5, 1))
    for predictor in (None, before):
        found = set()
        for chunk in (1, 11, 1 << 15):
            monkeypatch.setattr(map_coding, "CHUNK", chunk)
            found.add(coded(words, FLOAT32, 9, predictor))
        assert len(found) == 1
    assert MapParameters().shift == 0


class Plain:
    """Map coding decoded by the text of SPEC 9.1, 9.2, 9.5.6 and 9.6 alone, with Python's integers."""

    def __init__(self, coded: bytes, bypass: bytes):
        self.coded, self.position, self.range, self.code = coded, 0, 0xFFFFFFFF, 0
        self.raw = [b >> k & 1 for b in bypass for k in range(7, -1, -1)]
        self.contexts = [[1 << 19, 0] for _ in range(3792)]
        for _ in range(4):
            self.code = self.code << 8 | self.byte()

    def byte(self) -> int:
        self.position += 1
        return self.coded[self.position - 1] if self.position <= len(self.coded) else 0

    def renormalise(self) -> None:
        while self.range < 1 << 24:
            self.range, self.code = self.range << 8, self.code << 8 | self.byte()

    def bin(self, k: int) -> int:
        p, c = self.contexts[k]
        bound = (self.range >> 16) * min(max(p >> 4, 32), 65504)
        bit = int(self.code < bound)
        self.range, self.code = (bound, self.code) if bit else (self.range - bound, self.code - bound)
        self.renormalise()
        self.contexts[k] = [p + ((bit * (2**20 - 1) - p) * (65536 * 5 // (5 * c + 8)) >> 16), min(c + 1, 1023)]
        return bit

    def bypass(self, n: int) -> int:
        value = 0
        while n:
            k = min(n, 8)
            n, self.range = n - k, self.range >> k
            chunk = min(self.code // self.range, 2**k - 1)
            self.code, value = self.code - chunk * self.range, value << k | chunk
            self.renormalise()
        return value

    def bits(self, n: int) -> int:
        taken, self.raw = self.raw[:n], self.raw[n:]
        return int("0" + "".join(map(str, taken)), 2)

    def steps(self, first: int, limit: int) -> int:
        for k in range(limit):
            if not self.bin(first + k):
                return k
        for z in range(13):
            if self.bypass(1):
                return limit - 1 + (1 << z | self.bypass(z))
        raise AssertionError

    def parts(self, v: int) -> tuple[int, int, int, int]:
        """Class, sign, mantissa and logarithm of a value."""
        if self.float:
            a = v & ((1 << self.e + self.m) - 1)
            c, sign, mantissa, width = (a >> self.m) + 1 if a else 0, v >> self.e + self.m, a & (
                (1 << self.m) - 1), self.m
        else:
            c, sign = abs(v).bit_length(), int(v < 0)
            width = max(c - 1, 0)
            mantissa = abs(v) & ((1 << width) - 1)
        return c, sign, mantissa, self.log(c, mantissa, width) if c else 0

    @staticmethod
    def log(c: int, mantissa: int, width: int) -> int:
        return 256 * c + (mantissa >> width - 8 if width >= 8 else mantissa << 8 - width)

    def segment(self, shape, predictor, dtype, plane_rows: int, first_row: int) -> np.ndarray:
        equal_flag, sign_flag, shift = self.bits(1), self.bits(1), self.bits(6)
        self.float, self.e, self.m = dtype.kind == "f", dtype.exponent, dtype.mantissa - shift
        offset = 0 if self.float else self.bits(dtype.bits)
        half, whole = 1 << dtype.bits - 1, 1 << dtype.bits
        max_class = 1 << self.e if self.float else max(dtype.bits - shift, 1)
        nothing = dict(v=0, log=0, sign=0, same=0, origin=0)
        overall = plane = 256 * ((1 << self.e - 1) - 1 if self.float else 4)
        count = plane_count = power = 0
        before, a, b = None, [65536] * 6 + [32768] * 4, [0] * 6 + [32768] * 4
        above, out = [nothing] * (shape[1] + 1), np.zeros(shape, dtype.word)

        def ratio(x, y):
            return sum(abs(x - y) >= d for d in (64, 160, 384))

        def moved(mean, value, d):
            return mean + ((value - mean) * (65536 // d) >> 16)

        for i in range(shape[0]):
            if (first_row + i) % plane_rows == 0:
                above, plane, plane_count = [nothing] * (shape[1] + 1), overall, 0
            L = UL = nothing
            for j in range(shape[1]):
                if j % 16 == 0:
                    rate = (655 << 20) // (1311 + power)
                U, UR, there, t = above[j], above[j + 1], None, 0
                if predictor is not None:
                    p = int(predictor[i, j])
                    there = p >> shift if self.float else ((p - offset + half) % whole - half) >> shift
                    _, there_sign, _, t = self.parts(there)
                x = y = 0
                s = 5
                if L["log"] and U["log"]:
                    x = (L["log"] + U["log"] >> 1) - plane
                    s = ratio(L["log"], U["log"]) if L["sign"] == U["sign"] else 4
                elif L["log"] or U["log"]:
                    x = L["log"] + U["log"] - plane
                if t:
                    y = t - plane
                    s = 6 + ratio(x, y)
                expected = plane + (a[s] * x + b[s] * y >> 16)
                pattern = sum((n["log"] > 0) << k for k, n in enumerate((L, U, UL, UR)))
                place = pattern * 16 + min(max(0, (expected - overall >> 7) + 8), 15)
                if predictor is not None:
                    place = 256 + (pattern * 3 + L["same"] + U["same"]) * 8
                    place += 1 + min(max(0, (t - overall >> 8) + 3), 6) if t else 0
                word = dict(nothing)
                if self.bin(place):
                    if self.float and sign_flag:
                        word["v"] = self.bin(640) << self.e + self.m
                else:
                    history, found = 4 * U["origin"] + L["origin"], 0
                    if t:
                        found = self.bin(641 + 2 * L["same"] + U["same"])
                        if found:
                            word = dict(v=there, log=t, sign=1 + there_sign, origin=0)
                    if equal_flag and not found:
                        tried = [(645, U, 1, U["log"])]
                        tried.append((661, L, 2, L["log"] and not (U["log"] and L["v"] == U["v"])))
                        tried.append((677, before, 3, before
                                      and not any(n["log"] and n["v"] == before["v"] for n in (L, U))))
                        for first, other, origin, possible in tried:
                            if possible and not found and self.bin(first + history):
                                word, before, found = dict(other, origin=origin), other, 1
                    if not found:
                        centre, phase = min(max(1, expected + 128 >> 8), max_class), (expected + 128 & 255) >> 5
                        place = 1168 + (s * 8 + phase) * 28
                        c = (centre + 1 + self.steps(place + 1, 12) if self.bin(place)
                             else centre - self.steps(place + 13, 15))
                        around = (L["sign"] * 3 + U["sign"]) * 3 + (1 + there_sign if t else 0)
                        sign = self.bin(693 + around) if sign_flag else 0
                        width = w = self.m if self.float else c - 1
                        distance = min(max(-2, c - centre), 2) + 2 if self.float or c > 3 else 3 + c
                        node, low, known = 1, 0, 0
                        while w > 0 and node < 8:
                            w -= 1
                            node = 2 * node + self.bin(720 + (distance * 8 + phase) * 8 + node)
                        while known < min(w, 12) and low == 0:
                            if not self.bin(3408 + (c & 31) * 12 + known):
                                low = 1 << known
                            known += 1
                        top = node - (1 << node.bit_length() - 1)
                        mantissa = (top << w - known | self.bits(w - known)) << known | low
                        v = (sign << self.e + self.m | c - 1 << self.m | mantissa if self.float
                             else (-1 if sign else 1) * (1 << c - 1 | mantissa))
                        word = dict(v=v, log=self.log(c, mantissa, width), sign=1 + sign, origin=0)
                    log = word["log"]
                    gain = min(max(-512, log - expected), 512) * rate >> 8
                    a[s] = min(max(-131072, a[s] + (gain * x >> 12)), 131072)
                    b[s] = min(max(-131072, b[s] + (gain * y >> 12)), 131072)
                    power += x * x + y * y - power >> 8
                    if count == 0:
                        overall = plane = log
                    count, plane_count = min(count + 1, 1024), min(plane_count + 1, 256)
                    overall, plane = moved(overall, log, count), moved(plane, log, plane_count + 8)
                word["same"] = int(word["v"] == there)
                out[i, j] = (word["v"] << shift) + offset & whole - 1
                UL, L, above[j] = U, word, word
        return out


@pytest.mark.parametrize("name", ["float32", "float16", "float64", "int8", "uint16"])
def test_decoder_written_from_the_text(name):
    dtype = BY_NAME[name]
    maps = smooth_maps(4, 9, 11, 5) * (1 if dtype.kind == "f" else 40)
    maps[2:] -= maps[:2] if name != "uint16" else 0
    upsampled = maps.repeat(2, 1).astype(dtype.numpy)
    words, before = words_of(upsampled), words_of(upsampled[::-1].copy())
    special = np.concatenate([special_words(dtype), random_words(np.random.default_rng(1), dtype, (5, 14))])
    cases = [(words, None), (words, before), (words, np.where(words % 3, words, before)), (special, None),
             (special, np.roll(special, 1, 0)), (special.repeat(2, 0), None)]
    for array, predictor in cases:
        for rows, first in ((18, 0), (7, 3)):
            payload = coded(array, dtype, rows, predictor, first)
            np.testing.assert_array_equal(Plain(*payload).segment(array.shape, predictor, dtype, rows, first), array)


if __name__ == "__main__":
    print(digest())
