"""Updates by factors: least-squares fits of two given models, and factors that were made elsewhere (informative).

A FactorUpdate holds float arrays; `quantised` turns them into the Factors that a stream carries.  Matrices are those of
the fold (SPEC 8.3), rows x columns, outputs first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...bitstream.structures import Representation
from ...errors import ConfigError
from ...reconstruction.decomposition import Decomposition
from ...reconstruction.factors import EXACT_LIMIT, Factor
from ...reconstruction.random_integers import RANDOM_EXPONENT, random_matrix
from ..rate_control import step_parts

LARGEST_INDEX = 1 << 28            # of a quantised factor: all entropy modes can code it
FINEST = 2.0**-32                  # of the mean square of the update: the least error that quantising aims at
GAIN_SHARE = 1 / 16                # of what factors gain: the largest error that quantising aims at

FACTORS = {                        # the arrays of each representation, in the order of its components
    Representation.LOW_RANK: ("L [rows, r]", "R [r, columns]"),
    Representation.MAPPING: ("L [rows, r]",),
    Representation.AUGMENTATION: ("t [q]", "L [rows, n]", "R [n, columns]"),
    Representation.LOW_RANK_UPDATE: ("L [rows, r]",),
}


@dataclass(frozen=True)
class FactorUpdate:
    """How one matrix W' comes from the deployed X, as training or a fit gives it (SPEC 8.6.1 to 8.6.5, paper S4).

    LOW_RANK         arrays = (L, R): W' = X + L R, or L R where the tensor has no reference.
    MAPPING          arrays = (L,): W' = X + L V_r, or L V_r if not additive; V_r: decompose(X).right[:r].
    AUGMENTATION     arrays = (t,) or (t, L, R): W' = X + U diag(t) V^T + L R with U, V of decompose(X), t = s' - s;
                     the singular values of the augmenting columns are part of L or R.
    LOW_RANK_UPDATE  arrays = (L,): W' = X + L R with R = random_values(seed, r, columns).
    RANDOM_MASK      seed, density (in 2^-32): the chosen elements are taken from the tensor itself.
    ROW_MASK         rows: flag of each row that is kept.
    arrays: float32 or float64.  Raises ConfigError BAD_CONFIG for arrays that do not fit each other.
    """

    representation: Representation
    arrays: tuple[np.ndarray, ...] = ()
    additive: bool = True
    seed: int = 0
    density: int = 0
    rows: np.ndarray | None = None

    def __post_init__(self) -> None:
        arrays = tuple(np.asarray(a, np.float64) for a in self.arrays)
        if self.representation == Representation.AUGMENTATION and arrays:
            arrays = (arrays[0].reshape(1, -1), *arrays[1:])
        expected = FACTORS.get(self.representation, ())
        counts = {1, 3} if self.representation == Representation.AUGMENTATION else {len(expected)}
        if len(arrays) not in counts or any(a.ndim != 2 or not np.isfinite(a).all() for a in arrays):
            takes = ", ".join(expected) or "none"
            raise ConfigError("BAD_CONFIG", f"{self.representation.name} takes finite arrays: {takes}")
        if len(arrays) > 1 and arrays[-2].shape[1] != arrays[-1].shape[0]:
            raise ConfigError("BAD_CONFIG", f"factors of {arrays[-2].shape} and {arrays[-1].shape} have no product")
        if not self.additive and self.representation != Representation.MAPPING:
            raise ConfigError("BAD_CONFIG", "only a mapping can replace its reference")
        if (self.rows is not None) != (self.representation == Representation.ROW_MASK):
            raise ConfigError("BAD_CONFIG", "a row mask, and nothing else, has flags of rows")
        if not (0 <= self.seed < 1 << 64 and 0 <= self.density < 1 << 32):
            raise ConfigError("BAD_CONFIG", "a seed has 64 bits, a density 32")
        object.__setattr__(self, "arrays", arrays)

    def quantised(self, shape: tuple[int, int], error: float,
                  decomposition: Decomposition | None = None) -> list[Factor]:
        """The factors as indices with steps such that quantising them adds `error` to the mean squared error of W'.

        shape: of the matrix.  decomposition: of the reference, for MAPPING and AUGMENTATION.  Each factor takes
        a part of the error in proportion to its elements, which costs the fewest bits.
        Raises ConfigError BAD_CONFIG where the factors do not fit the shape.
        """
        self.check(shape)
        weights = self._weights(shape, decomposition)
        total = sum(a.size for a in self.arrays)
        factors = []
        for array, weight in zip(self.arrays, weights):
            step = math.sqrt(12 * max(error, 1e-300) * array.size / total / weight) if weight > 0 else 0.0
            # |index| <= sqrt(2^53 / r), so that every product with these factors fits (SPEC 8.6.1)
            limit = min(LARGEST_INDEX, math.isqrt(EXACT_LIMIT // max(1, min(array.shape))) - 1)
            largest = float(np.abs(array).max(initial=0.0))
            factors.append(quantise_factor(array, max(step, largest / limit) or 1.0))
        return factors

    def check(self, shape: tuple[int, int]) -> None:
        """Raises ConfigError BAD_CONFIG where the update is not one of a matrix of this shape."""
        side, shapes = min(shape), [a.shape for a in self.arrays]
        if self.representation == Representation.AUGMENTATION:
            fits = 1 <= shapes[0][1] <= side
            shapes = shapes[1:]
        else:
            fits = True
        for given, (axis, other) in zip(shapes, ((0, 1), (1, 0))):
            fits = fits and given[axis] == shape[axis] and 1 <= given[other] <= side
        if self.rows is not None:
            fits = fits and np.shape(self.rows) == (shape[0],)
        if not fits:
            raise ConfigError("BAD_CONFIG", f"{self.representation.name}: factors of {[a.shape for a in self.arrays]} "
                              f"do not fit a matrix of {tuple(shape)}")

    def _weights(self, shape: tuple[int, int], decomposition: Decomposition | None) -> list[float]:
        # Mean squared error of the matrix for a unit of squared error in each element of a factor.
        def pair(left: np.ndarray, right: np.ndarray) -> list[float]:
            return [float(np.square(right).sum()) / shape[1], float(np.square(left).sum()) / shape[0]]

        if self.representation == Representation.LOW_RANK:
            return pair(*self.arrays)
        if self.representation == Representation.AUGMENTATION:
            gains, *columns = self.arrays
            return [gains.size / (shape[0] * shape[1])] + (pair(*columns) if columns else [])
        return [float(np.square(self._right(shape[1], decomposition)).sum()) / shape[1]]

    def _right(self, columns: int, decomposition: Decomposition | None) -> np.ndarray:
        """The factor [r, columns] of MAPPING and LOW_RANK_UPDATE, which is not sent."""
        rank = self.arrays[0].shape[1]
        if self.representation == Representation.LOW_RANK_UPDATE:
            return random_values(self.seed, rank, columns)
        assert decomposition is not None
        return decomposition.right[:rank]

    def fitted(self, columns: int, decomposition: Decomposition | None = None) -> np.ndarray:
        """What the arrays add to the reference before they are quantised, float64 [rows, columns]."""
        t, *rest = self.arrays
        product: np.ndarray
        if self.representation == Representation.LOW_RANK:
            product = t @ rest[0]
        elif self.representation != Representation.AUGMENTATION:
            product = t @ self._right(columns, decomposition)
        else:
            assert decomposition is not None
            product = (decomposition.left[: t.size].T * t[0]) @ decomposition.right[: t.size]
            product = product + rest[0] @ rest[1] if rest else product
        return product


def quantise_factor(array: np.ndarray, step: float) -> Factor:
    """Plain rounding of a factor [a, b] to indices of the representable step nearest to `step`."""
    mantissa, exponent = step_parts(step)
    return Factor(np.rint(array / math.ldexp(mantissa, exponent)).astype(np.int64), mantissa, exponent)


def random_values(seed: int, rank: int, columns: int) -> np.ndarray:
    """float64 [rank, columns]: the matrix R of LOW_RANK_UPDATE; mean 0, standard deviation 0.577."""
    return random_matrix(seed, rank, columns) * 2.0**RANDOM_EXPONENT


# Fits: delta = W' - X, float64 [rows, columns]; the best in the least-squares sense for the given rank

def fit_low_rank(delta: np.ndarray, rank: int) -> FactorUpdate:
    """delta ~ L R of a rank: truncated singular values, whose roots are shared by L and R. For W' alone pass W'."""
    return FactorUpdate(Representation.LOW_RANK, _truncated(delta, rank))


def fit_low_rank_to_error(delta: np.ndarray, error: float) -> tuple[FactorUpdate, float] | None:
    """delta ~ L R with a mean squared error of `error` after quantising: the rank of the fewest estimated bits.

    Returns the update and what `quantised` may add, or None where delta = 0 is good enough.
    """
    rows, columns = delta.shape
    u, s, vt = np.linalg.svd(delta, full_matrices=False)
    truncated = (np.square(s).sum() - np.cumsum(np.square(s))) / delta.size
    best, best_bits = None, math.inf
    for rank in np.flatnonzero(truncated < 0.95 * error) + 1 if np.square(delta).mean() > error else ():
        rest = error - max(0.0, truncated[rank - 1])
        square = 12 * rest * delta.size / ((rows + columns) * s[:rank].sum())        # of either step
        # Entropy of a Gaussian variable in steps: exact where they are fine, and 0 where they are wide.
        bits = sum(n * np.log2(1 + 2 * math.pi * math.e * s[:rank] / n / square).sum() / 2 for n in (rows, columns))
        if bits < best_bits:
            best, best_bits = (rank, rest), bits
    if best is None:
        return None
    root = np.sqrt(s[: best[0]])
    return FactorUpdate(Representation.LOW_RANK, (u[:, : best[0]] * root, root[:, None] * vt[: best[0]])), best[1]


def fit_mapping(target: np.ndarray, decomposition: Decomposition, rank: int, additive: bool = True) -> FactorUpdate:
    """target ~ L V_r. target: delta if additive, else W'. Rows of V_r are orthonormal or zero: L = target V_r^T."""
    return FactorUpdate(Representation.MAPPING, (target @ decomposition.right[:rank].T,), additive)


