"""Makes a family of small classifiers with numpy alone: one base, models refined from it, and one that is unrelated.

    python tools/relatives.py OUT_FOLDER        writes name.npz for each and prints accuracies

Each is a network of three dense layers on the 8 x 8 digits of tests/data.  The relatives are the base, refined for a
few epochs on other images: shifted, noisy, inverted, of some digits only, with the last layer alone; one is refined
from a relative.  Seeds are fixed; a family takes about two seconds.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
from digits_data import DATA, TEST_SET

from refcodec import Model, Tensor

WIDTHS = (64, 192, 96, 10)
HELD_OUT = 60
BATCH = 20

Network = dict[str, np.ndarray]          # "fc1.weight" [out, in], "fc1.bias" [out], ...


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(images float32 [360, 64] in 0..1, labels [360]); the last HELD_OUT are not trained on."""
    with np.load(TEST_SET) as archive:
        return archive["images"].reshape(-1, 64).astype(np.float32) / np.float32(16), archive["labels"].astype(np.int64)


def network(seed: int) -> Network:
    """Random weights of the usual variance, biases of zero."""
    rng = np.random.default_rng(seed)
    made: Network = {}
    for n, (inputs, outputs) in enumerate(zip(WIDTHS, WIDTHS[1:]), 1):
        made[f"fc{n}.weight"] = (rng.standard_normal((outputs, inputs)) * np.sqrt(2 / inputs)).astype(np.float32)
        made[f"fc{n}.bias"] = np.zeros(outputs, np.float32)
    return made


def forward(net: Network, images: np.ndarray) -> list[np.ndarray]:
    """The activations of every layer, images first, scores last."""
    layers = [images]
    for n in range(1, len(WIDTHS)):
        x = layers[-1] @ net[f"fc{n}.weight"].T + net[f"fc{n}.bias"]
        layers.append(np.maximum(x, 0) if n + 1 < len(WIDTHS) else x)
    return layers


def train(net: Network, images: np.ndarray, labels: np.ndarray, epochs: int, rate: float, seed: int = 0,
          only: str = "") -> Network:
    """A copy of the network after `epochs` of Adam on batches; only: the prefix of the tensors that move."""
    net = {name: x.copy() for name, x in net.items()}
    first = {name: np.zeros_like(x) for name, x in net.items()}
    second = {name: np.zeros_like(x) for name, x in net.items()}
    rng, step = np.random.default_rng(seed), 0
    for _ in range(epochs):
        for batch in np.split(rng.permutation(len(labels)), range(BATCH, len(labels), BATCH)):
            step += 1
            for name, gradient in gradients(net, images[batch], labels[batch]).items():
                if name.startswith(only):
                    first[name] += 0.1 * (gradient - first[name])
                    second[name] += 0.001 * (gradient**2 - second[name])
                    moved = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
                    net[name] -= (rate * moved).astype(np.float32)
    return net


def gradients(net: Network, images: np.ndarray, labels: np.ndarray) -> Network:
    """Of the mean cross entropy."""
    layers = forward(net, images)
    scores = np.exp(layers[-1] - layers[-1].max(axis=1, keepdims=True))
    delta = scores / scores.sum(axis=1, keepdims=True)
    delta[range(len(labels)), labels] -= 1
    delta /= len(labels)
    found: Network = {}
    for n in range(len(WIDTHS) - 1, 0, -1):
        found[f"fc{n}.weight"], found[f"fc{n}.bias"] = delta.T @ layers[n - 1], delta.sum(axis=0)
        delta = (delta @ net[f"fc{n}.weight"]) * (layers[n - 1] > 0)
    return found


def family() -> dict[str, Network]:
    """Name to network: the base is neither first nor last."""
    images, labels = digits()
    images, labels = images[:-HELD_OUT], labels[:-HELD_OUT]
    rng = np.random.default_rng(5)
    shifted = np.roll(images.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
    noisy = (images + rng.normal(0, 0.15, images.shape)).astype(np.float32)
    small = labels < 5
    base = train(network(1), images, labels, 20, 1e-3)
    made = {
        "shifted": train(base, shifted, labels, 3, 1e-4, 2), "noisy": train(base, noisy, labels, 3, 1e-4, 3),
        "base": base, "inverted": train(base, 1 - images, labels, 3, 1e-4,
                                        4), "few": train(base, images[small], labels[small], 2, 1e-4,
                                                         5), "head": train(base, noisy, labels, 3, 1e-3, 6, only="fc3"),
        "unrelated": train(network(77), images, labels, 20, 1e-3, 7)
    }
    made["shifted_noisy"] = train(made["shifted"], np.roll(noisy.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64), labels,
                                  1, 5e-5, 8)
    return made


def models() -> list[Model]:
    """The family as models."""
    return [Model([Tensor(k, v) for k, v in net.items()], name) for name, net in family().items()]


def accuracy(net: Network) -> float:
    """Share of the held-out digits that are named correctly."""
    images, labels = digits()
    return float(np.mean(forward(net, images[-HELD_OUT:])[-1].argmax(axis=1) == labels[-HELD_OUT:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path, nargs="?", default=DATA.parent.parent / "build" / "relatives")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, net in family().items():
        np.savez(folder / f"{name}.npz", **net)
        print(f"{name}.npz: {sum(x.size for x in net.values())} weights, accuracy {accuracy(net):.3f}")


if __name__ == "__main__":
    main()
