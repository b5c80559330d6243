"""Networks whose weights alone a package carries, as ONNX graphs (opset 17); the weights keep their names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Tensors = Mapping[str, np.ndarray]


class Graph:
    """A graph that grows node by node; each node has one output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def weight(self, name: str, array: np.ndarray) -> str:
        self.weights[name] = np.ascontiguousarray(array)
        return name

    def add(self, op: str, *inputs: str, name: str = "", **attributes: object) -> str:
        out = name or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out

    def model(self, name: str, inputs: Mapping[str, tuple[int, list]], output: str, shape: list) -> bytes:
        graph = helper.make_graph(
            self.nodes, name, [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(a, n) for n, a in self.weights.items()])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made)
        return made.SerializeToString()


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, so that ceil(size / stride) outputs come out."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


BLOCKS = ((3, 1, 1, 1), (3, 2, 6, 2), (5, 2, 6, 2), (3, 2, 6, 3), (5, 1, 6, 3), (5, 2, 6, 4), (3, 1, 6, 1))


def efficientnet_lite0(tensors: Tensors) -> bytes:
    """Image labels: `x` [n, 3, 224, 224] of (pixel - 127) / 128 to probabilities of 1000 classes. Batch normalisation
    is folded into the convolutions, as it is where such networks run."""
    g, size = Graph(), 224

    def conv(x: str, weight: str, norm: str, stride: int = 1, groups: int = 1, clip: bool = True) -> str:
        nonlocal size
        w = tensors[weight].astype(np.float64)
        gain = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"].astype(np.float64) + 1e-3)
        bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
        begin, end = _same(size, w.shape[2], stride)
        size = -(-size // stride)
        out = g.add("Conv", x, g.weight(weight, (w * gain[:, None, None, None]).astype(np.float32)),
                    g.weight(f"{norm}.bias", bias.astype(np.float32)), pads=[begin, begin, end, end],
                    strides=[stride, stride], group=groups)
        return g.add("Clip", out, low, high) if clip else out

    low, high = g.weight("low", np.float32(0)), g.weight("high", np.float32(6))
    x, number = conv("x", "_conv_stem.weight", "_bn0", 2), 0
    for _, first_stride, expansion, repeats in BLOCKS:
        for repeat in range(repeats):
            before, name, stride = x, f"_blocks.{number}", first_stride if repeat == 0 else 1
            if expansion > 1:
                x = conv(x, f"{name}._expand_conv.weight", f"{name}._bn0")
            channels = len(tensors[f"{name}._depthwise_conv.weight"])
            x = conv(x, f"{name}._depthwise_conv.weight", f"{name}._bn1", stride, channels)
            x = conv(x, f"{name}._project_conv.weight", f"{name}._bn2", clip=False)
            x = g.add("Add", x, before) if repeat else x
            number += 1
    x = g.add("Flatten", g.add("GlobalAveragePool", conv(x, "_conv_head.weight", "_bn1")))
    x = g.add("Gemm", x, g.weight("_fc.weight", tensors["_fc.weight"]), g.weight("_fc.bias", tensors["_fc.bias"]),
              transB=1)
    g.add("Softmax", x, name="classes", axis=1)
    return g.model("efficientnet-lite0", {"x": (TensorProto.FLOAT, ["n", 3, 224, 224])}, "classes", ["n", 1000])


def crepe_tiny(tensors: Tensors) -> bytes:
    """Pitch: `frames` [n, 1024] of 64 ms at 16 kHz, mean 0 and deviation 1, to chances of 360 pitches."""
    g = Graph()
    x = g.add("Unsqueeze", "frames", g.weight("axes", np.array([1, 3])))
    for n in range(1, 7):
        weight, norm = f"conv{n}.weight", f"conv{n}_BN"
        pads = [254, 0, 254, 0] if n == 1 else [31, 0, 32, 0]
        x = g.add("Conv", x, g.weight(weight, tensors[weight]), g.weight(f"conv{n}.bias", tensors[f"conv{n}.bias"]),
                  pads=pads, strides=[4 if n == 1 else 1, 1])
        parts = [g.weight(f"{norm}.{p}", tensors[f"{norm}.{p}"])
                 for p in ("weight", "bias", "running_mean", "running_var")]
        x = g.add("BatchNormalization", g.add("Relu", x), *parts, epsilon=0.0010000000474974513)
        x = g.add("MaxPool", x, kernel_shape=[2, 1], strides=[2, 1])
    x = g.add("Flatten", g.add("Transpose", x, perm=[0, 2, 1, 3]))
    x = g.add("Gemm", x, g.weight("classifier.weight", tensors["classifier.weight"]),
              g.weight("classifier.bias", tensors["classifier.bias"]), transB=1)
    g.add("Sigmoid", x, name="pitch")
    return g.model("crepe-tiny", {"frames": (TensorProto.FLOAT, ["n", 1024])}, "pitch", ["n", 360])


SENTENCES, TOKENS, HEADS = 64, 48, 12       # of one run of the sentence encoder


def minilm(tensors: Tensors) -> bytes:
    """Sentence similarity: `ids` and `mask` [64, 48] to the probability with which each of the sentences is another's
    nearest: softmax of 20 times the cosines of mean-pooled embeddings, as in the training of such encoders."""
    g = Graph()

    def own(name: str) -> str:
        return g.weight(name, tensors[name])

    def linear(x: str, name: str) -> str:
        product = g.add("MatMul", x, g.weight(f"{name}.weight", tensors[f"{name}.weight"].T))
        return g.add("Add", product, own(f"{name}.bias"))

    def norm(x: str, name: str) -> str:
        return g.add("LayerNormalization", x, own(f"{name}.weight"), own(f"{name}.bias"), axis=-1, epsilon=1e-12)

    def heads(x: str, perm: list[int]) -> str:
        return g.add("Transpose", g.add("Reshape", x, split), perm=perm)

    hidden = tensors["embeddings.word_embeddings.weight"].shape[1]
    split = g.weight("split", np.array([SENTENCES, TOKENS, HEADS, hidden // HEADS]))
    joint = g.weight("joint", np.array([SENTENCES, TOKENS, hidden]))
    words = g.add("Gather", own("embeddings.word_embeddings.weight"), "ids")
    places = g.add("Gather", own("embeddings.position_embeddings.weight"), g.weight("places", np.arange(TOKENS)))
    kinds = g.add("Gather", own("embeddings.token_type_embeddings.weight"), g.weight("kind", np.array([0])))
    x = norm(g.add("Add", g.add("Add", words, places), kinds), "embeddings.LayerNorm")
    one, many = g.weight("one", np.float32(1)), g.weight("many", np.float32(1e4))
    absent = g.add("Mul", g.add("Sub", "mask", one), many)
    absent = g.add("Unsqueeze", absent, g.weight("axes", np.array([1, 2])))
    scale, half = g.weight("scale", np.float32((hidden / HEADS) ** -0.5)), g.weight("half", np.float32(0.5))
    root = g.weight("root", np.float32(0.5 ** 0.5))
    for n in range(6):
        name = f"encoder.layer.{n}"
        q, k, v = (linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        scores = g.add("Mul", g.add("MatMul", heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1])), scale)
        share = g.add("Softmax", g.add("Add", scores, absent), axis=-1)
        mixed = g.add("Transpose", g.add("MatMul", share, heads(v, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        out = linear(g.add("Reshape", mixed, joint), f"{name}.attention.output.dense")
        x = norm(g.add("Add", out, x), f"{name}.attention.output.LayerNorm")
        h = linear(x, f"{name}.intermediate.dense")
        h = g.add("Mul", g.add("Mul", h, half), g.add("Add", g.add("Erf", g.add("Mul", h, root)), one))
        x = norm(g.add("Add", linear(h, f"{name}.output.dense"), x), f"{name}.output.LayerNorm")
    masked = g.add("Mul", x, g.add("Unsqueeze", "mask", g.weight("last", np.array([2]))))
    pooled = g.add("ReduceSum", masked, g.weight("tokens", np.array([1])), keepdims=0)
    unit = g.add("LpNormalization", pooled, axis=1, p=2)
    cosines = g.add("MatMul", unit, g.add("Transpose", unit, perm=[1, 0]))
    itself = g.add("Mul", g.add("EyeLike", cosines), many)
    g.add("Softmax", g.add("Sub", g.add("Mul", cosines, g.weight("twenty", np.float32(20))), itself), name="nearest",
          axis=1)
    return g.model("all-minilm-l6-v2", {"ids": (TensorProto.INT64, [SENTENCES, TOKENS]),
                                        "mask": (TensorProto.FLOAT, [SENTENCES, TOKENS])},
                   "nearest", [SENTENCES, SENTENCES])
