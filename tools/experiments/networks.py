"""Three small networks as lists of layers, and their forward pass, which numpy and torch run by the same text.

Parameters are named arrays: "conv1.weight" [out, in, 3, 3], "fc1.weight" [out, in], "fc1.bias", "norm1.scale", ...
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

NORM_EPSILON = 1e-5
BATCH = 100                             # of images, so that the windows of a convolution stay in the cache

Parameters = dict[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """kind: conv, dense, norm, relu, pool (2 x 2 maximum), mean (over the map), flatten or residual.

    shape: of the weight, or the width of a norm.  padding: of a conv.  residual: the sum of what the layers `inner` and
    `shortcut` make of the same input (no shortcut: the input itself).
    """

    kind: str
    name: str = ""
    shape: tuple[int, ...] = ()
    padding: int = 0
    inner: tuple[Layer, ...] = ()
    shortcut: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Network:
    """A sequence of layers. side: of its images in pixels.  last_block: prefixes of the tensors of the last layers."""

    name: str
    side: int
    layers: tuple[Layer, ...]
    last_block: tuple[str, ...] = ()

    def all_layers(self) -> Iterator[Layer]:
        """Every layer, those of residual blocks among them."""
        stack = list(reversed(self.layers))
        while stack:
            layer = stack.pop()
            yield layer
            stack += reversed(layer.inner + layer.shortcut)


def _conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> tuple[Layer, ...]:
    return (Layer("conv", f"conv{name}", (outputs, inputs, kernel, kernel), kernel // 2),
            Layer("norm", f"norm{name}", (outputs,)))


def lenet(side: int = 28, widths: tuple[int, int] = (300, 100)) -> Network:
    """LeNet-300-100: three dense layers, 267 thousand parameters at side 28."""
    sizes = (side * side, *widths, 10)
    layers = [Layer("flatten")]
    for n, (inputs, outputs) in enumerate(pairwise(sizes), 1):
        layers += [Layer("dense", f"fc{n}", (outputs, inputs)), *([Layer("relu")] if n < 3 else [])]
    return Network(f"LeNet-{widths[0]}-{widths[1]}", side, tuple(layers), ("fc3.",))


def vgg(side: int = 14, widths: tuple[int, ...] = (12, 24, 48), dense: int = 96) -> Network:
    """Pairs of 3 x 3 convolutions, each normalised, with a maximum between pairs, and two dense layers."""
    layers, inputs = [], 1
    for n, outputs in enumerate(widths, 1):
        layers += [] if n == 1 else [Layer("pool")]
        layers += [*_conv(f"{n}a", inputs, outputs), Layer("relu"), *_conv(f"{n}b", outputs, outputs), Layer("relu")]
        inputs = outputs
    flat = inputs * (side >> len(widths) - 1) ** 2
    layers += [Layer("flatten"), Layer("dense", "fc1", (dense, flat)), Layer("relu"),
               Layer("dense", "fc2", (10, dense))]
    return Network("VGG-like", side, tuple(layers), ("fc",))


def resnet(side: int = 14, widths: tuple[int, ...] = (12, 24, 48)) -> Network:
    """A convolution, and a stage of one residual block for each width, the mean of the last maps, a dense layer."""
    layers, inputs = [*_conv("0", 1, widths[0]), Layer("relu")], widths[0]
    for n, outputs in enumerate(widths, 1):
        inner = (*_conv(f"{n}a", inputs, outputs), Layer("relu"), *_conv(f"{n}b", outputs, outputs))
        shortcut = _conv(f"{n}s", inputs, outputs, 1) if inputs != outputs else ()
        layers += [] if n == 1 else [Layer("pool")]
        layers += [Layer("residual", inner=inner, shortcut=shortcut), Layer("relu")]
        inputs = outputs
    layers += [Layer("mean"), Layer("dense", "fc", (10, inputs))]
    last = len(widths)
    return Network("ResNet-like", side, tuple(layers), (f"conv{last}", f"norm{last}", "fc"))


class NumpyOps:
    """The operations on float32 arrays [images, channels, height, width]."""

    @staticmethod
    def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
        n, _, height, width = windows.shape[:4]
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, -1)
        y = columns @ weight.reshape(len(weight), -1).T + bias
        return y.reshape(n, height, width, -1).transpose(0, 3, 1, 2)

    @staticmethod
    def dense(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return x @ weight.T + bias

    @staticmethod
    def norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        # Quantising can leave a variance below 0.
        gain = scale / np.sqrt(np.maximum(variance, 0) + np.float32(NORM_EPSILON))
        return x * gain[:, None, None] + (bias - mean * gain)[:, None, None]

    @staticmethod
    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    @staticmethod
    def pool(x: np.ndarray) -> np.ndarray:
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
        x = x[:, :, :height, :width]
        return x.reshape(*x.shape[:2], height // 2, 2, width // 2, 2).max(axis=(3, 5))


def parts(layer: Layer) -> tuple[str, ...]:
    """The names of a layer's tensors, in the order of its operation."""
    return {"conv": ("weight", "bias"), "dense": ("weight", "bias"),
            "norm": ("scale", "bias", "mean", "variance")}.get(layer.kind, ())


def forward(layers: tuple[Layer, ...], parameters: dict, x, ops=NumpyOps):
    """Scores [n, classes] of x [n, 1, side, side]; arrays or torch tensors, as `ops` takes them."""
    for layer in layers:
        own = [parameters[f"{layer.name}.{part}"] for part in parts(layer)]
        match layer.kind:
            case "conv":
                x = ops.conv(x, *own, layer.padding)
            case "flatten":
                x = x.reshape(len(x), -1)
            case "mean":
                x = x.reshape(*x.shape[:2], -1).mean(-1)
            case "residual":
                x = forward(layer.inner, parameters, x, ops) + forward(layer.shortcut, parameters, x, ops)
            case kind:
                x = getattr(ops, kind)(x, *own)
    return x


def initial(network: Network, seed: int) -> Parameters:
    """Random weights of variance 2 / inputs, biases 0, normalisations that change nothing."""
    rng, made = np.random.default_rng(seed), {}
    for layer in network.all_layers():
        for part in parts(layer):
            if part == "weight":
                value = rng.standard_normal(layer.shape) * math.sqrt(2 / math.prod(layer.shape[1:]))
            else:
                value = np.full(layer.shape[0], float(part in ("scale", "variance")))
            made[f"{layer.name}.{part}"] = value.astype(np.float32)
    return made


def accuracy(network: Network, parameters: Parameters, images: np.ndarray, labels: np.ndarray) -> float:
    """Percent of the images, float32 [n, 1, side, side], that are named correctly. Needs numpy only."""
    right = 0
    with np.errstate(over="ignore", invalid="ignore"):              # of what coarse quantising left
        for n in range(0, len(labels), BATCH):
            scores = forward(network.layers, parameters, images[n : n + BATCH])
            right += int((scores.argmax(axis=1) == labels[n : n + BATCH]).sum())
    return 100 * right / len(labels)
