"""Tensors as another floating-point type: no longer the words that were coded (informative)."""

from __future__ import annotations

import numpy as np

from .dtypes import BY_NAME, DType
from .errors import ConfigError, ReconstructionError
from .model import Tensor
from .quantization.rounding import round_to_dtype

NAMES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
BLOCK = 1 << 18            # elements that are rounded at a time


def target(name: str) -> DType:
    """The type of a name: fp64, fp32, fp16, bf16, or as numpy has it. Raises ConfigError BAD_CONFIG."""
    full = NAMES.get(name, name)
    if full not in NAMES.values():
        raise ConfigError("BAD_CONFIG", f"tensors cannot be converted to {name!r}, but to {', '.join(NAMES)}")
    return BY_NAME[full]


def is_converted(dtype: DType, to: DType) -> bool:
    """True for the types that a conversion changes: real floating-point ones. Integers stay what they are."""
    return dtype.kind == "f" and dtype.parts == 1 and dtype != to


def as_converted(tensor: Tensor, to: DType) -> Tensor:
    """A lazy tensor of another type, or the tensor itself where its type stays."""
    if not is_converted(tensor.dtype, to):
        return tensor
    return Tensor(tensor.name, dtype=to, shape=tensor.shape, load=lambda: converted(tensor.array, tensor, to))


def converted(array: np.ndarray, tensor: Tensor, to: DType) -> np.ndarray:
    """The values of a tensor, each rounded once: to nearest, ties to even. Infinities and NaN stay such.

    Raises ConfigError BAD_CONFIG where a finite value is larger than all of the type.
    """
    own, flat = tensor.dtype, array.reshape(-1)
    if to.exponent >= own.exponent and to.mantissa >= own.mantissa:
        return array.astype(to.numpy)                  # exact
    out = np.empty(flat.size, to.numpy)
    for first in range(0, flat.size, BLOCK):
        part = flat[first : first + BLOCK].astype(np.float64)
        finite = np.isfinite(part)
        try:
            rounded = round_to_dtype(np.where(finite, part, 0), to)
        except ReconstructionError as error:
            raise ConfigError("BAD_CONFIG", f"tensor {tensor.name!r} has values that {to.name} cannot hold") from error
        with np.errstate(all="ignore"):
            out[first : first + BLOCK] = rounded if finite.all() else np.where(finite, rounded, part.astype(to.numpy))
    return out.reshape(array.shape)
