"""What the rows of a layer's matrix are multiplied with, one vector for each output that the layer computes.

Of many positions (of an image, of a sequence, of a batch) some are taken by chance, the same for the same shapes; so
two runs of a network with other weights give vectors of the same positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from ..integers.evaluate import windows
from .layers import Layer

Rows = np.ndarray               # float64 [groups, samples, inputs]


def input_rows(layer: Layer, data: Sequence[np.ndarray], shape: tuple[int, ...], most: int, seed: int = 0) -> Rows:
    """The vectors that the layer multiplies its matrix with (layers.matrix_of), in one run.

    data: what Walk.data() gives.  shape: of the layer's weight.  most: positions that are taken at most.
    Raises ConfigError UNSUPPORTED_LAYER for a layer whose inputs are not vectors of its matrix: a table (Gather: see
    rows_taken()), or attributes that no vectors are known for.
    """
    chance = np.random.default_rng([seed, layer.at])
    x = data[0]
    match layer.op:
        case "Conv":
            return _positions(windows(x, shape[2:], layer.attributes), len(shape) - 2, layer, most, chance)
        case "ConvTranspose":
            return _positions(_windows_of_transposed(layer, x, shape), len(shape) - 2, layer, most, chance)
        case "LSTM" | "GRU" | "RNN":
            states = np.moveaxis(data[1], 1, 0) if layer.side == 2 else np.broadcast_to(x, (shape[0], *x.shape))
            return _chosen(states.reshape(shape[0], -1, shape[2]), most, chance)
        case "Gemm" | "MatMul" | "Attention":
            return _chosen(_of_product(layer, x, shape), most, chance)
    raise _unsupported(layer, f"operator {layer.op} multiplies no matrix")


def rows_taken(data: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """How often each row of a table is taken: int64 [rows]."""
    return np.bincount(np.asarray(data[0]).reshape(-1).astype(np.int64) % rows, minlength=rows)


def _unsupported(layer: Layer, why: str) -> ConfigError:
    return ConfigError("UNSUPPORTED_LAYER", f"the inputs of layer {layer.name[:100]!r} cannot be captured: {why}")


def _chosen(rows: np.ndarray, most: int, chance: np.random.Generator) -> Rows:
    """Some of the samples of rows [groups, samples, inputs]."""
    count = rows.shape[1]
    picked = np.sort(chance.choice(count, most, replace=False)) if count > most else slice(None)
    return np.ascontiguousarray(rows[:, picked], np.float64)


def _positions(seen: np.ndarray, axes: int, layer: Layer, most: int, chance: np.random.Generator) -> Rows:
    """Of windows [batch, channels, places..., kernel...] the vectors at some places, by groups of channels."""
    seen = np.moveaxis(seen, 1, 1 + axes)                           # batch, places..., channels, kernel...
    places = seen.shape[:1 + axes]
    count = math.prod(places)
    picked = np.sort(chance.choice(count, most, replace=False)) if count > most else np.arange(count)
    taken = seen[np.unravel_index(picked, places)]                  # samples, channels, kernel...
    groups = int(layer.attributes.get("group", 1))
    return np.ascontiguousarray(taken.reshape(len(picked), groups, -1).transpose(1, 0, 2), np.float64)


def _windows_of_transposed(layer: Layer, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What each output of a transposed convolution sees: zeros lie between inputs, and the kernel is turned round."""
    a, kernel = layer.attributes, shape[2:]
    axes = len(kernel)
    if a.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in a:
        raise _unsupported(layer, "auto_pad or output_shape of a transposed convolution")
    strides, dilations = a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    pads, more = a.get("pads", [0] * 2 * axes), a.get("output_padding", [0] * axes)
    spread = np.zeros((*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], strides))), x.dtype)
    spread[(slice(None), slice(None), *(slice(None, None, s) for s in strides))] = x
    for i in range(axes):
        reach = (kernel[i] - 1) * dilations[i]
        spread = _padded(spread, 2 + i, reach - pads[i], reach - pads[axes + i] + more[i])
    seen = windows(spread, kernel, {"dilations": dilations})
    return np.flip(seen, axis=tuple(range(2 + axes, 2 + 2 * axes)))


def _padded(x: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    """x with zeros at both ends of an axis, or without its ends where numbers are negative."""
    x = np.pad(x, [(max(before, 0), max(after, 0)) if i == axis else (0, 0) for i in range(x.ndim)])
    keep = slice(max(-before, 0), x.shape[axis] - max(-after, 0))
    return x[(*[slice(None)] * axis, keep)]


def _of_product(layer: Layer, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The vectors of a matrix product: [groups, samples, inputs]; matrices of a stack are groups."""
    if layer.side == 0:                                             # weights times data: its columns are the vectors
        x = x if layer.attributes.get("transB", 0) or x.ndim == 1 else np.swapaxes(x, -1, -2)
    elif layer.attributes.get("transA", 0) and x.ndim > 1:
        x = np.swapaxes(x, -1, -2)
    stack = shape[:-2]
    if math.prod(stack) == 1:
        return x.reshape(1, -1, x.shape[-1])
    x = x[None] if x.ndim == 1 else x
    x = np.broadcast_to(x, (*np.broadcast_shapes(x.shape[:-2], stack), *x.shape[-2:]))
    outer = x.ndim - 2 - len(stack)
    x = x.reshape(math.prod(x.shape[:outer]), math.prod(stack), *x.shape[-2:])
    return np.moveaxis(x, 1, 0).reshape(math.prod(stack), -1, x.shape[-1])
