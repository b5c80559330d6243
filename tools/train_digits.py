"""Trains the bundled pair of models: a small CNN on scikit-learn's digits.

    pip install -e '.[training]' && python tools/train_digits.py [--out tests/data]

V1 learns from 20 % of the training images; V2 is V1 refined on all of them.  360 images are held out and written
beside the models (digits_data.py measures accuracy on them).  Seeds are fixed and one thread is used.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import onnx
import torch
from digits_data import DATA, accuracy, to_input
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

SEED = 2024
TEST_IMAGES = 360
SHARE_OF_V1 = 0.2


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training images, training labels, test images, test labels) in one seeded order."""
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    images, labels = digits.images.astype(np.uint8)[order], digits.target.astype(np.uint8)[order]
    return images[TEST_IMAGES:], labels[TEST_IMAGES:], images[:TEST_IMAGES], labels[:TEST_IMAGES]


def network() -> nn.Sequential:
    """Two convolutions with normalisation, two dense layers: 38 thousand parameters."""
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
                         nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))


def train(model: nn.Module, images: np.ndarray, labels: np.ndarray, epochs: int, rate: float) -> None:
    """Adam on batches of 32, shuffled by a seeded generator."""
    inputs, targets = torch.from_numpy(to_input(images)), torch.from_numpy(labels.astype(np.int64))
    shuffle = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs), generator=shuffle).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimiser.step()
    model.eval()


def node_of(layer: nn.Module) -> tuple[str, dict[str, torch.Tensor], dict]:
    """(ONNX operator, its tensors in order of input, its attributes) of one layer."""
    match layer:
        case nn.Conv2d():
            return "Conv", {"weight": layer.weight, "bias": layer.bias}, dict(
                kernel_shape=list(layer.kernel_size), pads=[1, 1, 1, 1], strides=list(layer.stride))
        case nn.BatchNorm2d():
            return "BatchNormalization", {"scale": layer.weight, "bias": layer.bias, "mean": layer.running_mean,
                                          "variance": layer.running_var}, dict(epsilon=layer.eps)
        case nn.Linear():
            return "Gemm", {"weight": layer.weight, "bias": layer.bias}, dict(transB=1)
        case nn.ReLU():
            return "Relu", {}, {}
        case nn.Flatten():
            return "Flatten", {}, {}
    raise TypeError(f"no ONNX operator for {layer}")


def to_onnx(model: nn.Sequential, name: str) -> onnx.ModelProto:
    """The network as an ONNX graph, one node per layer."""
    nodes, initializers, current = [], [], "image"
    for index, layer in enumerate(model):
        operator, tensors, attributes = node_of(layer)
        title = f"{index}.{operator}"
        for suffix, tensor in tensors.items():
            initializers.append(numpy_helper.from_array(tensor.detach().numpy(), f"{title}.{suffix}"))
        inputs = [current, *(f"{title}.{suffix}" for suffix in tensors)]
        current = "scores" if index == len(model) - 1 else f"{title}.output"
        nodes.append(helper.make_node(operator, inputs, [current], title, **attributes))
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])], initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="tools/train_digits.py")
    onnx.checker.check_model(proto)
    return proto


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=DATA)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    images, labels, test_images, test_labels = split()
    np.savez_compressed(folder / "digits_test.npz", images=test_images, labels=test_labels)
    first = int(len(images) * SHARE_OF_V1)
    model = network()
    train(model, images[:first], labels[:first], epochs=20, rate=1e-3)
    onnx.save(to_onnx(model, "digits_v1"), folder / "digits_v1.onnx")
    train(model, images, labels, epochs=8, rate=2e-4)
    onnx.save(to_onnx(model, "digits_v2"), folder / "digits_v2.onnx")
    for version in ("digits_v1.onnx", "digits_v2.onnx"):
        path = folder / version
        print(f"{path.name}: {path.stat().st_size} bytes, accuracy {accuracy(path):.4f}")


if __name__ == "__main__":
    main()
