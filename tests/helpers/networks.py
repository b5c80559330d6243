"""Small ONNX networks with every kind of layer, and what ONNX Runtime makes of a model by itself."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from refcodec import Model, load

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def normal(*shape, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def saved(tmp_path, nodes, inputs, outputs, tensors, version: int = 17, name: str = "net") -> Model:
    """The model of a network, loaded from its file.  inputs, outputs: name to shape, or (type, shape)."""
    def infos(values):
        return [helper.make_tensor_value_info(n, *(v if isinstance(v, tuple) else (F, v))) for n, v in values.items()]

    graph = helper.make_graph(nodes, name, infos(inputs), infos(outputs),
                              [numpy_helper.from_array(array, n) for n, array in tensors.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    path = tmp_path / f"{name}.onnx"
    onnx.save(proto, path)
    return load(path)


def classifier(tmp_path) -> Model:
    """Two layers and probabilities of five classes."""
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "w2"], ["z"]), helper.make_node("Softmax", ["z"], ["p"], axis=-1)]
    return saved(tmp_path, nodes, {"x": ["n", 6]}, {"p": ["n", 5]}, {
        "w1": normal(8, 6, seed=1), "b1": normal(8, seed=2), "w2": normal(8, 5, seed=3)})


def line(tmp_path, outputs: int = 4) -> Model:
    """One product: y = x w^T."""
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    return saved(tmp_path, nodes, {"x": ["n", 8]}, {"y": ["n", outputs]}, {"w": normal(outputs, 8, seed=4)})


def images(tmp_path) -> Model:
    """Convolutions with groups, strides, padding and dilations, a transposed one, and a bias of its own."""
    nodes = [
        helper.make_node("Conv", ["x", "c1"], ["a"], strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]),
        helper.make_node("Conv", ["a", "c2", "b2"], ["b"], group=2, auto_pad="SAME_UPPER"),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("ConvTranspose", ["r", "c3"], ["c"], strides=[2, 2], pads=[1, 0, 0, 1], group=2,
                         output_padding=[1, 0]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"])]
    return saved(tmp_path, nodes, {"x": ["n", 2, 8, 9]}, {"y": ["n", 3]}, {
        "c1": normal(6, 2, 3, 3, seed=1), "c2": normal(4, 3, 3, 3, seed=2), "b2": normal(4, seed=3),
        "c3": normal(4, 3, 3, 2, seed=4), "w": normal(6, 3, seed=5)})


def branches(tmp_path) -> Model:
    """A branch by a scalar input, each side with a layer whose weight is a constant of the branch."""
    def side(seed):
        name = f"w{seed}"
        nodes = [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(normal(6, 4, seed=seed))),
                 helper.make_node("MatMul", ["h", name], ["out"])]
        return helper.make_graph(nodes, f"side{seed}", [], [helper.make_tensor_value_info("out", F, None)])

    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h"]), helper.make_node("Equal", ["which", "one"], ["is_one"]),
             helper.make_node("If", ["is_one"], ["z"], then_branch=side(1), else_branch=side(2)),
             helper.make_node("Sigmoid", ["z"], ["p"])]
    return saved(tmp_path, nodes, {"x": ["n", 5], "which": (I64, [])}, {"p": ["n", 4]}, {
        "w0": normal(5, 6, seed=3), "one": np.array(1)})


def loop(tmp_path, version: int = 17) -> Model:
    """A layer that is run `turns` times on its own output; the outputs of the turns are stacked."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("MatMul", ["state", "w"], ["m"]), helper.make_node("Tanh", ["m"], ["after"]),
         helper.make_node("Identity", ["goes_on"], ["still"]), helper.make_node("Identity", ["after"], ["shown"])],
        "body", [value("turn", I64, []), value("goes_on", BOOL, []), value("state", F, None)],
        [value("still", BOOL, []), value("after", F, None), value("shown", F, None)])
    nodes = [helper.make_node("Loop", ["turns", "", "x"], ["last", "all"], body=body)]
    return saved(tmp_path, nodes, {"x": ["n", 6], "turns": (I64, [])}, {"last": ["n", 6], "all": ["t", "n", 6]}, {
        "w": normal(6, 6, seed=1, scale=0.5)}, version)


def recurrent(tmp_path) -> Model:
    """An LSTM of both directions, whose input weights are kept transposed and in two parts, and a GRU behind it."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["e"]),
        helper.make_node("Concat", ["wa", "wb"], ["wt"], axis=0),
        helper.make_node("Transpose", ["wt"], ["w2"], perm=[1, 0]),
        helper.make_node("Reshape", ["w2", "shape"], ["w"]),
        helper.make_node("LSTM", ["e", "w", "r", "b"], ["y"], hidden_size=3, direction="bidirectional"),
        helper.make_node("Transpose", ["y"], ["yt"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["yt", "flat"], ["yf"]),
        helper.make_node("GRU", ["yf", "gw", "gr"], ["s", ""], hidden_size=4, linear_before_reset=1),
        helper.make_node("ReduceMean", ["s"], ["q"], axes=[0, 1], keepdims=0)]
    return saved(tmp_path, nodes, {"tokens": (I64, ["t", "n"])}, {"q": ["n", 4]}, {
        "table": normal(10, 5, seed=1), "wa": normal(2, 24, seed=2), "wb": normal(3, 24, seed=3),
        "shape": np.array([2, 12, 5]), "r": normal(2, 12, 3, seed=4), "b": normal(2, 24, seed=5),
        "flat": np.array([0, 0, 6]), "gw": normal(1, 12, 6, seed=6), "gr": normal(1, 12, 4, seed=7)})


def by_runtime(model: Model, runs, changes=None):
    """The outputs of a model by ONNX Runtime itself, with other arrays for some tensors."""
    from refcodec import Tensor
    from refcodec.integers.evaluate import network_of

    changes = changes or {}
    tensors = [Tensor(t.name, np.asarray(changes.get(t.name, t.array)).reshape(t.shape)) for t in model.tensors]
    proto = network_of(Model(tensors, model.name, model.layers, model.source))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return [dict(zip(names, session.run(names, run))) for run in runs]
