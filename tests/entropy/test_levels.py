"""Level coding (SPEC 9.3, 9.4): round trips, persistence, damaged input, tables, and compiled = uncompiled."""

import hashlib

import numpy as np
import pytest
from helpers import uncompiled

from refcodec.entropy import range_coder, tables
from refcodec.entropy.context_coding import (
    cost_levels_cc,
    decode_levels_cc,
    encode_levels_cc,
    new_cc_contexts,
)
from refcodec.entropy.levels import EXHAUSTED, LEVEL_MAX, OK, OUT_OF_RANGE
from refcodec.entropy.mixed_coding import (
    cost_levels_cm,
    decode_levels_cm,
    encode_levels_cm,
    new_cm_state,
)
from refcodec.entropy.range_coder import (
    decoder_finish,
    decoder_start,
    encoder_finish,
    encoder_start,
)

CODERS = {
    "cc": (new_cc_contexts, encode_levels_cc, decode_levels_cc, cost_levels_cc),
    "cm": (new_cm_state, encode_levels_cm, decode_levels_cm, cost_levels_cm),
}
STATES = [0, 4, 8, 16, 32, 64]


def encode(coder, arrays, states=8, kernel_size=1):
    """One payload that holds the arrays one after the other."""
    new, code, _, _ = CODERS[coder]
    buf = np.zeros(sum(a.size for a in arrays) * 8 + 4096, np.uint8)
    model, r = new(), encoder_start(buf)
    for a in arrays:
        r, status = code(a, states, kernel_size, model, r, buf)
        assert status == OK
    return buf[: encoder_finish(r, buf)].copy()


def decode(coder, payload, shapes, states=8, kernel_size=1):
    new, _, code, _ = CODERS[coder]
    model, r = new(), decoder_start(payload, 0, len(payload))
    arrays, statuses = [np.full(s, 7, np.int32) for s in shapes], []
    for a in arrays:
        r, status = code(a, states, kernel_size, model, r, payload)
        statuses.append(status)
    return arrays, statuses, decoder_finish(r, payload)


def samples():
    rng = np.random.default_rng(5)
    scale = np.exp(rng.normal(size=(40, 1))) * 3
    return {
        "gaussian": np.rint(rng.normal(size=(40, 63)) * scale),
        "smooth": np.rint(200 * np.sin(np.arange(3000) / 9.0)).reshape(30, 100),
        "sparse": (rng.random((50, 90)) < 0.01) * rng.integers(-3, 4, (50, 90)),
        "zero": np.zeros((20, 300)),
        "constant": np.full((30, 200), -5),
        "huge": rng.integers(-LEVEL_MAX, LEVEL_MAX + 1, (17, 23)),
        "limits": np.tile([LEVEL_MAX, -LEVEL_MAX, 0], (3, 5)),
        "row": rng.integers(-9, 10, (1, 777)),
        "column": rng.integers(-9, 10, (777, 1)),
        "no rows": np.zeros((0, 5)),
        "no columns": np.zeros((5, 0)),
    }


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("states", STATES)
@pytest.mark.parametrize("kernel_size", [1, 9])
def test_round_trip(coder, states, kernel_size):
    for name, levels in samples().items():
        levels = levels.astype(np.int32)
        payload = encode(coder, [levels], states, kernel_size)
        (back,), statuses, whole = decode(coder, payload, [levels.shape], states, kernel_size)
        assert statuses == [OK], name
        assert whole == 1, name
        assert np.array_equal(back, levels), name


@pytest.mark.parametrize("coder", CODERS)
def test_joined_stream_keeps_what_was_learned(coder):
    arrays = [a.astype(np.int32) for a in samples().values()]
    arrays += [arrays[0][i : i + 1] for i in range(20)]
    payload = encode(coder, arrays)
    back, statuses, whole = decode(coder, payload, [a.shape for a in arrays])
    assert whole == 1
    assert set(statuses) == {OK}
    assert all(np.array_equal(a, b) for a, b in zip(arrays, back, strict=True))
    parts = arrays[-20:]
    assert len(encode(coder, parts)) < 0.95 * sum(len(encode(coder, [a])) for a in parts)


@pytest.mark.parametrize("coder", CODERS)
def test_cost_is_near_the_size(coder):
    new, _, _, cost = CODERS[coder]
    levels = samples()["gaussian"].astype(np.int32)
    bits = 8 * len(encode(coder, [levels]))
    assert abs(cost(levels, 8, 1, new()) / bits - 1) < 0.02


def test_mixing_predicts_a_smooth_signal():
    levels = samples()["smooth"].astype(np.int32)
    assert len(encode("cm", [levels])) < 0.85 * len(encode("cc", [levels]))


@pytest.mark.parametrize("coder", CODERS)
def test_both_ends_of_the_estimator(coder):
    """A long run of zeros, then of ones, drives the probabilities to both ends; the coder stays sound."""
    levels = np.concatenate([np.zeros(60000), np.full(60000, -(1 << 20)), np.zeros(3)]).astype(np.int32).reshape(3, -1)
    payload = encode(coder, [levels], 0)
    (back,), statuses, whole = decode(coder, payload, [levels.shape], 0)
    assert statuses == [OK]
    assert whole == 1
    assert np.array_equal(back, levels)
    model, buf = CODERS[coder][0](), np.zeros(4096, np.uint8)
    CODERS[coder][1](np.zeros((1, 200000), np.int32), 0, 1, model, encoder_start(buf), buf)
    contexts = model if coder == "cc" else model.a
    assert (contexts >> 8).min() < range_coder.PROBABILITY_MIN


