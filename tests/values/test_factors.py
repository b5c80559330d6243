"""Clause 8.6: factors, masks, random integers and the decomposition; the encoder's fits."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import uncompiled
from hypothesis import given, settings
from hypothesis import strategies as st

from refcodec import Config, Model, Tensor, decode, encode
from refcodec.bitstream.limits import size_needed
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import Representation as R
from refcodec.bitstream.units import ByteSource
from refcodec.compiler import COMPILE
from refcodec.encoder.updates import factors as fit
from refcodec.encoder.updates.factors import FactorUpdate
from refcodec.errors import ConfigError, OmcError, ReconstructionError
from refcodec.reconstruction import factors as rebuild
from refcodec.reconstruction.decomposition import decompose
from refcodec.reconstruction.factors import Factor, augmentation, low_rank, low_rank_update, mapping
from refcodec.reconstruction.masks import gather, random_mask, row_mask, scatter
from refcodec.reconstruction.random_integers import RANDOM_LIMIT, random_choice, random_matrix, random_words
from refcodec.reconstruction.representations import residual

SOURCE = Path(__file__).with_name("factor_update.c")
DECOMPOSITION, LOW_RANK, MAPPING, AUGMENTATION, LOW_RANK_UPDATE = range(5)      # kinds of factor_update.c


# The matrices

def circulant(seed: int, m: int) -> np.ndarray:
    """Integers -8..7 by the generator of SPEC 8.6.6; singular values come in equal pairs, so that every bit matters."""
    first = (random_words(seed, 0, m) >> np.uint64(60)).astype(np.int64) - 8
    i = np.arange(m)
    return first[(i[None, :] - i[:, None]) % m].astype(np.float64)


def adversarial() -> dict[str, np.ndarray]:
    """Sixty small matrices that a decomposition may fail on: without any random function of numpy."""
    found = {}

    def normal(rows, columns, seed=0):
        return random_matrix(seed, rows, columns).astype(np.float64)

    shapes = ((1, 1), (1, 9), (9, 1), (2, 2), (2, 7), (7, 2), (3, 3), (5, 9), (9, 5), (12, 12))
    for i, (rows, columns) in enumerate(shapes):
        found[f"normal {rows} {columns}"] = normal(rows, columns, i)
    for m in (1, 2, 3, 8):
        found[f"identity {m}"], found[f"zeros {m}"] = np.eye(m), np.zeros((m, m + 1))
        found[f"ones {m}"], found[f"reversed {m}"] = np.ones((m + 1, m)), np.eye(m)[::-1]
    for m in (2, 4, 6, 9):
        i = np.arange(1.0, m + 1)
        found[f"hilbert {m}"] = 1 / (i[:, None] + i - 1)
        found[f"circulant {m}"] = circulant(m, m)
        found[f"rank one {m}"] = np.outer(i, i[::-1])
        found[f"rank two {m}"] = rebuild.exact_product(random_matrix(m, m, 2) >> 8, random_matrix(m + 1, 2, m) >> 8)
        found[f"graded {m}"] = normal(m, m) * 2.0 ** (-40 * i[:, None])
        found[f"graded back {m}"] = normal(m, m + 2) * 2.0 ** (-40 * i[::-1, None])
        found[f"tridiagonal {m}"] = np.eye(m) * 2 + np.eye(m, k=1) + np.eye(m, k=-1)
    x = normal(6, 8, 77)
    found |= {"huge": x * 2.0**1000, "tiny": x * 2.0**-1090, "denormals": np.full((3, 4), 5e-324), "wilkinson": (
        np.diag(np.abs(np.arange(-7.0, 8))) + np.eye(15, k=1) + np.eye(15, k=-1))}
    found |= {"wide range": x * 2.0 ** np.linspace(-1070, 980, 48).reshape(6, 8), "one entry": np.eye(5)[:, :1] * 3.0,
              "negative zero": np.full((3, 3), -0.0), "almost equal": np.eye(6) + x[:, :6] * 2.0**-70}
    return found


def digests() -> dict[str, str]:
    """SHA-256 of u and v of each matrix."""
    out = {}
    for name, x in adversarial().items():
        d = decompose(x)
        out[name] = hashlib.sha256(d.u.tobytes() + d.v.tobytes()).hexdigest()
    return out


# Decomposition

def test_decomposition_is_one():
    matrices = adversarial()
    assert len(matrices) == 62
    for name, x in matrices.items():
        d = decompose(x)
        m, n = sorted(x.shape)
        assert d.u.shape == (m, m), name
        assert d.v.shape == (m, n), name
        assert d.transposed == (x.shape[0] > x.shape[1]), name
        assert np.abs(d.u @ d.u.T - np.eye(m)).max() < 1e-13, name
        assert (np.abs(d.u).max(axis=1) == d.u.max(axis=1)).all(), name
        assert not (np.signbit(d.u) & (d.u == 0)).any(), name
        lengths = np.square(d.v).sum(axis=1)
        assert (np.isclose(lengths, 1, atol=1e-12) | (lengths == 0)).all(), name
        largest = np.abs(x).max(initial=0.0)
        scaled = np.ldexp(x, -np.frexp(largest)[1])
        assert np.allclose((d.left.T * d.norms) @ d.right, scaled, atol=2e-6 * m), name


def test_decomposition_agrees_with_lapack():
    for rows, columns in ((70, 150), (150, 70), (129, 129)):
        x = random_matrix(3, rows, columns).astype(np.float64)
        d = decompose(x)
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        assert np.allclose(d.norms * 2.0 ** np.frexp(np.abs(x).max())[1], s)
        assert np.allclose(np.abs((d.left * u.T).sum(axis=1)), 1)
        assert np.allclose(np.abs((d.right * vt).sum(axis=1)), 1)


@pytest.mark.skipif(not COMPILE, reason="the compiler is off")
def test_decomposition_without_the_compiler():
    assert json.loads(uncompiled(__file__)) == digests()


def test_decomposition_limits():
    for x in (np.array([[1.0, np.nan]]), np.array([[np.inf], [0.0]])):
        with pytest.raises(ReconstructionError) as caught:
            decompose(x)
        assert caught.value.code == "OVERFLOW"
    assert [size_needed(*shape) for shape in ((4, 64), (5, 5), (4, 65), (65, 4))] == [4, 5, 5, 5]
    assert decompose(np.zeros((0, 3))).v.shape == (0, 3)


# The same arithmetic in C

@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """A function that compiles factor_update.c with options."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc")
    folder = tmp_path_factory.mktemp("factor_update")

    def make(*options: str) -> Path:
        program = folder / "_".join(("program", *options))
        if not program.exists():
            subprocess.run([compiler, *options, "-o", program, SOURCE, "-lm"], check=True)
        return program
    return make