def fit_augmentation(delta: np.ndarray, decomposition: Decomposition, columns: int,
                     gains: int | None = None) -> FactorUpdate:
    """delta ~ U diag(t) V^T + L R with `columns` augmenting columns (0: none); gains: how many t (None: all).

    t = diag(U^T delta V); L R is the best approximation of what this leaves.
    """
    left, right = decomposition.left[:gains], decomposition.right[:gains]
    t = np.einsum("kj,kj->k", left @ delta, right)
    rest = _truncated(delta - (left.T * t) @ right, columns) if columns else ()
    return FactorUpdate(Representation.AUGMENTATION, (t, *rest))


def fit_low_rank_update(delta: np.ndarray, rank: int, seed: int) -> FactorUpdate:
    """delta ~ L R with the random R of a seed."""
    right = random_values(seed, rank, delta.shape[1])
    left = np.linalg.lstsq(right.T, delta.T, rcond=None)[0].T
    return FactorUpdate(Representation.LOW_RANK_UPDATE, (left,), seed=seed)


def fit_random_mask(fraction: float, seed: int) -> FactorUpdate:
    """A random choice of about this fraction of the elements."""
    return FactorUpdate(Representation.RANDOM_MASK, seed=seed, density=min(max(round(fraction * 2**32), 0), 2**32 - 1))