@pytest.mark.parametrize("coder", CODERS)
def test_statuses(coder):
    new, code, _, _ = CODERS[coder]
    small = np.zeros(300, np.uint8)
    assert code(np.full((100, 100), 77, np.int32), 8, 1, new(), encoder_start(small), small)[1] == EXHAUSTED
    for k in (LEVEL_MAX + 1, -LEVEL_MAX - 1, -(2**31)):
        assert code(np.full((2, 2), k, np.int32), 8, 1, new(), encoder_start(small), small)[1] == OUT_OF_RANGE


@pytest.mark.parametrize("coder", CODERS)
def test_damaged_payloads_end_with_a_status(coder):
    rng = np.random.default_rng(9)
    seen = set()
    payloads = [rng.integers(0, 256, n).astype(np.uint8) for n in (0, 1, 3, 10, 100, 3000) for _ in range(5)]
    payloads += [np.full(500, 255, np.uint8), np.zeros(500, np.uint8), np.zeros(1, np.uint8)]
    good = encode(coder, [samples()["gaussian"].astype(np.int32)])
    payloads += [good[:-1], good[:50], np.append(good, 0).astype(np.uint8)]
    for payload in payloads:
        for states in (0, 8):
            _, (status,), whole = decode(coder, payload, [(40, 63)], states)
            assert not (status == OK and whole) or len(payload) == 1
            seen.add(status)
    assert seen == {OK, EXHAUSTED, OUT_OF_RANGE}


def test_payload_is_bounded_by_its_end():
    """What follows the payload in its buffer is not read."""
    levels = samples()["gaussian"].astype(np.int32)
    payload = encode("cc", [levels])
    r = decoder_start(np.concatenate([payload, np.full(9, 255, np.uint8)]), 0, len(payload))
    back = np.zeros_like(levels)
    buf = np.concatenate([payload, np.full(9, 255, np.uint8)])
    r, status = decode_levels_cc(back, 8, 1, new_cc_contexts(), r, buf)
    assert status == OK
    assert decoder_finish(r, buf) == 1
    assert np.array_equal(back, levels)


def digest_of_streams() -> str:
    """SHA-256 over the payloads of small arrays; every array is also decoded back."""
    h = hashlib.sha256()
    rng = np.random.default_rng(2)
    arrays = [np.rint(rng.normal(size=(6, 20)) * 4), rng.integers(-LEVEL_MAX, LEVEL_MAX + 1, (5, 6)),
              np.tile([LEVEL_MAX, -LEVEL_MAX], (4, 4)), np.rint(90 * np.sin(np.arange(120) / 4.0)).reshape(4, 30)]
    arrays = [a.astype(np.int32) for a in arrays]
    for coder in CODERS:
        for states, kernel_size in ((0, 1), (8, 4), (64, 3)):
            payload = encode(coder, arrays, states, kernel_size)
            back, statuses, whole = decode(coder, payload, [a.shape for a in arrays], states, kernel_size)
            assert whole == 1
            assert all(np.array_equal(a, b) for a, b in zip(arrays, back, strict=True))
            h.update(payload.tobytes())
            garbage = np.frombuffer(hashlib.sha512(payload.tobytes()).digest(), np.uint8).copy()
            back, statuses, whole = decode(coder, garbage, [(5, 9), (6, 7)], states, kernel_size)
            h.update(b"".join(a.tobytes() for a in back) + bytes(statuses) + bytes([whole]))
    return h.hexdigest()


def test_compiled_equals_uncompiled():
    assert uncompiled(__file__).strip() == digest_of_streams()


TABLE_DIGESTS = {
    "LOG_BUCKET": "51ceb9883ba2c9c345079feef4f2aeeefc0f3eba61bd7b2aaefae2ee3e348162",
    "STRETCH": "1452365cbcafc1372d0cee3dc3b1709348ec8ccf062009ef965acb496dd8595a",
    "SQUASH": "aa69ad797c3247f409654a2e5773e603c08bafc185b3b77d3f8a14b2eecb676d",
    "RECIPROCAL": "6e2b5d3a2e271213837a32bf84baae0a7b2a711458bf0417d4296053448f3e2c",
}


@pytest.mark.parametrize("name", TABLE_DIGESTS)
def test_tables_are_those_of_spec(name):
    table = getattr(tables, name)
    assert hashlib.sha256(table.astype("<i4").tobytes()).hexdigest() == TABLE_DIGESTS[name]


def test_tables_keep_their_properties():
    assert (np.diff(tables.STRETCH) >= 0).all()
    assert (np.diff(tables.SQUASH) >= 0).all()
    assert np.array_equal(tables.SQUASH + tables.SQUASH[::-1], np.full(len(tables.SQUASH), 65536))
    natural = 256 * np.log((np.arange(4096) + 0.5) / (4095.5 - np.arange(4096)))
    assert np.abs(tables.STRETCH - natural).max() < 1.01


if __name__ == "__main__":
    print(digest_of_streams())