def run_c(program: Path, kind: int, shape, rank: int, factors=(), steps=((1, 0),) * 3, extra=0, reference=None,
          seed=0) -> np.ndarray:
    """What the C program makes of factors (left, right and gains have the steps, in this order)."""
    head = [kind, *shape, rank, extra, *(s[0] for s in steps), *(s[1] for s in steps)]
    data = np.array(head, np.int64).tobytes() + np.array([seed], np.uint64).tobytes()
    data += b"" if reference is None else np.ascontiguousarray(reference, np.float64).tobytes()
    data += b"".join(np.ascontiguousarray(f, np.int64).tobytes() for f in factors)
    program.with_suffix(".in").write_bytes(data)
    subprocess.run([program, program.with_suffix(".in"), program.with_suffix(".out")], check=True)
    return np.fromfile(program.with_suffix(".out"), np.float64)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.reshape(-1).view(np.uint64).tolist() == b.reshape(-1).view(np.uint64).tolist()


@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3"])
def test_c_gives_the_same_bits(build, level):
    program = build(level, "-ffp-contract=off")
    for name, x in adversarial().items():
        d = decompose(x)
        assert same_bits(run_c(program, DECOMPOSITION, x.shape, 0, reference=x),
                         np.concatenate([d.u.reshape(-1), d.v.reshape(-1)])), name
    for rows, columns in ((40, 90), (90, 40)):
        x = random_matrix(8, rows, columns) * 2.0**-20
        d = decompose(x)
        steps = [(40000, -30), (51111, -27), (33333, -31)]
        left, right = random_matrix(1, rows, 3) >> 6, random_matrix(2, 3, columns) >> 7
        gains = random_matrix(3, 1, 25) >> 3
        factors = [Factor(f, *s) for f, s in zip((left, right, gains), steps)]
        shape = (rows, columns)
        assert same_bits(run_c(program, LOW_RANK, shape, 3, (left, right), steps), low_rank(*factors[:2]))
        assert same_bits(run_c(program, MAPPING, shape, 3, (left,), steps, reference=x), mapping(d, factors[0]))
        assert same_bits(run_c(program, LOW_RANK_UPDATE, shape, 3, (left,), steps, seed=2**63 + 5),
                         low_rank_update(factors[0], 2**63 + 5, columns))
        assert same_bits(run_c(program, AUGMENTATION, shape, 25, (gains, left, right), steps, 3, x),
                         augmentation(d, factors[2], *factors[:2]))
        assert same_bits(run_c(program, AUGMENTATION, shape, 25, (gains,), steps, 0, x), augmentation(d, factors[2]))


