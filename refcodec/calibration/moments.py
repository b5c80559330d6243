"""Second moments of layer inputs, and what follows from them for the weights that the inputs are multiplied with.

An error e in the weights of one output makes the squared error e Q e^T in it, Q = E[x x^T]. If the columns of weights
are quantised one after another, each making up for the errors before it, there is no error of column j left but what
later columns cannot make up for: d_j e_j^2, d_j being the variance of input j that the later inputs do not explain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError

DAMP_MIN = 1e-3                 # of the mean of the diagonal, added to it
FLOOR = 1e-3                    # of the mean moment of all groups, that each group has at least
MORE = (1.0, 10.0, 100.0, 1000.0)      # times the damping, where moments are singular even so


@dataclass
class Moments:
    """Of the inputs of a layer, by groups.

    count: samples.  mean: float64 [groups, inputs].  second: E[x x^T], float64 [groups, inputs, inputs].
    """

    count: int
    mean: np.ndarray
    second: np.ndarray

    @property
    def centred(self) -> np.ndarray:
        """The same without the means: where a bias takes up what an error does to the mean of an output."""
        return np.asarray(self.second - self.mean[:, :, None] * self.mean[:, None, :])

    @classmethod
    def of(cls, rows: Iterable[np.ndarray], least: int = 2) -> Moments:
        """Of samples [groups, samples, inputs], in one piece or several.

        Raises ConfigError BAD_CONFIG for fewer than `least` samples or values that are not finite.
        """
        count, total, second = 0, None, None
        for x in rows:
            if not np.isfinite(x).all():
                raise ConfigError("BAD_CONFIG", "layer inputs are not finite: give inputs that the network is sound on")
            first = total is None
            count += x.shape[1]
            total = x.sum(axis=1) if first else total + x.sum(axis=1)
            square = np.matmul(x.transpose(0, 2, 1), x)
            second = square if first else second + square
        if count < least or total is None or second is None:
            raise ConfigError("BAD_CONFIG", f"{count} samples of layer inputs are too few: {least} are the least")
        return cls(count, total / count, second / count)


def damping(inputs: int, count: int, shrink: float) -> float:
    """What is added to the diagonal, over its mean: the more, the fewer samples there are for each input."""
    return min(max(shrink * inputs / max(count, 1), DAMP_MIN), 1.0)


def with_floor(second: np.ndarray) -> np.ndarray:
    """Moments of several groups, of which a group that is nearly dead counts for FLOOR of the mean at least."""
    inputs = second.shape[-1]
    least = FLOOR * float(np.trace(second, axis1=1, axis2=2).mean()) / inputs
    return second + least * np.eye(inputs) if len(second) > 1 else second


def cholesky(second: np.ndarray, damp: float) -> np.ndarray:
    """U, upper triangular, with U^T U = (Q + damp * mean diagonal * I)^-1, for each group: [groups, inputs, inputs].

    Raises ConfigError BAD_CONFIG for moments that are no such thing (not positive however they are damped).
    """
    mean, unit = _mean_moment(second), np.eye(second.shape[-1])
    for more in MORE:
        damped = second / mean[:, None, None]
        np.einsum("gii->gi", damped)[:] += damp * more
        try:
            # The factor of the inverse of Q is the inverse of the factor of Q, both read from the other end.
            lower = np.linalg.cholesky(damped[:, ::-1, ::-1])
            upper = np.linalg.solve(lower, np.broadcast_to(unit, damped.shape))[:, ::-1, ::-1]
            return np.asarray(np.triu(upper) / np.sqrt(mean)[:, None, None])
        except np.linalg.LinAlgError:
            continue
    raise ConfigError("BAD_CONFIG", "the second moments of a layer's inputs are not positive")


def _mean_moment(second: np.ndarray) -> np.ndarray:
    """The mean of the diagonal of each group; 1 for a group that is dead."""
    mean = np.trace(second, axis1=1, axis2=2) / second.shape[-1]
    return np.asarray(np.where(mean > 0, mean, 1.0))


def column_weights(upper: np.ndarray) -> np.ndarray:
    """d_j, [groups, inputs]: what a squared error in column j costs once later columns have made up for what they can.
    """
    return np.asarray(1.0 / np.square(np.einsum("gii->gi", upper)))


def error_of(difference: np.ndarray, second: np.ndarray) -> float:
    """The squared error of all outputs: sum over rows of e Q e^T.

    difference: of weights, [outputs, inputs], of which each group has as many adjacent rows.
    """
    e = difference.reshape(len(second), -1, difference.shape[1])
    return float(np.einsum("gri,gij,grj->", e, second, e, optimize=True))


def corrected(weights: np.ndarray, drift: np.ndarray, now: np.ndarray, ridge: float) -> np.ndarray:
    """The weights that bring the outputs nearest to those of the original, when a layer's inputs have changed.

    weights: [outputs, inputs].  drift: E[(x - x') x'^T] by groups, x being the inputs of the original and x' those of
    now.  now: E[x' x'^T] by groups.  ridge: over the mean diagonal of `now`: what keeps the weights from going far.
    Returns W + W E[(x - x') x'^T] (E[x' x'^T] + ridge * mean diagonal * I)^-1.
    """
    groups, inputs, _ = now.shape
    mean = _mean_moment(now)
    w = weights.reshape(groups, -1, inputs)
    damped = now.copy()
    np.einsum("gii->gi", damped)[:] += (ridge * mean)[:, None]
    change = np.linalg.solve(damped, np.matmul(w, drift).transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.asarray(w + change).reshape(weights.shape)
