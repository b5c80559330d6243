"""Arrays of the caller that tensors are decoded into: of numpy, or tensors of torch, which need not be installed."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from .dtypes import DType, dtype_of


def words_in(out: Any, dtype: DType, shape: Sequence[int]) -> np.ndarray:
    """The memory of an array or tensor as unsigned words, flat. `out` has to live as long as they are used.

    out: of this type and shape, C-contiguous, in native byte order and writable; a tensor of torch on the CPU.
    Raises ValueError, which says what does not fit; TypeError for what is neither.
    """
    if isinstance(out, np.ndarray):
        found, alike = str(out.dtype), _dtype_name(out) == dtype.name and out.dtype.isnative
        ready = out.flags.c_contiguous and out.flags.writeable
    elif hasattr(out, "data_ptr") and hasattr(out, "is_contiguous"):
        found = str(out.dtype).removeprefix("torch.")
        alike, ready = found == dtype.name, out.is_contiguous() and out.device.type == "cpu"
    else:
        raise TypeError(f"tensors are read into arrays of numpy or tensors of torch, not {type(out).__name__}")
    if not alike or tuple(out.shape) != tuple(shape):
        raise ValueError(f"a tensor of {dtype.name} and shape {list(shape)} cannot go into one of {found} and "
                         f"{list(out.shape)}")
    if not ready:
        raise ValueError("tensors are read into contiguous, writable memory of the CPU")
    if isinstance(out, np.ndarray):
        return out.reshape(-1).view(dtype.word)
    count = out.numel() * dtype.parts
    if not count:
        return np.empty(0, dtype.word)
    memory = (ctypes.c_char * (count * dtype.word_bytes)).from_address(out.data_ptr())
    return np.frombuffer(memory, dtype.word)


def _dtype_name(array: np.ndarray) -> str:
    try:
        return dtype_of(array).name
    except KeyError:
        return ""
