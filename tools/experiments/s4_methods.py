"""The six kinds of update of S4: what is frozen, what is trained and from which start, and what is then sent.

A Trainable is one weight, as a matrix X [rows, columns], under one method.  Its `build` is plain array algebra: with
torch tensors for training, with numpy arrays for those who have only the free parameters.  No torch is needed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from networks import Layer, Network, Parameters

from refcodec.bitstream.structures import Representation
from refcodec.encoder.updates.factors import FactorUpdate, fit_random_mask, fit_row_mask, random_values
from refcodec.reconstruction.decomposition import decompose
from refcodec.reconstruction.random_integers import random_choice

METHODS = ("KA", "ML", "LRA", "RM", "LRU", "FP")
Arrays = dict[str, np.ndarray]
Free = dict[str, Arrays]                # what was trained, by tensor name


@dataclass(frozen=True)
class TrainedUpdate(FactorUpdate):
    """Factors that come from training, sent with a stated error.

    The library's own measure (balanced_error) is for factors that approximate a known difference: it would ask for
    float precision of factors that are exact.  noise: what quantising may add to the mean squared error of W'.
    """

    noise: float = 0.0

    def quantised(self, shape, error, decomposition=None):
        return super().quantised(shape, max(error, self.noise), decomposition)


@dataclass(frozen=True)
class Trainable:
    """free: starts of the trained arrays.  frozen: what the receiver has or makes of a seed.

    build: (frozen, free) -> W'.  representation: None where all elements are sent.  rows: those that FP
    keeps.  extra: further fields of the update.
    """

    representation: Representation | None
    free: Arrays
    frozen: Arrays
    build: Callable[[dict, dict], np.ndarray]
    rows: np.ndarray | None = None
    extra: dict = field(default_factory=dict)

    def update(self, free: Arrays, noise: float) -> FactorUpdate:
        """What a stream carries. free: as trained.  noise: mean squared error that quantising may add."""
        arrays = () if "mask" in self.frozen else tuple(free.values())
        return TrainedUpdate(self.representation, arrays, rows=self.rows, noise=noise, **self.extra)


def trainable(method: str, size: float, x: np.ndarray, seed: int, last: bool = False) -> Trainable:
    """A matrix under a method. x: float32 [rows, columns].  last: the classes, whose rows FP keeps.

    size: rank (ML, LRA, LRU), augmenting columns (KA), share of elements (RM) or of rows (FP); `whole` takes none.
    """
    if method == "whole":
        return Trainable(None, {"change": np.zeros_like(x)}, {"x": x}, lambda c, f: c["x"] + f["change"])
    if method == "RM":
        return _random_mask(x, size, seed)
    if method == "FP":
        return _filters(x, 1.0 if last else size)
    return {"KA": _augmentation, "ML": _mapping, "LRA": _low_rank, "LRU": _low_rank_update}[method](x, int(size), seed)


def trainables(network: Network, deployed: Parameters, method: str, size: float,
               seed: int) -> dict[str, Trainable]:
    """Each weight of a deployed network under a method, by tensor name."""
    names = [f"{x.name}.weight" for x in network.all_layers() if x.kind in ("conv", "dense")]
    matrices = {name: deployed[name].reshape(len(deployed[name]), -1) for name in names}
    return {name: trainable(method, size, matrices[name], 1000 * seed + k, name == names[-1])
            for k, name in enumerate(names)}


def vectors(network: Network, deployed: Parameters, made: dict[str, Trainable]) -> Parameters:
    """Biases and normalisations, which are trained and sent as they are; those of filters that FP removes are 0."""
    found = {name: a.copy() for name, a in deployed.items() if name not in made}
    layers = list(network.all_layers())
    for layer, after in zip(layers, [*layers[1:], Layer("end")]):
        weight = made.get(f"{layer.name}.weight")
        if weight is not None and weight.rows is not None:
            for name in (f"{layer.name}.bias", f"{after.name}.scale", f"{after.name}.bias"):
                if name in found:
                    found[name][~weight.rows] = 0
    return found


def rebuilt(deployed: Parameters, made: dict[str, Trainable], free: Free, others: Parameters) -> Parameters:
    """The refined network, its tensors in the order of the deployed one."""
    weights = {name: m.build(m.frozen, free[name]).reshape(deployed[name].shape) for name, m in made.items()}
    return {name: weights[name] if name in weights else others[name] for name in deployed}


def values_sent(made: dict[str, Trainable], others: Parameters) -> int:
    """Numbers that an update consists of, coded or not: the measure of the paper's figures."""
    weights = sum(int(m.frozen["mask"].sum()) if "mask" in m.frozen else sum(a.size for a in m.free.values())
                  for m in made.values())
    return weights + sum(a.size for a in others.values())


