"""Representations that code some elements of a matrix only (SPEC 8.6.5): random masks and row masks.

They move elements, whatever these are: words or values of any numpy dtype.
"""

from __future__ import annotations

import numpy as np

from ..errors import ReconstructionError
from .random_integers import random_choice


def random_mask(seed: int, density: int, rows: int, columns: int, selected_count: int) -> np.ndarray:
    """bool [rows, columns]: the elements that a seed (64 bits) and a density (in 2^-32) choose.

    Raises ReconstructionError FORBIDDEN_PATTERN if they are not selected_count.
    """
    mask = random_choice(seed, density, rows * columns).reshape(rows, columns)
    _check_count(int(mask.sum()), selected_count)
    return mask


def row_mask(flags: np.ndarray, columns: int, selected_count: int | None = None) -> np.ndarray:
    """bool [rows, columns]: all elements of the rows whose flag is 1.

    flags: integers or bool [rows].  selected_count: of rows, checked if given (FORBIDDEN_PATTERN).
    """
    if selected_count is not None:
        _check_count(int(np.count_nonzero(flags)), selected_count)
    return np.broadcast_to(np.asarray(flags, np.bool_)[:, None], (len(flags), columns))


def gather(matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The chosen elements of a matrix, in row-major order, as one row: [1, count]."""
    chosen: np.ndarray = matrix[mask]
    return chosen.reshape(1, -1)


def scatter(kept: np.ndarray, mask: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """The matrix whose chosen elements are `kept` in row-major order; the others are those of `base`, or 0.

    kept: any shape and dtype, one element for each chosen one; base: its dtype and the shape of mask, untouched.
    Raises ReconstructionError BAD_SIZE if the numbers of elements differ.
    """
    if kept.size != int(mask.sum()):
        raise ReconstructionError("BAD_SIZE", f"{kept.size} elements are coded, the mask has {int(mask.sum())}")
    out = np.zeros(mask.shape, kept.dtype) if base is None else base.copy()
    out[mask] = kept.reshape(-1)
    return out


def _check_count(count: int, signalled: int) -> None:
    if count != signalled:
        raise ReconstructionError("FORBIDDEN_PATTERN", f"the mask chooses {count}, selected_count is {signalled}",
                                  rules="R8.6.5-1")