def test_contraction_is_seen(build):
    """The stored matrix: circulant(0, 8), t = k + 1 times 2^-5. Contraction turns vectors of equal singular values."""
    x, gains = circulant(0, 8), np.arange(1, 9)[None, :]
    expected = augmentation(decompose(x), Factor(gains, 1, -5))
    assert hashlib.sha256(expected.astype("<f4").tobytes()).hexdigest() == CIRCULANT_DIGEST
    steps = ((1, 0), (1, 0), (1, -5))
    exact = run_c(build("-O3", "-ffp-contract=off"), AUGMENTATION, x.shape, 8, (gains,), steps, 0, x)
    assert same_bits(exact, expected)
    if "fma" not in Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else True:
        pytest.skip("this processor has no fused multiply-add to show it with")
    contracted = run_c(build("-O3", "-mfma", "-ffp-contract=fast"), AUGMENTATION, x.shape, 8, (gains,), steps, 0, x)
    assert np.abs(contracted - expected.reshape(-1)).max() > 1e-3


CIRCULANT_DIGEST = "55cc6a73128b7e5a6afbef73d762dbb308ab1731094d1f9775f0226db8b13b23"


# Factors

def code_of(function, *arguments, **named) -> str:
    with pytest.raises(ReconstructionError) as caught:
        function(*arguments, **named)
    return caught.value.code


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**63), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 20))
def test_low_rank_is_exact(seed, rows, rank, columns, shift):
    left, right = random_matrix(seed, rows, rank) >> shift, random_matrix(seed + 1, rank, columns)
    exact = [[sum(int(a) * int(b) for a, b in zip(row, column)) for column in right.T] for row in left]
    found = low_rank(Factor(left, 3, -9), Factor(right, 65535, 7))
    assert found.tolist() == [[v * 3 * 65535 / 4.0 for v in row] for row in exact]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 62), st.integers(1, 65535), st.integers(-1074, 970), st.integers(0, 4))
def test_any_factors_give_a_matrix_or_an_error(seed, shift, mantissa, exponent, rank):
    """Whatever a stream holds: D is finite, or one error of a listed code."""
    def factor(rows, columns):
        words = random_words(seed + rows, 0, rows * columns).view(np.int64) >> shift
        return Factor(words.reshape(rows, columns), mantissa, exponent)

    reference = decompose(random_matrix(seed, 3, 5).astype(np.float64))
    for make in (lambda: low_rank(factor(3, rank), factor(rank, 5)), lambda: mapping(reference, factor(3, rank)),
                 lambda: augmentation(reference, factor(1, rank), factor(3, 2), factor(2, 5)),
                 lambda: low_rank_update(factor(3, rank), seed, 5)):
        try:
            d = make()
            assert d.shape == (3, 5)
            assert np.isfinite(d).all()
        except ReconstructionError as error:
            assert error.code in ("OVERFLOW", "OUT_OF_RANGE")


