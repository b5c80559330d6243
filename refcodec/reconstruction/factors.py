"""Representations by factors (SPEC 8.6.1 to 8.6.4): exact integer products, one rounding to float64.

Each function returns the float64 matrix D [rows, columns] that is added to the reference (float64(X) +
D, then one rounding to the element type) or rounded alone.  A product of integers below 2^53 is exact in
float64 whatever the order of its sums, so any matrix product computes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import ReconstructionError
from ..quantization.uniform import step_value
from .decomposition import Decomposition
from .random_integers import RANDOM_EXPONENT, random_matrix

EXACT_LIMIT = 1 << 53
GAIN_LIMIT = 1 << 37                                     # so that a gain is an exact float64
SCALE_EXPONENT_MIN, SCALE_EXPONENT_MAX = -1074, 938      # 2^53 * 2^32 * 2^938 < 2^1024: D is finite


@dataclass(frozen=True)
class Factor:
    """What a component decodes to: value = index * mantissa * 2^exponent, exactly.

    indices: int64 [a, b].  mantissa: 1..65535, exponent: -1074..970, as the step of SPEC 8.5.3; of
    FIXED_POINT they are 1 and -fraction_bits.  Raises ReconstructionError OUT_OF_RANGE for other steps.
    """

    indices: np.ndarray
    mantissa: int = 1
    exponent: int = 0

    def __post_init__(self) -> None:
        step_value(self.mantissa, self.exponent)
        if self.indices.ndim != 2:
            raise ReconstructionError("BAD_SIZE", f"a factor has two dimensions, not {self.indices.ndim}")

    @property
    def values(self) -> np.ndarray:
        """float64 [a, b]; exact while indices are below 2^37."""
        return self.indices * step_value(self.mantissa, self.exponent)


def low_rank(left: Factor, right: Factor) -> np.ndarray:
    """D = L R (SPEC 8.6.1). left: [rows, r], right: [r, columns].

    Raises ReconstructionError: BAD_SIZE where the ranks differ; OVERFLOW where r max|L| max|R| > 2^53;
    OUT_OF_RANGE where the exponent of the two steps is outside -1074..938.
    """
    product = exact_product(left.indices, right.indices)
    return _scale(product, left.mantissa * right.mantissa, left.exponent + right.exponent)


def mapping(reference: Decomposition, left: Factor) -> np.ndarray:
    """D = L V_r(X) (SPEC 8.6.2): the rows of V_r are the first r right singular vectors of the reference X.

    reference: decompose(X).  left: [rows of X, r], 1 <= r <= min(rows, columns).  Errors as low_rank.
    """
    vectors, bits = _integer_vectors(reference.right, left.indices.shape[1])
    return _scale(exact_product(left.indices, vectors), left.mantissa, left.exponent - bits)


def augmentation(reference: Decomposition, gains: Factor, left: Factor | None = None,
                 right: Factor | None = None) -> np.ndarray:
    """D = U diag(t) V^T + L R (SPEC 8.6.3): t changes the first singular values of the reference, L R adds new ones.

    reference: decompose(X).  gains: t, [1, q], 1 <= q <= min(rows, columns).  left, right: both or none.
    Errors as low_rank.
    """
    q = gains.indices.shape[1]
    if gains.indices.shape[0] != 1 or (left is None) != (right is None):
        raise ReconstructionError("BAD_SIZE", "an augmentation has one row of gains, and both other factors or none")
    if magnitude(gains.indices) > GAIN_LIMIT:
        raise ReconstructionError("OVERFLOW", "an index of a gain passes 2^37")
    v, bits = _integer_vectors(reference.v, q)
    t = gains.indices.reshape(-1) * gains.mantissa
    width = int(np.abs(t).max(initial=0)).bit_length()
    # |t| 2^-width < 1, so |u t| <= 1: one rounding of the product to float64, one to an integer
    scaled = np.rint(reference.u[:q] * (t * 2.0**-width)[:, None] * 2.0**bits)
    product = exact_product(scaled.T, v)
    d = _scale(product.T if reference.transposed else product, 1, gains.exponent + width - 2 * bits)
    return d if left is None or right is None else d + low_rank(left, right)


def low_rank_update(left: Factor, seed: int, columns: int) -> np.ndarray:
    """D = L R with the random integers R (SPEC 8.6.4, 8.6.6). left: [rows, r]; seed: 64 bits. Errors as low_rank."""
    product = exact_product(left.indices, random_matrix(seed, left.indices.shape[1], columns))
    return _scale(product, left.mantissa, left.exponent + RANDOM_EXPONENT)


def exact_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The integers left @ right as float64, none of them -0.

    left: [rows, r], right: [r, columns]; integers, or float64 that hold integers.
    Raises ReconstructionError: BAD_SIZE where the ranks differ, OVERFLOW where a sum may pass 2^53.
    """
    if left.shape[1] != right.shape[0]:
        raise ReconstructionError("BAD_SIZE", f"factors of rank {left.shape[1]} and {right.shape[0]}")
    if left.shape[1] * magnitude(left) * magnitude(right) > EXACT_LIMIT:
        raise ReconstructionError("OVERFLOW", "a product of factors may pass 2^53", rules="R8.6-1")
    product = left.astype(np.float64) @ right.astype(np.float64)
    product += 0.0
    return product


def magnitude(integers: np.ndarray) -> int:
    """The largest magnitude of an array of integers, as an integer without bounds; 0 for an empty one."""
    return max(int(integers.max()), -int(integers.min())) if integers.size else 0


def vector_bits(rank: int) -> int:
    """b: entries of singular vectors become integers rint(x * 2^b), so that sums of `rank` products fit 2^53."""
    return (53 - (rank - 1).bit_length()) // 2


def _integer_vectors(vectors: np.ndarray, rank: int) -> tuple[np.ndarray, int]:
    # The first `rank` vectors in units of 2^-b as float64, and b.
    if not 1 <= rank <= len(vectors):
        raise ReconstructionError("OUT_OF_RANGE", f"rank {rank}, the reference has {len(vectors)} singular vectors")
    bits = vector_bits(rank)
    return np.rint(vectors[:rank] * 2.0**bits), bits


def _scale(product: np.ndarray, mantissa: int, exponent: int) -> np.ndarray:
    # product * (mantissa * 2^exponent), in place where it can be; mantissa < 2^32, so the factor is exact
    if not SCALE_EXPONENT_MIN <= exponent <= SCALE_EXPONENT_MAX:
        raise ReconstructionError("OUT_OF_RANGE", f"the product of steps has the exponent {exponent}", rules="R8.6-2")
    scaled: np.ndarray = np.multiply(product, math.ldexp(mantissa, exponent), out=product)
    return scaled
