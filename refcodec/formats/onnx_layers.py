"""Layers of an ONNX graph: which tensor is what to which operator, and how it folds to a matrix."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Sequence

from ..fold import Fold
from ..model import Layer, Role, Tensor
from .onnx_records import GraphRecord, ModelRecord, NodeRecord
from .roles import guess_role

_W, _B, _R, _E, _S, _Z, _N, _O = (Role.WEIGHT, Role.BIAS, Role.RECURRENT_WEIGHT, Role.EMBEDDING,
                                  Role.QUANTISATION_SCALE, Role.ZERO_POINT, Role.SHAPE, Role.OTHER)
_NORM_SCALE, _NORM_BIAS = Role.NORM_SCALE, Role.NORM_BIAS

# Roles of the inputs by position; the operators of ONNX and the common ones of com.microsoft.
INPUT_ROLES: dict[str, tuple[Role, ...]] = {
    "Conv": (_W, _W, _B), "FusedConv": (_W, _W, _B), "ConvTranspose": (_W, _W, _B), "NhwcConv": (_W, _W, _B),
    "ConvInteger": (_W, _W, _Z, _Z), "DeformConv": (_W, _W, _O, _B, _O),
    "QLinearConv": (_W, _S, _Z, _W, _S, _Z, _S, _Z, _B),
    "Gemm": (_W, _W, _B), "FusedGemm": (_W, _W, _B), "MatMul": (_W, _W), "FusedMatMul": (_W, _W),
    "MatMulInteger": (_W, _W, _Z, _Z), "QLinearMatMul": (_W, _S, _Z, _W, _S, _Z, _S, _Z),
    "DynamicQuantizeMatMul": (_W, _W, _S, _Z, _B), "MatMulIntegerToFloat": (_W, _W, _S, _S, _Z, _Z, _B),
    "MatMulNBits": (_W, _W, _S, _Z, _O, _B), "Attention": (_W, _W, _B),
    "LSTM": (_W, _W, _R, _B, _N, _O, _O, _O), "GRU": (_W, _W, _R, _B, _N, _O), "RNN": (_W, _W, _R, _B, _N, _O),
    "DynamicQuantizeLSTM": (_W, _W, _R, _B, _N, _O, _O, _O, _S, _Z, _S, _Z),
    "BatchNormalization": (_O, _NORM_SCALE, _NORM_BIAS, Role.MEAN, Role.VARIANCE),
    "LayerNormalization": (_O, _NORM_SCALE, _NORM_BIAS), "RMSNormalization": (_O, _NORM_SCALE),
    "SimplifiedLayerNormalization": (_O, _NORM_SCALE), "InstanceNormalization": (_O, _NORM_SCALE, _NORM_BIAS),
    "GroupNormalization": (_O, _NORM_SCALE, _NORM_BIAS), "GroupNorm": (_O, _NORM_SCALE, _NORM_BIAS),
    "SkipLayerNormalization": (_O, _O, _NORM_SCALE, _NORM_BIAS, _B),
    "SkipSimplifiedLayerNormalization": (_O, _O, _NORM_SCALE, _B),
    "EmbedLayerNormalization": (_N, _N, _E, _E, _E, _NORM_SCALE, _NORM_BIAS),
    "PRelu": (_O, _NORM_SCALE),        # one factor for each channel
    "Gather": (_E, _N), "GatherElements": (_O, _N), "GatherND": (_O, _N), "ScatterND": (_O, _N, _O),
    "QuantizeLinear": (_O, _S, _Z), "DequantizeLinear": (_O, _S, _Z), "DynamicQuantizeLinear": (_O,),
    "BiasGelu": (_O, _B), "FastGelu": (_O, _B), "BiasSplitGelu": (_O, _B),
}
# Operators whose output is their first input in another dress: a weight stays a weight behind them.
_TRANSPARENT = {"DequantizeLinear", "Identity", "Cast", "CastLike"}
_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Equal", "Less", "Greater", "Clip"}
_PRODUCTS = {"MatMul", "FusedMatMul", "MatMulInteger", "MatMulNBits", "Conv", "ConvTranspose"}


def find_layers(model: ModelRecord, tensors: Sequence[Tensor]) -> list[Layer]:
    """Layers in the order of the graphs' nodes, those of subgraphs and functions included."""
    layers: list[Layer] = []
    for graph in list(model.graphs) + [g for t in model.trainings for g in t.graphs]:
        _walk_graph(graph, ChainMap(), tensors, layers)
    for function in model.functions:
        _walk_nodes(function.nodes, ChainMap(), tensors, layers)
    return layers


