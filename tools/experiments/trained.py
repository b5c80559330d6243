"""The trained models of S1 and S2: made once and kept, or read from the committed weights.

A workload is a network with the images that it sees.  Its models, all of one seed, come in groups: `sequence`, `tasks`
and `pruned`.  In quick mode the groups of the two small workloads are read from `weights/`.
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from data import TASKS, Images, test_images, training_images
from networks import Network, Parameters, accuracy, lenet, parts, resnet, vgg
from section import Context

BASE_RATE, REFINING_RATE = 1e-3, 5e-4
IMAGES = 2000                           # of training, at most
LONG, SHORT = 20, 15                    # epochs: of the newest version, and of the one before it
PARTIAL_EPOCHS, SPARSE_EPOCHS = 5, 3
SEQUENTIAL = ("rotated", "inverted", "parity")


@dataclass(frozen=True)
class Workload:
    """base_epochs: of training on half of the images, which makes the base.  task_epochs: of refining to a task."""

    network: Network
    base_epochs: int = 5
    task_epochs: int = 8

    @property
    def test(self) -> Images:
        return test_images(self.network.side)

    @property
    def training(self) -> Images:
        return training_images(self.network.side).first(IMAGES)

    def accuracy(self, parameters: Parameters, task: str = "upright") -> float:
        """Percent of the held-out images of a task."""
        test = self.test.task(task)
        return accuracy(self.network, parameters, test.images, test.labels)


@functools.cache
def workload(name: str) -> Workload:
    """One of lenet, vgg, resnet (28 x 28 and 14 x 14 digits), small-lenet, small-resnet (8 x 8 digits)."""
    match name:
        case "lenet":
            return Workload(lenet())
        case "vgg":
            return Workload(vgg())
        case "resnet":
            return Workload(resnet())
        case "small-lenet":
            return Workload(lenet(8, (96, 48)), 20, 30)
        case "small-resnet":
            return Workload(resnet(8, (8, 16, 32)), 20, 30)
    raise ValueError(f"there is no workload {name!r}")


def sequence(context: Context, name: str, seed: int) -> dict[str, Parameters]:
    """Versions of one model: base, epoch15 and epoch20 of its refinement, and partial, its last block retrained."""
    def make() -> dict[str, Parameters]:
        from training import train, trained

        w = workload(name)
        base = trained(w.network, w.training.first(len(w.training) // 2), w.base_epochs, BASE_RATE, seed)
        refined = train(w.network, base, w.training, LONG, REFINING_RATE, seed + 100, keep=(SHORT,))
        partial = train(w.network, base, w.training, PARTIAL_EPOCHS, REFINING_RATE, seed + 200, w.network.last_block)
        return {"base": base, "epoch15": refined[SHORT], "epoch20": refined[LONG], "partial": partial[PARTIAL_EPOCHS]}

    return _stored(context, f"{name}-sequence-{seed}", make)


def tasks(context: Context, name: str, seed: int) -> dict[str, Parameters]:
    """The model of epoch 20, refined for each of TASKS: 'rotated' ...; of SEQUENTIAL also half-way, 'rotated-half'."""
    def make() -> dict[str, Parameters]:
        from training import train

        w, start, made = workload(name), sequence(context, name, seed)["epoch20"], {}
        for n, task in enumerate(TASKS):
            first = _two_classes(start, w.network, seed) if task == "parity" else start
            versions = train(w.network, first, w.training.task(task), w.task_epochs, REFINING_RATE, seed + 300 + n,
                             keep=(w.task_epochs // 2,))
            made[task] = versions[w.task_epochs]
            if task in SEQUENTIAL:
                made[f"{task}-half"] = versions[w.task_epochs // 2]
        return made

    return _stored(context, f"{name}-tasks-{seed}", make)


def pruned(context: Context, name: str, seed: int) -> dict[str, Parameters]:
    """P5 and P2 of epoch 15, P5 and P2 of epoch 20: 50 % and 20 % of the weights kept, then refined as they are."""
    def make() -> dict[str, Parameters]:
        from training import train

        w, versions, made = workload(name), sequence(context, name, seed), {}
        for epoch in ("epoch15", "epoch20"):
            for share, label in ((0.5, "P5"), (0.2, "P2")):
                start = prune(versions[epoch], share)
                sparse = train(w.network, start, w.training, SPARSE_EPOCHS, REFINING_RATE, seed + 400, sparse=True)
                made[f"{label}-{epoch}"] = sparse[SPARSE_EPOCHS]
        return made

    return _stored(context, f"{name}-pruned-{seed}", make)


def prune(parameters: Parameters, share: float) -> Parameters:
    """Of all matrices together the largest weights are kept, the others are 0. share: of what is kept."""
    magnitudes = np.concatenate([np.abs(x).reshape(-1) for x in parameters.values() if x.ndim > 1])
    least = np.quantile(magnitudes, 1 - share)
    return {name: np.where(np.abs(x) >= least, x, np.float32(0)) if x.ndim > 1 else x for name, x in parameters.items()}


def _two_classes(start: Parameters, network: Network, seed: int) -> Parameters:
    """The parameters with a new last layer of two outputs."""
    head = network.layers[-1]
    rng = np.random.default_rng(seed)
    new = {"weight": 0.1 * rng.standard_normal((2, head.shape[1])), "bias": np.zeros(2)}
    return start | {f"{head.name}.{part}": new[part].astype(np.float32) for part in parts(head)}


def _stored(context: Context, key: str, make: Callable[[], dict[str, Parameters]]) -> dict[str, Parameters]:
    """A group of models from its file; it is made first where it is missing, unless the mode is quick."""
    path = (context.weights if context.quick else context.cache) / f"{key}.npz"
    if not path.exists():
        if context.quick:
            raise FileNotFoundError(f"{path} is missing; tools/experiments/make_weights.py makes it")
        _save(path, make())
    found: dict[str, Parameters] = {}
    with np.load(path) as archive:
        for entry in archive.files:
            model, _, tensor = entry.partition("/")
            found.setdefault(model, {})[tensor] = archive[entry]
    return found


def _save(path: pathlib.Path, group: dict[str, Parameters]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(partial, **{f"{model}/{tensor}": x for model, p in group.items() for tensor, x in p.items()})
    partial.replace(path)
