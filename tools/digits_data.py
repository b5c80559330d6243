"""The held-out digits that ship with the repository, and the accuracy of a classifier on them.

`tests/data/digits_test.npz` holds 360 of scikit-learn's 1797 handwritten digits (8 x 8, values 0..16), none of
which the models of `train_digits.py` have seen.  Needs numpy and onnx only.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
TEST_SET = DATA / "digits_test.npz"


def to_input(images: np.ndarray) -> np.ndarray:
    """Images of values 0..16, shape [n, 8, 8] -> the network's input, float32 of shape [n, 1, 8, 8]."""
    return (images.astype(np.float32) / np.float32(16))[:, None]


def accuracy(model_path: str | pathlib.Path) -> float:
    """Share of the held-out digits that an ONNX classifier of [n, 1, 8, 8] -> [n, 10] names correctly."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    with np.load(TEST_SET) as archive:
        images, labels = archive["images"], archive["labels"]
    network = ReferenceEvaluator(onnx.load(model_path))
    scores, = network.run(None, {network.input_names[0]: to_input(images)})
    return float(np.mean(scores.argmax(axis=1) == labels))


if __name__ == "__main__":
    for path in sys.argv[1:] or sorted(DATA.glob("digits_v?.onnx")):
        print(f"{accuracy(path):.4f}  {path}")
