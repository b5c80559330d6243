"""Clause 8.5: rounding, uniform and trellis-coded quantisers, codebook, grid; the encoder's search."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from helpers import run_python, uncompiled

from refcodec.dtypes import BY_CODE, BY_NAME, DType
from refcodec.encoder.level_search import quantise
from refcodec.encoder.rate_control import representable, search_step, squared_error, step_for_snr, step_parts
from refcodec.errors import ConfigError, ReconstructionError
from refcodec.quantization.codebook import reconstruct_codebook
from refcodec.quantization.grid import reconstruct_grid
from refcodec.quantization.rounding import round_to_dtype, supports
from refcodec.quantization.uniform import TRELLIS, indices, reconstruct

FLOATS = [d for d in BY_CODE.values() if d.kind == "f" and supports(d)]
NARROW = [d for d in FLOATS if d.bits <= 16]
INTEGERS = [d for d in BY_CODE.values() if d.kind in "iu"]


def exact(word_value) -> Fraction:
    return Fraction(float(word_value))


def finite_values(dtype: DType) -> np.ndarray:
    """All finite values of a type of at most 16 bits, ascending, as float64 (-0 left out)."""
    words = np.arange(1 << dtype.bits, dtype=np.uint32).astype(dtype.word).view(dtype.numpy)
    with np.errstate(invalid="ignore"):
        values = words.astype(np.float64)
    return np.unique(values[np.isfinite(values)])


def nearest(value: Fraction, table: list[Fraction]) -> Fraction:
    """Reference: nearest of the table, ties to the even word (even position counted from zero)."""
    zero = table.index(Fraction(0))
    best = min(abs(value - t) for t in table)
    found = [i for i, t in enumerate(table) if abs(value - t) == best]
    return table[next(i for i in found if len(found) == 1 or (i - zero) % 2 == 0)]


@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.name)
def test_narrow_floats_round_once_to_nearest_even(dtype):
    values = finite_values(dtype)
    assert np.array_equal(round_to_dtype(values, dtype).astype(np.float64), values)      # idempotent
    with np.errstate(over="ignore"):
        middle = (values[:-1] + values[1:]) / 2                                          # exact: ties
    below, above = np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf)
    zero = int(np.searchsorted(values, 0.0))
    even = np.where((np.arange(len(middle)) - zero) % 2 == 0, values[:-1], values[1:])
    assert np.array_equal(round_to_dtype(below, dtype).astype(np.float64), values[:-1])
    assert np.array_equal(round_to_dtype(above, dtype).astype(np.float64), values[1:])
    assert np.array_equal(round_to_dtype(middle, dtype).astype(np.float64), even)


@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.name)
def test_overflow_begins_half_a_unit_above_the_largest(dtype):
    values = finite_values(dtype)
    limit = values[-1] + (values[-1] - values[-2]) / 2
    largest_is_even = (len(values) - 1 - int(np.searchsorted(values, 0.0))) % 2 == 0
    inside = limit if largest_is_even else np.nextafter(limit, 0)
    assert float(round_to_dtype(np.array([inside]), dtype)[0]) == values[-1]
    for bad in (np.nextafter(inside, np.inf), -np.nextafter(inside, np.inf), np.inf, np.nan):
        with pytest.raises(ReconstructionError) as caught:
            round_to_dtype(np.array([bad]), dtype)
        assert caught.value.code == "OVERFLOW"


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_negative_zero(dtype):
    word = round_to_dtype(np.array([-0.0, -1e-320]), dtype).view(dtype.word)
    if dtype.name == "float64":
        assert int(word[0]) == 1 << 63
    else:
        assert [int(w) for w in word] == [0 if dtype.name.endswith("fnuz") else 1 << (dtype.bits - 1)] * 2


def test_narrow_formats_against_ml_dtypes():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(20000).astype(np.float32).astype(np.float64) * 2.0 ** rng.integers(-9, 3, 20000)
    for dtype in NARROW:
        x = np.clip(values, finite_values(dtype)[0], finite_values(dtype)[-1])
        x = x.astype(np.float32).astype(np.float64)                # in float32 the cast rounds once
        assert np.array_equal(round_to_dtype(x, dtype).view(dtype.word),
                              x.astype(np.float32).astype(dtype.numpy).view(dtype.word)), dtype.name


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
def test_integers_round_half_even_and_overflow(dtype):
    bits = 1 if dtype.name == "bool" else dtype.bits
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dtype.kind == "i" else (0, (1 << bits) - 1)
    x = np.array([0.5, 0.4999, 0.0, -0.5])
    assert [int(v) for v in round_to_dtype(x, dtype)] == [0, 0, 0, 0]
    if high >= 7:
        assert [int(v) for v in round_to_dtype(np.array([1.5, 2.5, 6.5]), dtype)] == [2, 2, 6]
    ends = np.array([float(low), float(high) if bits < 54 else np.nextafter(2.0 ** (bits - (dtype.kind == "i")), 0)])
    assert [int(v) for v in round_to_dtype(ends, dtype)] == [int(v) for v in ends]
    for bad in (float(high) + 1, float(low) - 1 if bits < 54 else 2.0 * min(low, -1), np.nan):
        with pytest.raises(ReconstructionError):
            round_to_dtype(np.array([bad]), dtype)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float6_e3m2fn"])
@pytest.mark.parametrize("states", [0, 8])
def test_reconstruct_is_the_nearest_to_the_exact_product(name, states):
    dtype = BY_NAME[name]
    table = [Fraction(v) for v in finite_values(dtype)] if dtype.bits < 16 else None
    rng = np.random.default_rng(2)
    largest = float(finite_values(dtype)[-1])
    for mantissa, exponent in ((65535, -18), (40503, -24), (1, -26), (33333, -150 if name == "bfloat16" else -20)):
        limit = max(1, int(min(largest / (mantissa * 2.0**exponent) / 2 - 1, 3000)))
        levels = rng.integers(-limit, limit + 1, (2, 25)).astype(np.int32)
        values = reconstruct(levels, states, mantissa, exponent, dtype).astype(np.float64)
        n = indices(levels, states)
        products = [Fraction(int(v)) * mantissa * Fraction(2) ** exponent for v in n.reshape(-1)]
        if table is not None:
            assert [exact(v) for v in values.reshape(-1)] == [nearest(p, table) for p in products]
        else:                              # the error is at most that of both neighbours
            word = np.abs(values).astype(dtype.numpy).view(dtype.word).astype(np.int64).reshape(-1)
            up = (word + 1).astype(dtype.word).view(dtype.numpy).astype(np.float64)
            down = np.maximum(word - 1, 0).astype(dtype.word).view(dtype.numpy).astype(np.float64)
            for v, u, d, w, p in zip(np.abs(values).reshape(-1), up, down, word, map(abs, products)):
                error = abs(exact(v) - p)
                for other in (exact(u), exact(d)) if v else (exact(u),):
                    assert error < abs(other - p) or (error == abs(other - p) and w % 2 == 0)


def test_reconstruct_float32_and_float64_against_fractions():
    rng = np.random.default_rng(3)
    levels = rng.integers(-2**31, 2**31, 3000).astype(np.int32)
    for mantissa, exponent in ((65535, -40), (51773, -30), (40001, -180), (65535, 60)):
        n = [int(v) for v in indices(levels, 32)]
        v32 = reconstruct(levels, 32, mantissa, exponent, BY_NAME["float32"])
        v64 = reconstruct(levels, 32, mantissa, exponent, BY_NAME["float64"])
        assert [exact(v) for v in v64] == [k * mantissa * Fraction(2) ** exponent for k in n]
        for v, k in zip(v32, n):
            p = k * mantissa * Fraction(2) ** exponent
            error = abs(exact(v) - p)
            word = int(v.view(np.uint32))
            for other in (np.nextafter(v, np.float32(np.inf)), np.nextafter(v, np.float32(-np.inf))):
                distance = abs(exact(other) - p)
                assert error < distance or (error == distance and word % 2 == 0)


SPEC_EXAMPLES = [      # SPEC 8.5.11: type, mantissa, exponent, levels, words
    ("bfloat16", 1, -29, [538968065], [0x3F81]),
    ("float16", 1, -29, [537133057], [0x3C01]),
    ("float32", 65533, 0, [16777217], [0x537FFD01]),
    ("float32", 1, -150, [1, 3, -1, -3], [0, 2, 0x80000000, 0x80000002]),
    ("float8_e4m3fnuz", 1, -11, [1, 3, -1, -3], [0, 2, 0, 0x82]),
    ("float16", 1, 4, [4094], [0x7BFF]),
    ("int8", 1, -1, [1, 3, 5, -1, -3], [0, 2, 2, 0, 0xFE]),
]


@pytest.mark.parametrize("name, mantissa, exponent, levels, words", SPEC_EXAMPLES)
def test_examples_of_the_text(name, mantissa, exponent, levels, words):
    dtype = BY_NAME[name]
    got = reconstruct(np.array(levels, dtype=np.int32), 0, mantissa, exponent, dtype)
    assert got.view(dtype.word).tolist() == words
    assert indices(np.array([1, 1, -1, 0, 2, -3, 1, 1], dtype=np.int32), 8).tolist() == [2, 2, -1, 0, 3, -6, 2, 2]


@pytest.mark.parametrize("name, mantissa, exponent, level", [("float16", 1, 4, 4095), ("int8", 1, -1, 255)])
def test_overflows_of_the_text(name, mantissa, exponent, level):
    with pytest.raises(ReconstructionError) as caught:
        reconstruct(np.array([level], dtype=np.int32), 0, mantissa, exponent, BY_NAME[name])
    assert caught.value.code == "OVERFLOW"


def test_reconstruct_extreme_exponents_are_exact():
    levels = np.array([1, -1, 3, 2**31 - 1, -2**31, 0], dtype=np.int32)
    for exponent in (-1074, -1040, 970):
        values = reconstruct(levels, 0, 65535, exponent, BY_NAME["float64"])
        assert [exact(v) for v in values] == [int(k) * 65535 * Fraction(2) ** exponent for k in levels]
    with pytest.raises(ReconstructionError):
        reconstruct(levels, 0, 1, 971, BY_NAME["float64"])
    with pytest.raises(ReconstructionError):
        reconstruct(levels, 0, 0, 0, BY_NAME["float64"])
    with pytest.raises(ReconstructionError):
        reconstruct(levels, 7, 1, 0, BY_NAME["float64"])
    with pytest.raises(ReconstructionError) as caught:
        reconstruct(levels, 0, 1, 0, BY_NAME["float16"])
    assert caught.value.code == "OVERFLOW"


def test_prediction():
    levels = np.array([[2, 0, -1, 1]], dtype=np.int32)
    base = np.array([[1.0, np.nan, np.inf, 3.0]], dtype=np.float32)
    out = reconstruct(levels, 0, 32768, -16, BY_NAME["float32"], base)
    assert out.tolist() == [[2.0, 0.0, -0.5, 3.5]]
    ints = reconstruct(levels, 0, 1, 0, BY_NAME["int8"], np.array([[100, 1, 2, 126]], dtype=np.int8))
    assert ints.tolist() == [[102, 1, 1, 127]]
    with pytest.raises(ReconstructionError):
        reconstruct(levels, 0, 2, 0, BY_NAME["int8"], np.array([[100, 1, 2, 126]], dtype=np.int8))


@pytest.mark.parametrize("states", list(TRELLIS))
def test_trellis_state_machine(states):
    a, b = TRELLIS[states]
    # every state has two predecessors, and the two branches that meet come from one quantiser
    into = {}
    for s in range(states):
        for odd in (0, 1):
            into.setdefault((s >> 1) ^ (a if s & 1 else 0) ^ (b if odd else 0), []).append((s & 1, odd))
    assert all(len(v) == 2 and v[0][0] == v[1][0] and v[0][1] != v[1][1] for v in into.values())
    assert len(into) == states
    levels = np.random.default_rng(states).integers(-5, 6, 5000).astype(np.int32)
    n, s = indices(levels, states), 0
    for k, value in zip(levels.tolist(), n.tolist()):
        assert value == 2 * k - (k > 0) * (s & 1) + (k < 0) * (s & 1)
        s = (s >> 1) ^ (a if s & 1 else 0) ^ (b if k & 1 else 0)


def test_chunks_carry_the_state():
    levels = np.random.default_rng(5).integers(-3, 4, (700, 1000)).astype(np.int32)
    expected = (indices(levels, 16) * 3).astype(np.float32)
    assert np.array_equal(reconstruct(levels, 16, 3, 0, BY_NAME["float32"]), expected)


def test_codebook_and_grid():
    book = np.array([-1.5, 0.0, 2.0], dtype=np.float16)
    assert reconstruct_codebook(np.array([[-1, 0, 1]], dtype=np.int32), book, 1).tolist() == [[-1.5, 0.0, 2.0]]
    for bad in ([-2], [2]):
        with pytest.raises(ReconstructionError) as caught:
            reconstruct_codebook(np.array(bad, dtype=np.int32), book, 1)
        assert caught.value.code == "OUT_OF_RANGE"
    rng = np.random.default_rng(6)
    h = rng.standard_normal((7, 50)).astype(np.float16)
    s = rng.random(7).astype(np.float32)
    got = reconstruct_grid(h.view(np.uint16), s)
    assert np.array_equal(got, (h.astype(np.float64) * s.astype(np.float64)[:, None]).astype(np.float32))
    with pytest.raises(ReconstructionError):
        reconstruct_grid(np.full((1, 1), 0x7C00, dtype=np.uint16), np.ones(1, dtype=np.float32))


# The encoder's search (informative)


def weights(rows=64, columns=512, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.laplace(size=(rows, columns)) * np.exp(rng.normal(0, 0.7, (rows, 1)))).astype(np.float32)


def entropy(levels: np.ndarray, states: int) -> float:
    """Bits per element of an order-0 code for each quantiser."""
    n = indices(levels, states).reshape(-1)
    q = np.abs(n - 2 * levels.reshape(-1)) & 1 if states else np.zeros_like(n)
    bits = 0.0
    for part in (levels.reshape(-1)[q == 0], levels.reshape(-1)[q == 1]):
        counts = np.unique(part, return_counts=True)[1]
        bits -= (counts * np.log2(counts / max(len(part), 1))).sum()
    return float(bits) / levels.size


@pytest.mark.parametrize("states", [4, 8, 64])
def test_trellis_beats_rounding_at_equal_rate(states):
    x = np.random.default_rng(9).standard_normal((64, 512)).astype(np.float32)
    plain = np.rint(x / 0.5).astype(np.int32)

    def rate(step):
        return entropy(quantise(x, step, states), 0)

    step = search_step(rate, entropy(plain, 0), 0.3, above=0.0, below=0.02)
    gain = squared_error(x, plain, 0, 0.5) / squared_error(x, quantise(x, step, states), states, step)
    assert gain > {4: 1.08, 8: 1.1, 64: 1.15}[states]   # 1.11, 1.12, 1.21 when written


def test_search_without_rate_is_the_nearest_reachable_point():
    x = weights(8, 64)
    assert np.array_equal(quantise(x, 0.25, 0, lam=0.0), np.sign(x) * np.floor(np.abs(x) / 0.25 + 0.5))
    levels = quantise(x[:1, :8], 1.5, 4, lam=0.0)              # against all sequences of -2..2
    best = min(squared_error(x[:1, :8], np.array([k], dtype=np.int32), 4, 1.5)
               for k in np.stack(np.meshgrid(*[np.arange(-1, 2)] * 8), -1).reshape(-1, 8))
    assert squared_error(x[:1, :8], levels, 4, 1.5) <= best + 1e-9


@pytest.mark.parametrize("states", [0, 8])
def test_search_takes_any_input(states):
    x = np.array([[np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0, 1e-40]], dtype=np.float32)
    levels = quantise(x, 1e-3, states)
    assert levels.dtype == np.int32
    assert levels[0, [0, 1, 5]].tolist() == [0, 0, 0]
    assert np.abs(levels).max() < 2**30
    assert quantise(np.empty((0, 5), dtype=np.float32), 1.0, states).shape == (0, 5)
    assert quantise(np.empty((5, 0), dtype=np.float32), 1.0, states).shape == (5, 0)
    assert quantise(np.full((1, 1), 3.0), 1.0, states).shape == (1, 1)


def test_step_parts():
    rng = np.random.default_rng(11)
    for step in np.concatenate([2.0 ** rng.uniform(-1000, 900, 200), [1.0, 5e-324, 2.0**-1060, 65535.7, 3e-310]]):
        mantissa, exponent = step_parts(float(step))
        assert 1 <= mantissa <= 65535
        assert -1074 <= exponent <= 970
        value = Fraction(mantissa) * Fraction(2) ** exponent
        assert abs(value - Fraction(float(step))) <= Fraction(2) ** exponent / 2
        assert mantissa >= 32768 or exponent == -1074
        assert step_parts(float(value)) == (mantissa, exponent)
    for bad in (0.0, -1.0, float("inf"), float("nan"), 1e308):
        with pytest.raises(ConfigError):
            step_parts(bad)


def test_search_step_finds_roots():
    tries = []

    def bits(step):
        tries.append(step)
        return max(0.0, 3.0 - np.log2(step / 0.01)) ** 1.2

    step = search_step(bits, 2.0, 1.0)
    assert 2.0 <= bits(step) <= 2.005
    assert len(tries) <= 12
    step = search_step(lambda s: float(s < 0.3), 0.5, 1.0)     # a jump: ends, near to it
    assert step == representable(step)


def test_step_for_snr():
    tensors = [weights(), weights(7, 33, seed=1)]
    joined = np.concatenate([t.reshape(-1) for t in tensors]).astype(np.float64)
    for target in (9.0, 30.0):
        step = step_for_snr(tensors, target, 8)
        noise = sum(squared_error(t, quantise(t, step, 8), 8, step) for t in tensors)
        assert target - 1e-9 <= 10 * np.log10(joined.var() * joined.size / noise) <= target + 0.05
    assert step_for_snr([np.zeros((3, 3), dtype=np.float32)], 30.0, 8) == 1.0


def test_compiled_and_uncompiled_search_agree():
    script = (
        "import numpy as np, hashlib\n"
        "from refcodec.encoder.level_search import quantise\n"
        "from refcodec.quantization.uniform import reconstruct\n"
        "from refcodec.dtypes import BY_NAME\n"
        "x = np.random.default_rng(4).laplace(size=(4, 25)).astype(np.float32)\n"
        "for states in (0, 8, 64):\n"
        "    k = quantise(x, 0.2, states)\n"
        "    v = reconstruct(k, states, 51773, -18, BY_NAME['bfloat16'])\n"
        "    print(hashlib.sha256(k.tobytes() + v.view(np.uint16).tobytes()).hexdigest())\n")
    compiled = run_python("-c", script, REFCODEC_COMPILE="1").stdout
    assert uncompiled("-c", script) == compiled
    assert len(compiled.split()) == 3
