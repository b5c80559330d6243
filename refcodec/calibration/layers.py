"""The layers of a network that is one list of nodes: whose weights a tensor is, and the matrix that it makes up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from ..fold import Fold
from ..reconstruction import folded
from .flatten import Flat, reads
from .runtime import Arrays

# Inputs that are weights, of the operators that are captured; a product has its weights on either side.
WEIGHTS = {"Conv": (1,), "FusedConv": (1,), "ConvTranspose": (1,), "Gemm": (1, 0), "FusedGemm": (1, 0),
           "MatMul": (1, 0), "FusedMatMul": (1, 0), "Attention": (1,), "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
           "Gather": (0,)}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass
class Layer:
    """An operator with weights.

    at: number of its node.  weight: name of the value that is its weight.  side: which input that is.
    tensors: of the model, that the weight is made of.  data: the value that is multiplied with it.
    """

    node: NodeProto
    at: int
    weight: str
    side: int
    tensors: list[str]
    data: str

    @property
    def name(self) -> str:
        return self.node.name or self.node.output[0]

    @property
    def op(self) -> str:
        return self.node.op_type.removeprefix("Fused")

    @cached_property
    def attributes(self) -> dict[str, Any]:
        return {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}


@dataclass
class Wiring:
    """Which values follow from weights and constants alone, and where tensors are used.

    sources: value to the tensors that it is made of, of such values.  users: tensor to the numbers of the nodes that
    take in such a value and others, too.  layers: in the order of the nodes.
    """

    sources: dict[str, set[str]]
    static: set[int] = field(default_factory=set)
    users: dict[str, list[int]] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


def wired(flat: Flat) -> Wiring:
    """How the weights of a network lie in it."""
    found = Wiring({**{name: set() for name in flat.constants}, **{v: {t} for v, t in flat.weights.items()}})
    for at, node in enumerate(flat.nodes):
        taken = reads(node)
        made_of = set().union(*(found.sources.get(name, set()) for name in taken))
        if all(name in found.sources for name in taken) and not node.op_type.startswith("Random"):
            found.static.add(at)
            found.sources.update({name: made_of for name in node.output if name})
            continue
        for tensor in sorted(made_of):
            found.users.setdefault(tensor, []).append(at)
        found.layers += _layers(node, at, found)
    return found


def _layers(node: NodeProto, at: int, wiring: Wiring) -> list[Layer]:
    sides = WEIGHTS.get(node.op_type, ())
    found = []
    for side in sides:
        weight = node.input[side] if side < len(node.input) else ""
        tensors = sorted(wiring.sources.get(weight, set()))
        if tensors:
            data = node.input[1 - side] if node.op_type not in GATES else node.input[0]
            found.append(Layer(node, at, weight, side, tensors, data))
    return found


def matrix_of(layer: Layer, weight: np.ndarray) -> np.ndarray | None:
    """The weight as the layer multiplies it: [groups, outputs, inputs]; None for one that is no such matrix.

    Gather: [1, rows of the table, columns], of which each row is multiplied with how often it is taken.
    Recurrent layers: one group a direction, the gates are outputs.
    """
    a, rank = layer.attributes, weight.ndim
    groups = int(a.get("group", 1))
    match layer.op:
        case "Conv" if rank >= 3:
            return weight.reshape(groups, weight.shape[0] // groups, -1)
        case "ConvTranspose" if rank >= 3:            # [inputs, outputs of a group, kernel...]
            parts = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
            return parts.transpose(0, 2, 1, 3).reshape(groups, weight.shape[1], -1)
        case "Gemm" | "MatMul" | "Attention" if rank >= 2:
            flipped = bool(a.get("transB" if layer.side else "transA", 0))
            outputs_first = flipped if layer.side else not flipped
            matrix = weight if outputs_first else np.swapaxes(weight, -1, -2)
            return matrix.reshape(-1, *matrix.shape[-2:])
        case "LSTM" | "GRU" | "RNN" if rank == 3:
            return weight
        case "Gather" if rank >= 2:
            axis = int(a.get("axis", 0)) % rank
            return np.moveaxis(weight, axis, 0).reshape(1, weight.shape[axis], -1)
    return None


@dataclass
class Place:
    """Where the matrix that a tensor is coded as, its outputs as rows, lies in a layer's matrix.

    groups, outputs: int arrays, of each row.  inputs: of each column.  column_groups: of each column instead, where
    they have groups, as in a transposed convolution.  scan: the column_scan_flag with which outputs are rows.
    """

    groups: np.ndarray
    outputs: np.ndarray
    inputs: np.ndarray
    column_groups: np.ndarray | None = None
    scan: int = 0


def place_of(layer: Layer, numbered: np.ndarray, shape: Sequence[int], fold: Fold) -> Place | None:
    """Where a tensor of this shape and fold lies in the layer.

    numbered: the layer's weight with the number of the tensor's element, from 0, in each place; -1 where it is of none.
    None where its rows and columns are not rows and columns of the layer's matrix, or not all of them are there.
    """
    matrix = matrix_of(layer, numbered)
    if matrix is None:
        return None
    size = math.prod(shape)
    where = np.full(size, -1, np.int64)
    flat = matrix.reshape(-1)
    there = np.flatnonzero(flat >= 0)
    where[flat[there]] = there
    if there.size != size or (where < 0).any():
        return None
    for scan in (0, 1):
        group, output, column = np.unravel_index(folded(where, shape, 1, fold, scan), matrix.shape)
        if (output == output[:, :1]).all() and (column == column[:1]).all():
            if (group == group[:, :1]).all():
                return Place(group[:, 0], output[:, 0], column[0], None, scan)
            if (group == group[:1]).all():
                return Place(np.full(len(output), -1), output[:, 0], column[0], group[0], scan)
    return None


def numbers(flat: Flat, layer: Layer, tensor: str, shapes: dict[str, tuple[int, ...]], threads: int) -> np.ndarray:
    """The layer's weight with the numbers of the elements of one tensor, as place_of() takes it.

    What lies between tensor and layer (transpositions, slices, ...) is run on the numbers, in digits of 10 bits, which
    all element types of weights hold exactly; what does more than move elements about gives numbers that do not fit.
    """
    direct = next((v for v, t in flat.weights.items() if t == tensor), "")
    size = math.prod(shapes[tensor])
    if layer.weight == direct:
        return np.arange(size).reshape(shapes[tensor])
    session = flat.session([layer.weight], threads)
    digits = -(-max(1, size.bit_length()) // 10)
    found = None
    for digit in range(digits):
        arrays: Arrays = {}
        for value, name in flat.weights.items():
            count = np.zeros(shapes[name], np.int64)
            if name == tensor:
                count = ((np.arange(1, size + 1) >> (10 * digit)) & 1023).reshape(shapes[name])
            arrays[value] = count.astype(onnx.helper.tensor_dtype_to_np_dtype(flat.inputs[value]))
        part = session.run([layer.weight], arrays)[layer.weight].astype(np.float64)
        found = part if found is None else found + part * 1024.0**digit
    assert found is not None
    whole = (found == np.rint(found)) & (found >= 0) & (found <= size)
    return np.where(whole, found, 0).astype(np.int64) - 1