def fit_row_mask(words: np.ndarray, count: int | None = None) -> FactorUpdate:
    """The rows that are not all zero words; or the `count` rows of the largest sum of magnitudes (filter pruning).

    words: [rows, columns], unsigned words where all rows are to come back, values where `count` is given.
    """
    if count is None:
        kept = (words != 0).any(axis=1)
    else:
        kept = np.zeros(len(words), np.bool_)
        kept[np.argsort(-np.abs(words.astype(np.float64)).sum(axis=1), kind="stable")[:count]] = True
    return FactorUpdate(Representation.ROW_MASK, rows=kept)


def truncation_error(update: FactorUpdate, delta: np.ndarray, decomposition: Decomposition | None = None) -> float:
    """Mean squared error of the factors before they are quantised. delta: what they were fitted to."""
    update.check((delta.shape[0], delta.shape[1]))
    return float(np.square(delta - update.fitted(delta.shape[1], decomposition)).mean())


def balanced_error(update: FactorUpdate, delta: np.ndarray, decomposition: Decomposition | None = None) -> float:
    """What quantising may add to the mean squared error, for `quantised`: as much as truncation did, but not more than
    a share of what the factors gain, so that a next bit of precision pays about as well as a next rank.
    """
    power, truncated = float(np.square(delta).mean()), truncation_error(update, delta, decomposition)
    return max(min(truncated, GAIN_SHARE * (power - truncated)), FINEST * power)


def _truncated(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * vt[:rank]
