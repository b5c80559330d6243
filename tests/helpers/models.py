"""Small models that bring every coding tool into a stream, and what is said of two models."""

from __future__ import annotations

import os
import tempfile

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from refcodec import Model, Tensor, load
from refcodec.dtypes import BY_CODE
from refcodec.fold import Fold
from refcodec.model import Layer, Role


def weights(shape, dtype=np.float32, seed: int = 0, scale: float = 0.05) -> np.ndarray:
    """Laplacian weights whose rows have scales of their own."""
    rng = np.random.default_rng(seed)
    rows = np.exp(rng.normal(0, 0.7, (shape[0],) + (1,) * (len(shape) - 1)))
    return (rng.laplace(0, scale, shape) * rows).astype(dtype)


def any_words(dtype, shape, seed: int = 0) -> np.ndarray:
    """Every bit pattern of a type: NaN payloads, infinities, subnormals, signed zeros."""
    count = int(np.prod(shape)) * dtype.parts
    words = np.random.default_rng(seed).integers(0, 1 << min(dtype.bits, 63), count, np.uint64)
    words = words & np.uint64(1) if dtype.name == "bool" else words
    return words.astype(dtype.word).view(dtype.numpy).reshape(shape)


def all_types_model() -> Model:
    """A few elements of every element type."""
    return Model([Tensor(f"t.{d.name}", any_words(d, (3, 5), code)) for code, d in BY_CODE.items()], "types")


def structures_model() -> Model:
    """Tensors whose structure the lossless coder knows, and empty and scalar ones."""
    rng = np.random.default_rng(7)
    w = weights((12, 16))
    halves = weights((8, 32), np.float16, 1).astype(np.float64) * rng.uniform(0.5, 2, (8, 1)).astype(np.float32)
    sparse = weights((16, 24), seed=3)
    sparse[rng.random(sparse.shape) < 0.8] = 0
    few = np.array([0.1, -0.3, 0.7, 1e-9, 0.0], np.float32)[rng.integers(0, 5, (40, 30))]
    return Model([
        Tensor("w", w), Tensor("tied", w.copy()), Tensor("constant", np.full((30, 40), 0.7, np.float32)),
        Tensor("codebook", few), Tensor("uniform", (rng.integers(-40, 40, (30, 50)) * 0.125).astype(np.float32)),
        Tensor("grid", halves.astype(np.float32)), Tensor("sparse", sparse),
        Tensor("short", weights((9, 20), ml_dtypes.bfloat16).astype(np.float32)),
        Tensor("integers", rng.integers(900, 1100, (20, 60)).astype(np.int64)),
        Tensor("bytes", rng.integers(0, 256, (40, 40)).astype(np.uint8)),
        Tensor("scalar", np.array(3.5)), Tensor("empty", np.zeros((0, 7), np.int32)),
        Tensor("vector", np.arange(5, dtype=np.int32)), Tensor("bias", weights((12, 1))[:, 0]),
    ], "structures", metadata={"author": b"a test", "empty": b""})


def network_model(seed: int = 0, dtype=np.float32) -> Model:
    """The tensors of a small network, large enough to be quantised."""
    return Model([Tensor("fc1.weight", weights((24, 36), dtype, seed)),
                  Tensor("fc1.bias", weights((24, 1), dtype, seed + 1)[:, 0]),
                  Tensor("conv.weight", weights((16, 8, 3, 3), dtype, seed + 2)),
                  Tensor("bn1.weight", 1 + weights((16, 1), dtype, seed + 3)[:, 0]),
                  Tensor("fc2.weight", weights((10, 24), dtype, seed + 4)), Tensor("steps", np.array(1000))], "network")


def changed(model: Model, amount: float = 1e-4, seed: int = 99) -> Model:
    """A model after a small training step: float matrices move a little."""
    rng = np.random.default_rng(seed)
    tensors = []
    for t in model.tensors:
        array = t.array
        if t.dtype.kind == "f" and len(t.shape) > 1:
            array = (array.astype(np.float64) + rng.normal(0, amount, t.shape)).astype(t.dtype.numpy)
        tensors.append(Tensor(t.name, array))
    return Model(tensors, model.name)


def same_tensors(a: Model, b: Model) -> bool:
    return len(a.tensors) == len(b.tensors) and all(
        x.name == y.name and x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x.words, y.words)
        for x, y in zip(a.tensors, b.tensors))


def snr(pairs) -> float:
    """10 log10(variance / mean squared error) over pairs of arrays, pooled."""
    a = np.concatenate([np.asarray(x, np.float64).reshape(-1) for x, _ in pairs])
    b = np.concatenate([np.asarray(y, np.float64).reshape(-1) for _, y in pairs])
    return 10 * np.log10(a.var() / np.square(a - b).mean())


def matrices_model(dtype=np.float32) -> Model:
    """Matrices that factor updates apply to: wide, folded, tall; and a vector."""
    shapes = {"fc.weight": (14, 20), "conv.weight": (8, 3, 3, 3), "tall.weight": (24, 9), "bias": (16,)}
    tensors = [Tensor(name, weights(shape, dtype, seed)) for seed, (name, shape) in enumerate(shapes.items())]
    return Model(tensors, "base")


def maps_model(shift: int = 0) -> Model:
    """Feature maps [channels, height, width] with flat places, of floats and of bytes."""
    rng = np.random.default_rng(5)
    floats = np.maximum(rng.normal(size=(3, 7, 6)), 0).astype(np.float32).repeat(2, 2)
    small = rng.integers(0, 40, (2, 6, 9)).astype(np.uint8)
    planes = Fold((0, 1, 2), 2)
    layer = Layer("features", "", "", [(0, Role.OTHER, planes), (1, Role.OTHER, planes)])
    return Model([Tensor("floats", np.roll(floats, shift, 0)), Tensor("bytes", np.roll(small, shift, 0))],
                 f"frame{shift}", [layer])


def sparse_model() -> Model:
    """A matrix of mostly zeros, and types narrower than their words."""
    w = weights((20, 24), seed=6)
    w[np.random.default_rng(6).random(w.shape) > 0.2] = 0
    names = ("int4", "uint2", "bool", "float4_e2m1fn")
    return Model([Tensor("sparse.weight", w), *(
        Tensor(d.name, (any_words(d, (5, 9), code).view(d.word) & d.word.type((1 << d.bits) - 1)).view(d.numpy))
        for code, d in BY_CODE.items() if d.name in names)], "sparse")


def tiny_onnx_model() -> Model:
    """A Conv and a Gemm as an ONNX file, loaded; its tensors are in memory, so that the file may go."""
    arrays = {"conv.w": weights((4, 3, 3, 3)), "fc.w": weights((10, 16)), "fc.b": weights((10, 1))[:, 0],
              "shape": np.array([0, -1])}
    inits = [numpy_helper.from_array(a, name) for name, a in arrays.items()]
    nodes = [
        helper.make_node("Conv", ["x", "conv.w"], ["c"], "conv"),
        helper.make_node("Reshape", ["c", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "fc.w", "fc.b"], ["y"], "fc", transB=1)
    ]
    graph = helper.make_graph(nodes, "tiny", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], inits)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tiny.onnx")
        onnx.save(helper.make_model(graph), path)
        model = load(path)
        model.tensors = [Tensor(t.name, t.array) for t in model.tensors]
    return model
