"""How a tensor becomes a matrix: shapes, folds, scans, kernels, planes, entry points; and trellises over it."""

from __future__ import annotations

import numpy as np

from refcodec.bitstream.structures import (
    ActivationFormat,
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
)

from .builder import Builder
from .parts import MODES, direct, float_words, integers, levels, small_levels, spatial, uniform, words
from .single import several


def shapes():
    return [(f"{list(shape)} {scan}", "float32", shape,
             direct(words("float32", float_words(70 + i, (rows, columns)[::1 - 2 * scan])), scan))
            for i, (shape, rows,
                    columns) in enumerate([((), 1, 1), ((5, ), 1,
                                                        5), ((1, 1), 1,
                                                             1), ((0, 7), 0,
                                                                  7), ((3, 0), 3,
                                                                       0), ((4, 3, 2, 2), 4,
                                                                            12), ((2, 1, 2, 1, 2, 1, 2, 1), 2, 8)])
            for scan in (0, 1)]


def folds(b: Builder) -> None:
    """Folds of three axes in all orders, with kernels, by levels and words, and a spatial one with planes."""
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    shape = (4, 3, 6)
    b.model("folds", [(f"w{i}", "float32", shape) for i in range(8)])
    folds = [FoldParameters(1 + i % 2, list(order), (1, 3, 4, 2)[i % 4]) for i, order in enumerate(orders)]
    folds += [FoldParameters(2, [0, 1, 2], 1), FoldParameters(0, [2, 1, 0], 65535)]
    layers = [LayerDescriptor(f"layer{i}", "", "Conv", 1, [LayerTensor(i, i, 1, f)]) for i, f in enumerate(folds)]
    layers.append(
        LayerDescriptor("integers", "ai.onnx", "Gemm", 1, [LayerTensor(7, 13)], 1, ActivationFormat(1, 8, -3, 64)))
    b.layers(LayerDescriptors(len(layers), layers))
    for i, f in enumerate(folds):
        n = small_levels(80 + i, _sides(shape, f))
        if i == 6:
            b.tensors((i, spatial(levels(n, uniform()), 2)))
        else:
            b.tensors((i, direct(levels(n, uniform(), kernel_size=f.kernel_size))))
    b.end_model()
    b.end()


def _sides(shape: tuple[int, ...], f: FoldParameters) -> tuple[int, int]:
    rows = int(np.prod([shape[a] for a in f.axis[: f.row_axis_count]], dtype=np.int64))
    return rows, int(np.prod(shape)) // rows


def kernels(mode: MODES):
    return several(lambda: [(f"conv{k}", "float32", (6, 4, k, k),
                             direct(levels(small_levels(90 + k, (6, 4 * k * k)), uniform(), mode, kernel_size=k * k)))
                            for k in (1, 2, 3)])


def trellis(mode: MODES):
    return several(lambda: [(f"{2 << size} states", "float32", (
        9, 12), direct(levels(small_levels(size, (9, 12)), uniform(5, -9, size), mode))) for size in (1, 2, 3, 4, 5)])


def entry_points(b: Builder) -> None:
    """Two entry points of levels and three of a map, mostly zeros."""
    n = np.where(integers(160, (264, 500), 0, 199) == 0, 1, 0)
    maps = np.where(integers(161, (197, 1009), 0, 299) == 0, 200, 0).astype(np.uint8)
    b.model("entries", [("levels", "float32", n.shape), ("map", "uint8", maps.shape)])
    b.tensors((0, direct(levels(n, uniform(), entries=2))))
    b.tensors((1, direct(words("uint8", maps, MODES.MAP, entries=3))))
    b.end_model()
    b.end()