def test_zero_is_positive():
    d = low_rank(Factor(np.array([[-1], [0]])), Factor(np.array([[0, 5]])))
    assert not np.signbit(d[[0, 1, 1], [0, 0, 1]]).any()


def test_products_beyond_2_53():
    big = Factor(np.array([[1 << 26, 0]]))
    assert low_rank(big, Factor(np.array([[1 << 26], [0]]))).tolist() == [[2.0**52]]
    assert code_of(low_rank, big, Factor(np.array([[(1 << 26) + 1], [0]]))) == "OVERFLOW"
    assert code_of(low_rank, Factor(np.array([[-(1 << 63)]])), Factor(np.array([[-(1 << 63)]]))) == "OVERFLOW"
    reference = decompose(np.eye(3))
    assert code_of(mapping, reference, Factor(np.full((3, 1), 1 << 28))) == "OVERFLOW"
    assert code_of(augmentation, reference, Factor(np.full((1, 3), (1 << 37) + 1))) == "OVERFLOW"
    assert code_of(low_rank_update, Factor(np.full((1, 1), 1 << 60)), 0, 4) == "OVERFLOW"


def test_ranks_and_steps_out_of_range():
    one, two = Factor(np.ones((3, 1), np.int64)), Factor(np.ones((3, 2), np.int64))
    reference = decompose(np.eye(3))
    assert code_of(low_rank, one, two) == "BAD_SIZE"
    assert code_of(mapping, reference, Factor(np.ones((3, 4), np.int64))) == "OUT_OF_RANGE"
    assert code_of(mapping, reference, Factor(np.ones((3, 0), np.int64))) == "OUT_OF_RANGE"
    assert code_of(augmentation, reference, Factor(np.ones((1, 4), np.int64))) == "OUT_OF_RANGE"
    assert code_of(augmentation, reference, Factor(np.ones((2, 2), np.int64))) == "BAD_SIZE"
    assert code_of(augmentation, reference, Factor(np.ones((1, 2), np.int64)), one) == "BAD_SIZE"
    for step in ((0, 0), (65536, 0), (1, 971), (1, -1075)):
        assert code_of(Factor, np.ones((1, 1), np.int64), *step) == "OUT_OF_RANGE"
    row = np.ones((1, 3), np.int64)
    assert code_of(low_rank, Factor(row.T, 1, -600), Factor(row, 1, -600)) == "OUT_OF_RANGE"
    assert code_of(low_rank, Factor(row.T, 1, 900), Factor(row, 1, 100)) == "OUT_OF_RANGE"
    assert code_of(Factor, np.ones(3, np.int64)) == "BAD_SIZE"


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 1)])
def test_no_gain_changes_nothing_and_small_errors(shape):
    x = random_matrix(4, *shape) * 2.0**-17
    d = decompose(x)
    m = min(shape)
    assert not augmentation(d, Factor(np.zeros((1, m), np.int64), 40000, -30)).any()
    gains = Factor(random_matrix(5, 1, m), 1, -17)
    exact = (d.left.T * gains.values[0]) @ d.right
    unit = m * 2.0 ** (1 - rebuild.vector_bits(m))
    assert np.abs(augmentation(d, gains) - exact).max() <= unit * np.abs(gains.values).max()
    left = Factor(random_matrix(6, shape[0], m), 1, -17)
    assert np.abs(mapping(d, left) - left.values @ d.right).max() < unit
    assert [rebuild.vector_bits(r) for r in (1, 2, 3, 512, 4096)] == [26, 26, 25, 22, 20]


# Random integers and masks