def _augmentation(x: np.ndarray, columns: int, seed: int) -> Trainable:
    # U and V frozen; t = s' - s starts at 0, U' at 0, V' at random
    parts = decompose(x.astype(np.float64))
    columns = min(columns, *x.shape)
    frozen = {"x": x, "u": np.ascontiguousarray(parts.left.T, np.float32), "v": parts.right.astype(np.float32)}
    free = {"t": np.zeros(len(parts.norms), np.float32)}
    if columns:
        free["left"] = np.zeros((len(x), columns), np.float32)
        right = np.random.default_rng(seed).standard_normal((columns, x.shape[1])) / np.sqrt(x.shape[1])
        free["right"] = right.astype(np.float32)

    def build(c, f):
        w = c["x"] + (c["u"] * f["t"]) @ c["v"]
        return w + f["left"] @ f["right"] if columns else w
    return Trainable(Representation.AUGMENTATION, free, frozen, build)


def _mapping(x: np.ndarray, rank: int, seed: int) -> Trainable:
    # W' = L R; R, the first rows of V^T, is frozen, L starts as the projection of X on it
    right = decompose(x.astype(np.float64)).right[: min(rank, *x.shape)].astype(np.float32)
    return Trainable(Representation.MAPPING, {"left": x @ right.T}, {"right": right},
                     lambda c, f: f["left"] @ c["right"], extra={"additive": False})


def _low_rank(x: np.ndarray, rank: int, seed: int) -> Trainable:
    # W' = L R, both from the singular value decomposition of X; never more values than X has
    u, s, vt = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    rank = max(1, min(rank, len(s), x.size // sum(x.shape)))
    root = np.sqrt(s[:rank])
    free = {"left": (u[:, :rank] * root).astype(np.float32), "right": (root[:, None] * vt[:rank]).astype(np.float32)}
    return Trainable(Representation.LOW_RANK, free, {}, lambda c, f: f["left"] @ f["right"])


def _low_rank_update(x: np.ndarray, rank: int, seed: int) -> Trainable:
    # W' = X + L R; R is random from the seed, L starts at 0
    rank = min(rank, *x.shape)
    frozen = {"x": x, "right": random_values(seed, rank, x.shape[1]).astype(np.float32)}
    return Trainable(Representation.LOW_RANK_UPDATE, {"left": np.zeros((len(x), rank), np.float32)}, frozen,
                     lambda c, f: c["x"] + f["left"] @ c["right"], extra={"seed": seed})


def _random_mask(x: np.ndarray, share: float, seed: int) -> Trainable:
    # the elements that the seed chooses are trained
    density = fit_random_mask(share, seed).density
    mask = random_choice(seed, density, x.size).reshape(x.shape).astype(np.float32)
    return Trainable(Representation.RANDOM_MASK, {"change": np.zeros_like(x)}, {"x": x, "mask": mask},
                     lambda c, f: c["x"] + c["mask"] * f["change"], extra={"seed": seed, "density": density})


def _filters(x: np.ndarray, share: float) -> Trainable:
    # the rows of the largest magnitudes are kept and trained, the others are 0
    rows = fit_row_mask(x, max(1, round(share * len(x)))).rows
    mask = np.repeat(rows[:, None], x.shape[1], axis=1).astype(np.float32)
    return Trainable(Representation.ROW_MASK, {"change": np.zeros_like(x)}, {"x": x * mask, "mask": mask},
                     lambda c, f: c["x"] + c["mask"] * f["change"], rows=rows)
