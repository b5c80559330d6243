"""Four chunks of BINS at once: the same as one after the other, whatever the payload (SPEC 9.12.7)."""

from __future__ import annotations

import numpy as np
import pytest

from refcodec.entropy import bins
from refcodec.entropy.bins import Coded, decode_bins
from refcodec.entropy.bins_encoder import encode_bins
from refcodec.entropy.bins_four import FOUR
from refcodec.entropy.bins_plane import CHUNK_ELEMENTS, FLOAT, SIGNED
from refcodec.errors import OmcError
from refcodec.vectors import VECTORS, Eight

pytestmark = pytest.mark.skipif(not VECTORS, reason="vectors of this machine do not do it")
COUNT = FOUR * CHUNK_ELEMENTS + 5000


def coded(kind: str) -> tuple[Coded, np.ndarray, np.dtype | None]:
    """What is coded, its integers, and the type of its words."""
    rng = np.random.default_rng(4)
    if kind == "levels":
        return Coded(COUNT, 6, SIGNED, levels=True), np.round(rng.laplace(0, 3, COUNT)).clip(-30, 30).astype("i4"), None
    values = rng.normal(0, 0.02, COUNT).astype("f4") * np.exp2(np.arange(COUNT) // 3000 % 9)
    words = values.astype("f4").view("u4") if kind == "float32" else (values.astype("f4").view("u4") >> 16).astype("u2")
    bits, mantissa = (32, 23) if kind == "float32" else (16, 7)
    if kind != "update":
        return Coded(COUNT, bits, FLOAT), words, words.dtype
    changed = words + rng.integers(-3, 4, COUNT).astype("u2") * (rng.random(COUNT) < 0.3)
    return Coded(COUNT, 16, SIGNED, predictor=words, mantissa=mantissa, exponent_bits=8), changed, words.dtype


def payload_of(kind: str) -> tuple[np.ndarray, Coded, np.dtype | None, np.ndarray]:
    c, integers, dtype = coded(kind)
    if kind == "update":
        from refcodec.dtypes import BY_NAME
        from refcodec.entropy.words import difference
        payload = encode_bins(difference(integers.astype("u2"), c.predictor, BY_NAME["bfloat16"]), c)
    else:
        payload = encode_bins(integers, c)
    return np.frombuffer(payload, np.uint8), c, dtype, integers


def outcome(data: np.ndarray, c: Coded, dtype: np.dtype | None, whole: bool) -> object:
    """What all chunks together give: integers, or an error's code and message."""
    try:
        payload = bins.Payload(lambda first, count: data[first : first + count], len(data), c, dtype)
        out = np.zeros(c.count, payload.dtype)
        step = FOUR + 1 if whole else 1
        for first in range(0, c.chunks, step):
            part = range(first, min(first + step, c.chunks))
            payload.decode(part, out[c.chunk(part.start).start : c.chunk(part.stop - 1).stop])
        return out.tobytes()
    except OmcError as error:
        return error.code, str(error)


@pytest.mark.parametrize("kind", ["bfloat16", "float32", "update", "levels"])
def test_four_chunks_are_what_single_ones_are(kind):
    data, c, dtype, integers = payload_of(kind)
    taken = []
    decode_four = bins.decode_four
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bins, "decode_four", lambda *a: taken.append(1) or decode_four(*a))
        assert outcome(data, c, dtype, whole=True) == integers.tobytes()
    assert taken == [1]
    assert outcome(data, c, dtype, whole=False) == integers.tobytes()
    assert np.array_equal(decode_bins(data, c, dtype), integers)


@pytest.mark.parametrize("kind", ["bfloat16", "update"])
def test_damage_ends_alike(kind):
    """Flipped bytes anywhere, in the sizes of chunks, in states and in words: the same integers or the same error."""
    data, c, dtype, _ = payload_of(kind)
    rng = np.random.default_rng(9)
    places = [*rng.integers(0, len(data), 4), *rng.integers(0, 600, 6)]
    offsets = bins.Payload(lambda first, count: data[first : first + count], len(data), c, dtype).offsets
    places += [int(o) + int(k) for o in offsets[:FOUR] for k in rng.integers(0, 400, 2)]
    places += [int(o) - 1 - int(k) for o in offsets[1 : FOUR + 1] for k in rng.integers(0, 40, 2)]
    errors = 0
    for place in places:
        damaged = data.copy()
        damaged[place] ^= 1 << rng.integers(8)
        damaged.flags.writeable = False
        found = outcome(damaged, c, dtype, whole=True)
        assert found == outcome(damaged, c, dtype, whole=False), place
        errors += isinstance(found, tuple)
    assert errors > 8


def test_words_that_run_out_in_one_chunk():
    """One chunk takes ten times the words of the others, which are one value but for a few."""
    integers = np.zeros(FOUR * CHUNK_ELEMENTS, np.int32)
    rng = np.random.default_rng(2)
    integers[2 * CHUNK_ELEMENTS : 3 * CHUNK_ELEMENTS] = rng.integers(-8, 8, CHUNK_ELEMENTS)
    integers[:: 5000] = 3
    c = Coded(len(integers), 5, SIGNED, levels=True)
    data = np.frombuffer(encode_bins(integers, c), np.uint8)
    assert outcome(data, c, None, whole=True) == integers.tobytes() == outcome(data, c, None, whole=False)


def test_an_eight_as_written():
    """The operators modulo 2^32, with another and with one integer for all."""
    x, y = Eight(range(8)), Eight([0xFFFFFFFF] * 8)
    assert y + x == [(k - 1) % 2**32 for k in range(8)]
    assert y * 3 == [0xFFFFFFFD] * 8
    assert (y << 4, y >> 28, x & 5) == ([0xFFFFFFF0] * 8, [15] * 8, [k & 5 for k in range(8)])
