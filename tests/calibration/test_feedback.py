"""Second moments and error feedback, where the gain is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from refcodec import ConfigError
from refcodec.bitstream.derive import segment_borders
from refcodec.calibration.feedback import BLOCK, quantise_with_feedback
from refcodec.calibration.moments import (
    DAMP_MIN,
    FLOOR,
    Moments,
    cholesky,
    column_weights,
    corrected,
    damping,
    error_of,
    with_floor,
)
from refcodec.encoder.level_search import quantise
from refcodec.quantization.uniform import indices


def normal(*shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def chain(n: int, rho: float) -> np.ndarray:
    """Moments of a chain in which each input is rho times its neighbour and noise; eigenvalues multiply to
    (1 - rho^2)^(n - 1)."""
    return rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))[None]


def any_moments(groups: int, n: int, seed: int = 0) -> np.ndarray:
    x = normal(groups, 3 * n, n, seed=seed) @ normal(n, n, seed=seed + 1)
    return np.matmul(x.transpose(0, 2, 1), x) / (3 * n)


def entropy(levels: np.ndarray) -> float:
    share = np.unique(levels, return_counts=True)[1] / levels.size
    return float(-(share * np.log2(share)).sum())


# Moments

def test_moments_of_pieces():
    x = normal(3, 50, 4)
    whole, pieces = Moments.of([x]), Moments.of([x[:, :20], x[:, 20:]])
    assert whole.count == pieces.count == 50
    np.testing.assert_allclose(whole.second, pieces.second)
    np.testing.assert_allclose(whole.mean, x.mean(axis=1))
    for group in range(3):
        np.testing.assert_allclose(whole.centred[group], np.cov(x[group].T, bias=True), atol=1e-12)


@pytest.mark.parametrize("rows, least, said", [
    ([], 2, "0 samples"), ([normal(1, 5, 3)], 6, "6 are the least"), ([np.full((1, 5, 3), np.nan)], 2, "not finite")])
def test_moments_of_too_little(rows, least, said):
    with pytest.raises(ConfigError) as error:
        Moments.of(rows, least)
    assert error.value.code == "BAD_CONFIG"
    assert said in error.value.message


@pytest.mark.parametrize("damp", [0.0, 0.01])
def test_the_factor_is_of_the_inverse(damp):
    q = any_moments(2, 30)
    u = cholesky(q, damp)
    mean = np.trace(q, axis1=1, axis2=2) / 30
    np.testing.assert_allclose(np.matmul(u.transpose(0, 2, 1), u) @ (q + damp * mean[:, None, None] * np.eye(30)),
                               np.broadcast_to(np.eye(30), q.shape), atol=1e-8)
    assert not np.tril(u, -1).any()


def test_column_weights_are_what_later_inputs_do_not_explain():
    q = any_moments(1, 12)[0]
    d = column_weights(cholesky(q[None], 0.0))[0]
    for j in range(12):
        rest = q[j + 1:, j + 1:]
        explained = q[j, j + 1:] @ np.linalg.solve(rest, q[j + 1:, j]) if len(rest) else 0.0
        assert d[j] == pytest.approx(q[j, j] - explained)
    assert np.prod(d) == pytest.approx(np.linalg.det(q))


def test_singular_moments_are_damped_more():
    x = normal(1, 3, 10)
    d = column_weights(cholesky(np.matmul(x.transpose(0, 2, 1), x), 0.0 + DAMP_MIN))
    assert (d > 0).all() and np.isfinite(d).all()
    assert np.isfinite(cholesky(np.zeros((1, 4, 4)), DAMP_MIN)).all()
    with pytest.raises(ConfigError, match="not positive"):
        cholesky(-np.eye(4)[None] * 1e6, DAMP_MIN)


def test_damping_by_samples():
    assert damping(100, 10**6, 0.1) == DAMP_MIN
    assert damping(100, 50, 0.1) == pytest.approx(0.2)
    assert damping(100, 1, 0.1) == 1.0


def test_dead_groups_have_a_floor():
    q = any_moments(3, 5)
    q[1] = 0
    floored = with_floor(q)
    mean = np.trace(q, axis1=1, axis2=2).mean() / 5
    np.testing.assert_allclose(floored[1], FLOOR * mean * np.eye(5))
    one = any_moments(1, 5)
    assert np.array_equal(with_floor(one), one)


# Feedback

@pytest.mark.parametrize("rho", [0.5, 0.9, 0.97])
def test_the_gain_is_that_of_the_eigenvalues(rho):
    """On a chain all column weights but the last are 1 - rho^2: the gain over rounding is the ratio of arithmetic and
    geometric mean of the eigenvalues, as far as one column in n allows."""
    n, outputs, step = 2 * BLOCK + 17, 200, 0.05
    q, w = chain(n, rho), normal(outputs, n)
    d = column_weights(cholesky(q, 0.0))[0]
    np.testing.assert_allclose(d, [1 - rho**2] * (n - 1) + [1])
    found = quantise_with_feedback(w, cholesky(q, 0.0), step, 0, lam=0.0)
    plain = error_of(w - step * np.rint(w / step), q)
    with_feedback = error_of(w - found.values, q)
    assert plain == pytest.approx(outputs * n * step**2 / 12, rel=0.05)
    assert with_feedback == pytest.approx(outputs * d.sum() * step**2 / 12, rel=0.05)
    eigenvalues = np.linalg.eigvalsh(q[0])
    ratio = eigenvalues.mean() / np.exp(np.log(eigenvalues).mean())
    assert plain / with_feedback == pytest.approx(ratio, rel=0.12)


def test_the_error_is_the_sum_of_column_weights_for_any_moments():
    q, w, step = any_moments(1, 90), normal(150, 90), 0.03
    found = quantise_with_feedback(w, cholesky(q, 0.0), step, 0, lam=0.0)
    assert error_of(w - found.values, q) == pytest.approx(
        150 * column_weights(cholesky(q, 0.0)).sum() * step**2 / 12, rel=0.05)


@pytest.mark.parametrize("states", [0, 4, 8, 32])
def test_fewer_bits_and_a_smaller_error_than_without(states):
    """With prices of bits and a trellis, against the search without feedback at the same step."""
    q, w, step = chain(80, 0.9), normal(120, 80), 0.5
    found = quantise_with_feedback(w, cholesky(q, DAMP_MIN), step, states)
    levels = quantise(w.T, step, states)
    plain = error_of(w - step * indices(levels, states).T, q)
    assert error_of(w - found.values, q) < 0.4 * plain
    assert entropy(found.levels) < 1.08 * entropy(levels)


def test_nothing_is_carried_where_inputs_are_unlike():
    w, step = normal(40, 30), 0.3
    found = quantise_with_feedback(w, cholesky(np.eye(30)[None], 0.0), step, 0, lam=0.0)
    assert np.array_equal(found.levels, np.rint(w.T / step))


@pytest.mark.parametrize("states", [0, 8, 64])
@pytest.mark.parametrize("segments", [1, 3])
def test_values_are_those_of_the_decoder(states, segments):
    q, w, step = any_moments(2, 70), normal(20, 70), 0.2
    found = quantise_with_feedback(w, cholesky(q, 0.01), step, states, segments=segments)
    borders = segment_borders(70, segments)
    decoded = np.concatenate([step * indices(found.levels[a:b], states) for a, b in zip(borders, borders[1:])])
    np.testing.assert_array_equal(found.values, decoded.T)


def test_groups_are_by_themselves():
    q, w = any_moments(3, 20), normal(12, 20)
    together = quantise_with_feedback(w, cholesky(q, 0.01), 0.2, 0, lam=0.0)
    for group in range(3):
        part = slice(4 * group, 4 * group + 4)
        alone = quantise_with_feedback(w[part], cholesky(q[group:group + 1], 0.01), 0.2, 0, lam=0.0)
        assert np.array_equal(together.values[part], alone.values)


@pytest.mark.parametrize("groups", [1, 2])
def test_parts_of_a_matrix_one_after_another(groups):
    """What the first part leaves is carried on to the second: the same as in one go."""
    q, w = any_moments(groups, 100), normal(12, 100)
    u = cholesky(q, 0.01)
    whole = quantise_with_feedback(w, u, 0.2, 0, lam=0.0)
    first = quantise_with_feedback(w[:, :70], u[:, :70, :70], 0.2, 0, lam=0.0)
    rest = w[:, 70:] - first.carried(u[:, :70, 70:])
    second = quantise_with_feedback(rest, u[:, 70:, 70:], 0.2, 0, lam=0.0)
    assert np.array_equal(whole.values, np.concatenate([first.values, second.values], axis=1))


def test_bits_go_where_errors_cost_less():
    """Two groups, one of which counts a hundred times as much: at a price of bits its errors are smaller."""
    q = np.stack([np.eye(40), 100 * np.eye(40)])
    w = normal(40, 40)
    found = quantise_with_feedback(w, cholesky(q, 0.0), 0.7, 8)
    errors = np.square(w - found.values).reshape(2, -1).mean(axis=1)
    assert errors[1] < 0.9 * errors[0]


def test_huge_weights_are_clipped():
    found = quantise_with_feedback(np.full((2, 3), 1e300), cholesky(np.eye(3)[None], 0.0), 1.0, 8)
    assert np.isfinite(found.values).all()


# Correction

def test_corrected_weights_undo_what_inputs_went_through():
    """Inputs that have gone through a matrix A: the weights go through its inverse."""
    x, a, w = normal(500, 6), np.eye(6) + 0.2 * normal(6, 6, seed=1), normal(4, 6, seed=2)
    now = x @ a.T
    found = corrected(w, ((x - now).T @ now)[None] / 500, (now.T @ now)[None] / 500, 1e-12)
    np.testing.assert_allclose(found, w @ np.linalg.inv(a), atol=1e-6)
    np.testing.assert_allclose(found @ now.T, w @ x.T, atol=1e-6)


def test_a_large_ridge_leaves_the_weights():
    x, w = normal(2, 500, 6), normal(8, 6)
    now = 0.9 * x
    drift = np.matmul((x - now).transpose(0, 2, 1), now) / 500
    second = np.matmul(now.transpose(0, 2, 1), now) / 500
    np.testing.assert_allclose(corrected(w, drift, second, 1e9), w, atol=1e-6)
    np.testing.assert_allclose(corrected(w, drift, second, 0.0), w / 0.9)


@pytest.mark.parametrize("states", [0, 4, 32])
@pytest.mark.parametrize("outputs, inputs", [(1, 40), (7, 30), (300, 900)])
def test_lanes_have_paths_of_their_own(states, outputs, inputs):
    """What the levels stand for is what a decoder of bins makes of them; an inputs' column may lie in two chunks."""
    weights = np.random.default_rng(0).normal(size=(outputs, inputs))
    upper = cholesky(np.eye(inputs)[None], 0.01)
    found = quantise_with_feedback(weights, upper, 0.3, states, lanes=True)
    assert np.array_equal(found.values, 0.3 * indices(found.levels, states, lanes=True).T)
    one = quantise_with_feedback(weights, upper, 0.3, states)
    assert np.square(weights - found.values).mean() < 1.1 * np.square(weights - one.values).mean() + 1e-3