def test_generator_of_the_text():
    assert random_words(1234567, 0, 5).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423,
                                                    4593380528125082431, 16408922859458223821]
    assert random_words(1234567, 3, 1)[0] == 4593380528125082431
    assert random_words(2**64 - 1, 0, 0).size == 0
    words = random_words(42, 0, 6).tolist()
    lanes = [sum((w >> s) & 0xFFFF for s in (0, 16, 32, 48)) - 131070 for w in words]
    assert random_matrix(42, 2, 3).reshape(-1).tolist() == lanes
    assert random_choice(42, 1 << 31, 6).tolist() == [w >> 32 < 1 << 31 for w in words]
    large = random_matrix(9, 300, 400)
    assert abs(large).max() <= RANDOM_LIMIT
    assert abs(large.std() / 37837 - 1) < 0.01
    assert abs(large.mean()) < 500
    words = random_words(9, 65530, 15)                # a border between the chunks of the generator
    lanes = sum((words >> np.uint64(s)) & np.uint64(0xFFFF) for s in (0, 16, 32, 48)).astype(np.int64) - 131070
    assert np.array_equal(large.reshape(-1)[65530:65545], lanes)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 12))
def test_masks_round_trip(seed, density, rows, columns):
    chosen = random_choice(seed, density, rows * columns)
    mask = random_mask(seed, density, rows, columns, int(chosen.sum()))
    words = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns) + np.uint16(7)
    base = np.full((rows, columns), 3, np.uint16)
    kept = gather(words, mask)
    assert kept.shape == (1, chosen.sum())
    assert np.array_equal(scatter(kept, mask, base), np.where(mask, words, base))
    assert np.array_equal(scatter(kept, mask), np.where(mask, words, 0))
    assert (base == 3).all()
    assert code_of(random_mask, seed, density, rows, columns, int(chosen.sum()) + 1) == "FORBIDDEN_PATTERN"
    assert code_of(scatter, np.zeros((1, mask.sum() + 1), np.uint16), mask) == "BAD_SIZE"


def test_row_mask():
    mask = row_mask(np.array([1, 0, 1, 0]), 3, 2)
    assert mask.shape == (4, 3)
    assert mask.sum(axis=1).tolist() == [3, 0, 3, 0]
    kept = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert scatter(kept, mask).tolist() == [[0, 1, 2], [0, 0, 0], [3, 4, 5], [0, 0, 0]]
    assert code_of(row_mask, np.array([1, 0, 1, 0]), 3, 3) == "FORBIDDEN_PATTERN"


# The encoder's fits

@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_fits_reach_what_they_aim_at(shape):
    x = random_matrix(1, *shape) * 2.0**-20
    dec = decompose(x)
    by_gains = (dec.left.T * random_matrix(2, 1, 20)[0] * 2.0**-24) @ dec.right
    low = (random_matrix(3, shape[0], 2) * 2.0**-24) @ (random_matrix(4, 2, shape[1]) * 2.0**-18)
    by_mapping = (random_matrix(5, shape[0], 3) * 2.0**-22) @ dec.right[:3]
    by_seed = (random_matrix(6, shape[0], 3) * 2.0**-22) @ fit.random_values(9, 3, shape[1])
    noise = random_matrix(7, *shape) * 2.0**-30
    for delta, update in (
        (low, fit.fit_low_rank(low + noise, 2)), (by_mapping, fit.fit_mapping(by_mapping + noise, dec, 3)),
        (by_gains, fit.fit_augmentation(by_gains + noise, dec, 0)),
        (by_gains + low, fit.fit_augmentation(by_gains + low + noise, dec, 2)),
        (by_seed, fit.fit_low_rank_update(by_seed + noise, 3, 9)),
    ):
        delta = delta + noise
        truncated = fit.truncation_error(update, delta, dec)
        error = fit.balanced_error(update, delta, dec)
        factors = update.quantised(shape, error, dec)
        d = residual(update.representation, factors, shape[1], update.seed, dec)
        # Of an augmentation gains and columns share what they explain; all others leave little but the noise.
        assert truncated < (0.3 if len(update.arrays) == 3 else 0.05) * np.square(delta).mean()
        assert 0.7 * error < np.square(d - delta).mean() - truncated < 1.3 * error


