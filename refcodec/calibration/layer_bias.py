"""What takes up the mean of a layer's errors: its own bias, or that of an addition or normalisation behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto

from .flatten import reads
from .layers import GATES, Layer
from .network import Course, Network, Use

_OWN = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "LSTM": 3, "RNN": 3}      # which input of a layer is its bias
_OUTPUTS = {"Conv": 1, "ConvTranspose": 1, "Gemm": -1, "MatMul": -1, "Attention": -1}   # axis of the outputs
_EPSILON = 1e-5                 # of a normalisation that does not say


@dataclass
class Bias:
    """elements: of the tensor, by the row of the coded matrix that each is added to.  factor: what a shift of a row is
    multiplied with there, [rows]."""

    tensor: str
    elements: np.ndarray
    factor: np.ndarray


@dataclass
class _Added:
    """A value that is added to the outputs of a layer. at: number of the node that adds it.  factor: as Bias has it, by
    channels; None: 1."""

    value: str
    at: int
    factor: np.ndarray | None = None


def bias_of(network: Network, use: Use) -> Bias | None:
    """The tensor that is added to a layer's outputs and is of no other use; None where there is none."""
    layer, course, place = use.layer, use.course, use.place
    if place.column_groups is not None:
        return None
    for added in _added(network, course, layer):
        for tensor in sorted(course.wiring.sources.get(added.value, set()) & set(network.fine)):
            users = [n for c in network.courses for n in c.wiring.users.get(tensor, [])]
            numbered = network.numbers(course, replace(layer, weight=added.value, side=-1), tensor)
            if layer.op in GATES:                                    # of the inputs, and then of the hidden states
                numbered = numbered[:, :numbered.shape[1] // 2]
            outputs = numbered.size // len(set(place.groups.tolist()))
            which = place.groups * outputs + place.outputs
            flat = numbered.reshape(-1)
            if users == [added.at] and which.max() < flat.size and (flat[which] >= 0).all():
                factor = np.ones(len(which)) if added.factor is None else added.factor[which]
                return Bias(tensor, flat[which], factor)
    return None


def _added(network: Network, course: Course, layer: Layer) -> Iterator[_Added]:
    inputs = layer.node.input
    if layer.attributes.get("alpha", 1.0) != 1.0 or layer.attributes.get("beta", 1.0) != 1.0:
        return
    at = _OWN.get(layer.op, 0)
    if at and len(inputs) > at and inputs[at]:
        yield _Added(inputs[at], layer.at)
        return
    axis = _OUTPUTS.get(layer.op)
    behind = _behind(course, layer.node.output[0])
    if axis is None or behind is None:
        return
    number, node = behind
    if node.op_type == "Add":
        other = next(name for name in node.input if name != layer.node.output[0])
        values, weight = network.static(course, other), network.static(course, layer.weight)
        if values is not None and weight is not None and _only_along(values.shape, axis, weight.ndim):
            yield _Added(other, number)
    elif (node.op_type == "BatchNormalization" and layer.op in ("Conv", "Gemm")
          and node.input[0] == layer.node.output[0]):
        scale, variance = (network.static(course, node.input[k]) for k in (1, 4))
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), _EPSILON)
        if scale is not None and variance is not None:
            yield _Added(node.input[2], number, scale / np.sqrt(variance + epsilon))


def _behind(course: Course, value: str) -> tuple[int, NodeProto] | None:
    """The only node that takes a value in, with its number; None where there are others, or it is an output."""
    found = [(n, node) for n, node in enumerate(course.flat.nodes) if value in reads(node)]
    if value in course.flat.outputs or len(found) != 1 or list(found[0][1].input).count(value) != 1:
        return None
    return found[0]


def _only_along(shape: tuple[int, ...], axis: int, rank: int) -> bool:
    """True if a value of this shape, added to outputs of so many axes, differs along `axis` alone. rank: of the outputs
    of a convolution; of a product `axis` is counted from the end."""
    back = axis if axis < 0 else axis - rank               # counted from the end, as shapes are brought together
    return len(shape) >= -back and all(n == 1 for k, n in enumerate(shape) if k - len(shape) != back)
