"""Codebook: levels are indices into a list of values (SPEC 8.5.6)."""

from __future__ import annotations

import numpy as np

from ..errors import ReconstructionError

_CHUNK = 1 << 18      # elements in flight


def reconstruct_codebook(levels: np.ndarray, codebook: np.ndarray, zero_index: int = 0,
                         rules: str = "R8.5-7") -> np.ndarray:
    """codebook[level + zero_index] for each level.

    levels: int32, any shape.  codebook: one dimension, of the tensor's dtype (or its words).
    rules: what a stream breaks by an index outside it.
    Returns an array of the shape of `levels` and the dtype of `codebook`.
    Raises ReconstructionError OUT_OF_RANGE where an index is outside the codebook.
    """
    flat = np.ascontiguousarray(levels).reshape(-1)
    out = np.empty(flat.size, dtype=codebook.dtype)
    for start in range(0, flat.size, _CHUNK):
        index = flat[start:start + _CHUNK].astype(np.int64) + zero_index
        if int(index.min()) < 0 or int(index.max()) >= len(codebook):
            raise ReconstructionError("OUT_OF_RANGE", f"an index is outside the codebook of {len(codebook)} values",
                                      rules=rules)
        out[start:start + _CHUNK] = codebook[index]
    return out.reshape(levels.shape)