def test_a_rank_for_an_error():
    scales = 2.0 ** -np.arange(0, 15, 0.5)
    delta = (random_matrix(3, 40, 30) * scales) @ random_matrix(4, 30, 60) * 2.0**-40
    power, ranks = np.square(delta).mean(), []
    for share in (0.3, 0.01, 1e-4):
        update, rest = fit.fit_low_rank_to_error(delta, share * power)
        d = residual(update.representation, update.quantised(delta.shape, rest), 60)
        assert 0.9 < np.square(d - delta).mean() / (share * power) < 1.1
        ranks.append(update.arrays[0].shape[1])
    assert ranks == sorted(set(ranks))
    assert ranks[0] < 6
    assert fit.fit_low_rank_to_error(delta, power) is None
    assert fit.fit_low_rank_to_error(delta * 0, 1e-9) is None


def test_a_mapping_replaces_too():
    x = random_matrix(1, 9, 14) * 2.0**-17
    dec = decompose(x)
    update = fit.fit_mapping(x, dec, 9, additive=False)
    found = residual(update.representation, update.quantised(x.shape, 1e-14, dec), 14, decomposition=dec)
    assert np.abs(found - x).max() < 1e-6


def test_masks_that_are_chosen():
    words = np.zeros((6, 4), np.uint32)
    words[[1, 4]] = [[0, 1, 0, 0], [1 << 31, 0, 0, 0]]
    assert fit.fit_row_mask(words).rows.tolist() == [False, True, False, False, True, False]
    values = np.array([[1.0, -1], [0, 5], [-3, 3], [0, 0]])
    assert fit.fit_row_mask(values, 2).rows.tolist() == [False, True, True, False]
    update = fit.fit_random_mask(0.25, 7)
    assert update.density == 1 << 30
    assert abs(random_choice(update.seed, update.density, 100_000).mean() - 0.25) < 0.01


def test_arrays_that_do_not_fit():
    a, b = np.ones((4, 2)), np.ones((3, 5))
    for kind, arrays in ((R.LOW_RANK, (a,)), (R.LOW_RANK, (a, b)), (R.MAPPING, (a, a)), (R.RANDOM_MASK, (a,)),
                         (R.AUGMENTATION, ()), (R.AUGMENTATION, (np.ones(3), a, b)),
                         (R.LOW_RANK_UPDATE, (a * np.nan,))):
        with pytest.raises(ConfigError):
            FactorUpdate(kind, arrays)
    with pytest.raises(ConfigError):
        FactorUpdate(R.RANDOM_MASK, seed=1 << 64)
    with pytest.raises(ConfigError):
        FactorUpdate(R.LOW_RANK, (a, a.T), additive=False)
    assert FactorUpdate(R.AUGMENTATION, (np.ones(3, np.float32), a, a.T)).arrays[0].shape == (1, 3)


# Whole streams

def deployed_and_next() -> tuple[Model, Model]:
    """A small model and its successor: both matrices change by a low rank, the bias a little."""
    def values(seed, *shape, unit=2.0**-21):
        return random_matrix(seed, 1, int(np.prod(shape))).reshape(shape) * unit

    x = {"fc.weight": values(1, 40, 90), "conv.weight": values(2, 64, 8, 3, 3), "fc.bias": values(3, 40)}
    change = {"fc.weight": values(4, 40, 3) @ values(5, 3, 90), "fc.bias": values(8, 40) / 64,
              "conv.weight": (values(6, 64, 3) @ values(7, 3, 72)).reshape(64, 8, 3, 3)}
    old = Model([Tensor(n, a.astype(np.float32)) for n, a in x.items()], "net")
    return old, Model([Tensor(n, (a + change[n]).astype(np.float32)) for n, a in x.items()], "net")


def representations(stream: bytes) -> dict[str, int]:
    """Representation of each tensor of the last model of a stream."""
    model = Parser(ByteSource(stream), lambda digest: None).parse().models[-1]
    descriptors = [d for unit in model.tensor_units for d in unit.descriptors]
    return {model.state.tensors[d.tensor_index].tensor_name: d.representation for d in descriptors}


