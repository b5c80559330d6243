"""Arrays of many tensors in few blocks of memory.

Fresh memory is given by the system page by page when it is first written, which takes as long as decoding into it. Of
blocks of some MB, which numpy asks to have in large pages, that is a tenth; so the tensors of a model share blocks.
"""

from __future__ import annotations

import threading

import numpy as np

BLOCK_BYTES = 32 << 20           # that arrays share; what is larger has memory of its own
ALIGNMENT = 64                   # bytes: each array begins with a line of the cache


class Blocks:
    """Room for the arrays of a model. total: bytes of all of them, about: a block is no larger.

    A block lives as long as one of its arrays, so these should be arrays that are kept together.
    """

    def __init__(self, total: int):
        self._size = min(BLOCK_BYTES, total)
        self._block, self._used = np.empty(0, np.uint8), 0
        self._lock = threading.Lock()

    def empty(self, count: int, dtype: np.dtype) -> np.ndarray:
        """An array of `count` elements, one dimension, of any contents. Safe in threads."""
        size = -(-count * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        if 4 * size > self._size:
            return np.empty(count, dtype)
        with self._lock:
            if self._used + size > len(self._block):
                self._block, self._used = np.empty(self._size, np.uint8), 0
            first, self._used = self._used, self._used + size
            block = self._block
        return block[first : first + count * dtype.itemsize].view(dtype)