def _walk_graph(graph: GraphRecord, scope: ChainMap[str, int], tensors: Sequence[Tensor], layers: list[Layer]) -> None:
    known = scope.new_child({t.name: t.index for t in graph.initializers if t.index >= 0})
    _walk_nodes(graph.nodes, known, tensors, layers)


def _walk_nodes(nodes: list[NodeRecord], known: ChainMap[str, int], tensors: Sequence[Tensor],
                layers: list[Layer]) -> None:
    # known: value name -> tensor index, in this graph and those around it.
    products: set[str] = set()              # outputs of matrix products, whose next Add is a bias
    for node in nodes:
        if node.op_type == "Constant":
            values = [t.index for a in node.attributes for t in a.tensors if t.index >= 0]
            if values and node.outputs:
                known[node.outputs[0]] = values[0]
            continue
        after_product = any(name in products for name in node.inputs)
        layer = Layer(node.name or (node.outputs[0] if node.outputs else ""), node.domain, node.op_type)
        for position, name in enumerate(node.inputs):
            if name not in known:
                continue
            if position == 0 and node.op_type in _TRANSPARENT and node.outputs:
                known[node.outputs[0]] = known[name]
                continue
            tensor = tensors[known[name]]
            role = _role(node, position, tensor, after_product)
            layer.tensors.append((known[name], role, _fold(node, position, role, tensor.shape)))
        if layer.tensors:
            layers.append(layer)
        if node.op_type in _PRODUCTS or after_product and node.op_type in ("Cast", "Mul"):
            products.update(node.outputs)
        for graph in (g for a in node.attributes for g in a.graphs):
            _walk_graph(graph, known, tensors, layers)


def _role(node: NodeRecord, position: int, tensor: Tensor, after_product: bool) -> Role:
    if tensor.dtype.kind != "f" and tensor.dtype.bits >= 32 and not _is_quantised(node):
        return Role.SHAPE
    if node.op_type == "Gather" and position == 0:
        return Role.EMBEDDING if len(tensor.shape) >= 2 else Role.OTHER
    if node.op_type in INPUT_ROLES:
        roles = INPUT_ROLES[node.op_type]
        return roles[position] if position < len(roles) else Role.OTHER
    if node.op_type in _ARITHMETIC:
        per_channel = sum(n > 1 for n in tensor.shape) <= 1
        bias = node.op_type == "Add" and after_product and per_channel and tensor.dtype.kind == "f"
        return Role.BIAS if bias and tensor.size > 1 else Role.OTHER
    return guess_role(tensor.name, tensor.shape, tensor.dtype)


def _is_quantised(node: NodeRecord) -> bool:
    # There the int32 tensors are biases and zero points, not shapes.
    return "Quantize" in node.op_type or "QLinear" in node.op_type or "Integer" in node.op_type


def _fold(node: NodeRecord, position: int, role: Role, shape: tuple[int, ...]) -> Fold | None:
    """The fold with an operator's outputs as rows; None where it is the default one."""
    rank, op = len(shape), node.op_type
    if role not in (Role.WEIGHT, Role.RECURRENT_WEIGHT) or rank < 2:
        return None
    axes = tuple(range(rank))
    fold = None
    if op == "ConvTranspose":
        fold = Fold((1, 0, *axes[2:]), 1, math.prod(shape[2:]))
    elif op in ("LSTM", "GRU", "RNN") and rank == 3:                # directions, gates, inputs
        fold = Fold(axes, 2, 1)
    elif op == "DynamicQuantizeLSTM" and rank == 3:                 # directions, inputs, gates
        fold = Fold((0, 2, 1), 2, 1)
    elif op in ("Gemm", "FusedGemm"):
        inputs_first = node.attribute("transA") if position == 0 else not node.attribute("transB")
        fold = Fold((1, 0), 1, 1) if inputs_first and rank == 2 else None
    elif op == "Attention" or "MatMul" in op and op != "MatMulNBits":
        flipped = node.attribute("transA" if position == 0 else "transB")
        inputs_first = bool(flipped) if position == 0 else not flipped
        fold = Fold((*axes[:-2], rank - 1, rank - 2) if inputs_first else axes, rank - 1, 1)
    return None if fold == Fold.default(shape) else fold