@pytest.mark.parametrize("update, kind", [("lra", 1), ("ml", 2), ("ka", 3), ("lru", 4), ("rm", 5)])
def test_a_stream_of_each_update(update, kind):
    old, new = deployed_and_next()
    direct = encode(new, Config(), [old])
    stream = encode(new, Config(update=update, update_rank=3), [old])
    found = representations(stream)
    assert found["fc.weight"] == found["conv.weight"] == kind
    assert found["fc.bias"] == 0
    decoded = decode(stream, [old])                      # digests are checked
    assert decode(stream, [old], threads=2).digest() == decoded.digest()
    names = ["fc.weight", "conv.weight"]
    error = [sum(float(np.square(m[n].array - new[n].array).sum()) for n in names) for m in (old, decoded)]
    assert error[1] < error[0] * (0.1 if update == "lra" else 1)
    assert len(stream) < len(direct) / 2
    assert np.array_equal(decoded["fc.bias"].array, new["fc.bias"].array)
    with pytest.raises(OmcError) as caught:
        decode(stream, [new])
    assert caught.value.code == "MISSING_REFERENCE"
    with pytest.raises(OmcError):
        decode(stream)


def test_factors_made_elsewhere():
    old, new = deployed_and_next()
    x = old["fc.weight"].array.astype(np.float64)
    left, right = random_matrix(4, 40, 3) * 2.0**-21, random_matrix(5, 3, 90) * 2.0**-21
    dec = decompose(x)
    flat = FactorUpdate(R.RANDOM_MASK, seed=5, density=1 << 30)
    for update in (FactorUpdate(R.LOW_RANK, (left, right)), FactorUpdate(R.MAPPING, (left,)), flat,
                   FactorUpdate(R.MAPPING, (x @ dec.right[:30].T,), additive=False),
                   FactorUpdate(R.AUGMENTATION, (random_matrix(1, 1, 12)[0] * 2.0**-24,)),
                   FactorUpdate(R.AUGMENTATION, (random_matrix(1, 1, 40) * 2.0**-24, left, right)),
                   FactorUpdate(R.LOW_RANK_UPDATE, (left,), seed=2**64 - 1)):
        stream = encode(new, Config(factors={"fc.weight": update}), [old])
        assert representations(stream)["fc.weight"] == update.representation
        decoded = decode(stream, [old])
        assert np.array_equal(decoded["conv.weight"].array, new["conv.weight"].array)
        if update is flat:
            mask = random_choice(5, 1 << 30, 3600).reshape(40, 90)
            expected = np.where(mask, new["fc.weight"].array, old["fc.weight"].array)
            assert np.array_equal(decoded["fc.weight"].array, expected)
    kept = np.arange(40) % 3 == 0
    stream = encode(new, Config(factors={"fc.weight": FactorUpdate(R.ROW_MASK, rows=kept)}), [old])
    assert np.array_equal(decode(stream, [old])["fc.weight"].array, new["fc.weight"].array * kept[:, None])
    stream = encode(old, Config(factors={"fc.weight": FactorUpdate(R.LOW_RANK, (left, right))}))
    assert np.abs(decode(stream)["fc.weight"].array - left @ right).max() < 1e-3
    for wrong in (FactorUpdate(R.LOW_RANK, (left[:30], right)), FactorUpdate(R.AUGMENTATION, (np.ones(41),)),
                  FactorUpdate(R.LOW_RANK, (left, right[:, :80])),
                  FactorUpdate(R.MAPPING, (random_matrix(1, 40, 41),))):
        with pytest.raises(ConfigError):
            encode(new, Config(factors={"fc.weight": wrong}), [old])
    with pytest.raises(ConfigError):
        encode(new, Config(factors={"fc.weight": FactorUpdate(R.MAPPING, (left,))}))


def test_a_reference_that_is_not_finite():
    """The encoder does not decompose it; the decoder that meets one says so."""
    old, new = deployed_and_next()
    broken = old["fc.weight"].array.copy()
    broken[3, 4] = np.inf
    old = Model([Tensor("fc.weight", broken), old["conv.weight"], old["fc.bias"]], "net")
    stream = encode(new, Config(update="ka"), [old])
    assert representations(stream)["fc.weight"] == 0
    assert np.array_equal(decode(stream, [old])["fc.weight"].array, new["fc.weight"].array)


if __name__ == "__main__":
    assert not COMPILE
    json.dump(digests(), sys.stdout)
