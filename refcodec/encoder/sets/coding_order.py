"""Sets of models in one stream: which is coded first, and which each other is predicted from (informative).

Model compression for sets (IEEE TCSVT 2020) codes a root alone and the others as differences from it.  The root is the
model with the smallest Kullback-Leibler distance to the others ('kl'), or that with which the set takes the fewest
bytes ('size').  'auto' is not bound to one root: of all ways to predict each model from one other or from none it
takes the cheapest, a spanning tree of least cost from a virtual model of zeros.  Bytes are estimated by coding a
sample of every tensor with the coders themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...entropy.context_coding import cost_levels_cc, new_cc_contexts
from ...entropy.words import estimate_bits
from ...errors import ConfigError
from ...fold import Fold
from ...model import Model, Tensor
from ...parallel import run_all
from ...prediction import fitted
from ...reconstruction import folded
from ..config import Config
from ..config_parts import DECIMAL_QUANTISERS
from ..treatment import Treatment, folds_of, is_finite, roles_of, treatment
from .arborescence import minimal_parents
from .laplacian import kl_histogram

SAMPLE = 1 << 14            # elements of a tensor that are coded for an estimate
COPY_BITS = 64.0            # a tensor that is a copy
UNSHARED_NATS = 4.0         # distance of a weight that the other model does not have
COMPARED_ALL = 8            # up to so many models every one may predict every other,
CANDIDATES = 4              # else these many, nearest to the others by distance
WORTH = 0.995               # a reference, a second one, or a tree instead of a star must save half a percent
REFERENCES = 2              # models that one model is predicted from, at most,
SHALLOW = 4                 # and one only where predictions go through more than so many: decoding work multiplies
LONGEST = 60                # models (and quality layers) in a chain of predictions; levels allow 64


@dataclass
class SetPlan:
    """How a set is coded. Models are named by their position in the set as it was given.

    order: positions in the order of the stream, the root first.  references: for each position those of the models it
    is predicted from, all earlier in the order, the best first; () for the root and for what nothing predicts.
    estimate: for each position its estimated size in bits (0 where nothing was estimated).
    """

    order: list[int]
    references: list[tuple[int, ...]]
    estimate: list[float]

    @property
    def root(self) -> int:
        return self.order[0]

    def distances(self, position: int) -> list[int]:
        """model_distance of each reference of a model: how many models earlier it stands (SPEC 7.3)."""
        place = {p: n for n, p in enumerate(self.order)}
        return [place[position] - place[r] for r in self.references[position]]

    def depths(self) -> list[int]:
        """For each position how many models its predictions go through, itself included."""
        found = [1] * len(self.order)
        for p in self.order:
            found[p] = 1 + max((found[r] for r in self.references[p]), default=0)
        return found

    def last_use(self, position: int) -> int:
        """The place in the order after which a decoded model is not asked for any more."""
        users = [n for n, p in enumerate(self.order) if position in self.references[p]]
        return max([self.order.index(position), *users])


def chain_plan(count: int, longest: int = LONGEST) -> SetPlan:
    """Versions in order: each model is predicted from the one before, but the first of every `longest` from none."""
    return SetPlan(list(range(count)), [(i - 1,) if i % longest else () for i in range(count)], [0.0] * count)


def plan_set(models: Sequence[Model], root: str | None = "auto", config: Config | None = None,
             steps: Sequence[float | None] | None = None) -> SetPlan:
    """The order of the models in the stream, and what each is predicted from.

    root: 'auto', 'kl', 'size', or the name or number of a model; None: chain_plan, the models are versions.
    config: says which tensors are quantised.  steps: quantiser step of each model (None: lossless); nominal_step for
    all if None.
    Raises ConfigError for a name that no model, or more than one, has.
    """
    config = config or Config()
    if root is None or len(models) < 2:
        return chain_plan(len(models), max(1, LONGEST // config.units.quality_layers))
    steps = list(steps) if steps is not None else [nominal_step(config)] * len(models)
    relatives = [Relative(m, config, step) for m, step in zip(models, steps)]
    if root not in ("auto", "kl", "size"):
        return _star(_costs(relatives, [position_of(models, root)], config.threads), position_of(models, root))
    predicting = list(range(len(models)))
    if root == "kl" or len(models) > COMPARED_ALL:
        nearest = [int(i) for i in np.argsort(kl_matrix(models).sum(axis=1), kind="stable")]
        if root == "kl":
            return _star(_costs(relatives, nearest[:1], config.threads), nearest[0])
        predicting = nearest[:CANDIDATES]
    costs = _costs(relatives, predicting, config.threads)
    star = min((_star(costs, i) for i in predicting), key=lambda plan: sum(plan.estimate))
    if root == "size":
        return star
    tree = _tree(costs, star.root)
    short = max(tree.depths()) * config.units.quality_layers <= LONGEST
    return tree if short and sum(tree.estimate) < WORTH * sum(star.estimate) else star


def nominal_step(config: Config) -> float | None:
    """The step for estimates: the configuration's, or that of its decimal quantiser; None for the others."""
    own = config.own_quantiser
    return 10.0**-own.decimal_exponent if isinstance(own, DECIMAL_QUANTISERS) else config.aim.step


def position_of(models: Sequence[Model], name: str) -> int:
    """The position of the one model with this name, or of this number counted from 0. Raises ConfigError."""
    found = [i for i, m in enumerate(models) if m.name == name]
    if not found and name.isdecimal() and int(name) < len(models):
        return int(name)
    if len(found) != 1:
        raise ConfigError("BAD_CONFIG", f"{len(found) or 'no'} models are named {name!r}; the names are "
                          f"{[m.name for m in models]}")
    return found[0]


# Kullback-Leibler distance

def kl_matrix(models: Sequence[Model]) -> np.ndarray:
    """Distance in nats per element of model j (column) from model i (row) that predicts it.

    The mean, over the float elements of j, of the divergence of the histograms of j's tensor from that of the tensor
    of i of the same name and shape; UNSHARED_NATS where there is none.  It compares distributions, not elements: models
    that were trained independently can be near each other, and then predict nothing.
    """
    floats = [{t.name: t for t in m.tensors if t.dtype.kind == "f" and t.size} for m in models]
    matrix = np.zeros((len(models), len(models)))
    for j, own in enumerate(floats):
        for name, tensor in own.items():
            values = tensor.array
            for i, other in enumerate(floats):
                partner = other.get(name)
                if i != j:
                    shared = partner is not None and partner.shape == tensor.shape
                    nats = kl_histogram(values, partner.array) if partner and shared else UNSHARED_NATS
                    matrix[i, j] += nats * tensor.size
        matrix[:, j] /= max(1, sum(t.size for t in own.values()))
    return matrix


# Sizes, by coding samples

class Relative:
    """A model of the set as the estimates see it: the samples of its tensors, folded."""

    def __init__(self, model: Model, config: Config, step: float | None):
        config = Config(step=step, rules=config.rules) if step is not None else Config()
        self.model, self.step = model, step
        self.folds = folds_of(model)
        self.treatments = [treatment(t, r, config) for t, r in zip(model.tensors, roles_of(model))]
        self.names = {t.name: i for i, t in enumerate(model.tensors)}

    def partner(self, tensor: Tensor, index: int) -> int | None:
        """The tensor of this model that predicts one of another: of the same name, else at the same place."""
        k = self.names.get(tensor.name, index)
        if k >= len(self.model.tensors) or tensor.size == 0:
            return None
        other = self.model.tensors[k]
        return k if other.dtype == tensor.dtype and len(other.shape) == len(tensor.shape) else None

    def intra_bits(self, index: int) -> float:
        """Estimated bits of a tensor by itself."""
        tensor = self.model.tensors[index]
        own = sample(tensor.words, tensor, self.folds[index])
        return _scaled(self._bits(index, tensor, own, None, None), own, tensor)

    def inter_bits(self, index: int, reference: Relative) -> float:
        """Estimated bits of a tensor predicted from another model; infinite where that has none that fits."""
        tensor = self.model.tensors[index]
        k = reference.partner(tensor, index)
        if k is None:
            return math.inf
        other, parts, words = reference.model.tensors[k], tensor.dtype.parts, tensor.words
        base = fitted(other.words.reshape(*other.shape, parts), (*tensor.shape, parts)).reshape(-1)
        if other.shape == tensor.shape and np.array_equal(words, base):
            return COPY_BITS
        own, predictor = (sample(w, tensor, self.folds[index]) for w in (words, base))
        return _scaled(self._bits(index, tensor, own, predictor, reference.step), own, tensor)

    def _bits(self, index: int, tensor: Tensor, own: np.ndarray, predictor: np.ndarray | None,
              reference_step: float | None) -> float:
        if own.size == 0:
            return 0.0
        if self.treatments[index] != Treatment.QUANTISE or not is_finite(own.view(tensor.dtype.numpy)):
            return estimate_bits(own, predictor, tensor.dtype)
        assert self.step is not None           # else nothing is quantised
        values = own.view(tensor.dtype.numpy).astype(np.float64)
        if predictor is not None:             # what the decoder will have of it is quantised too
            base = np.nan_to_num(predictor.view(tensor.dtype.numpy).astype(np.float64), posinf=0.0, neginf=0.0)
            values -= base if reference_step is None else np.rint(base / reference_step) * reference_step
        levels = np.rint(values / self.step).clip(-(1 << 30) + 1, (1 << 30) - 1).astype(np.int32)
        return float(cost_levels_cc(levels, 0, 1, new_cc_contexts()))


def sample(words: np.ndarray, tensor: Tensor, fold: Fold) -> np.ndarray:
    """Rows from the middle of a tensor's matrix, about SAMPLE elements; unsigned words [rows, columns]."""
    matrix = folded(words, tensor.shape, tensor.dtype.parts, fold, 0)
    rows = max(1, min(matrix.shape[0], SAMPLE // max(1, matrix.shape[1])))
    first = (matrix.shape[0] - rows) // 2
    return np.ascontiguousarray(matrix[first : first + rows, :SAMPLE])


def _scaled(bits: float, part: np.ndarray, tensor: Tensor) -> float:
    return bits * tensor.size * tensor.dtype.parts / max(1, part.size)


@dataclass
class Costs:
    """alone: bits of each tensor of each model.  given[i, j]: of those of model j, predicted from i."""

    alone: list[np.ndarray]
    given: dict[tuple[int, int], np.ndarray]

    def bits(self, j: int, references: Sequence[int] = ()) -> float:
        """Model j, each tensor from the reference that predicts it best, or from none."""
        return float(np.min([self.alone[j], *(self.given[i, j] for i in references)], axis=0).sum())

    def helps(self, i: int, j: int) -> bool:
        """True if predicting model j from i saves enough to be sure, given what estimates are worth."""
        return self.bits(j, [i]) < WORTH * self.bits(j)


def _costs(relatives: Sequence[Relative], predicting: Sequence[int], threads: int) -> Costs:
    """Estimates for every model alone, and predicted from each model of `predicting`."""
    alone = run_all(lambda r: np.array([r.intra_bits(k) for k in range(len(r.model.tensors))]), relatives, threads)
    pairs = [(i, j) for i in predicting for j in range(len(relatives)) if i != j]

    def given(pair: tuple[int, int]) -> np.ndarray:
        reference, own = relatives[pair[0]], relatives[pair[1]]
        return np.array([own.inter_bits(k, reference) for k in range(len(own.model.tensors))])

    return Costs(alone, dict(zip(pairs, run_all(given, pairs, threads))))


# Plans

def _star(costs: Costs, root: int) -> SetPlan:
    """Every model from the root, unless that does not help it."""
    count = len(costs.alone)
    references: list[tuple[int, ...]] = [(root,) if j != root and costs.helps(root, j) else () for j in range(count)]
    order = [root, *(j for j in range(count) if j != root)]
    return SetPlan(order, references, [costs.bits(j, references[j]) for j in range(count)])


def _tree(costs: Costs, favourite: int) -> SetPlan:
    """Every model from the one that makes the whole set cheapest, and from a second one where that pays.

    favourite: the root unless another saves half a percent; differences cost much the same in both directions, and
    a root in the middle makes short chains.
    """
    count = len(costs.alone)
    weight = np.full((count + 1, count), math.inf)          # last row: from nothing
    weight[count] = [costs.bits(j) for j in range(count)]
    for i, j in costs.given:
        if costs.helps(i, j):
            weight[i, j] = costs.bits(j, [i])
    weight[count, favourite] -= (1 - WORTH) * weight[:count].min(axis=0, initial=weight[count, favourite]).sum()
    parents = minimal_parents(weight)
    order = _depth_first(parents)
    references: list[tuple[int, ...]] = [()] * count
    depth = [0] * count
    for place, j in enumerate(order):
        chosen = [] if parents[j] == count else [parents[j]]
        others = [i for i in order[:place] if (i, j) in costs.given and i not in chosen and depth[i] < SHALLOW]
        while chosen and others and len(chosen) < REFERENCES and depth[chosen[0]] < SHALLOW:
            best = min(others, key=lambda i: costs.bits(j, [*chosen, i]))
            if costs.bits(j, [*chosen, best]) > WORTH * costs.bits(j, chosen):
                break
            chosen.append(best)
            others.remove(best)
        references[j] = tuple(chosen)
        depth[j] = 1 + max((depth[i] for i in chosen), default=0)
    return SetPlan(order, references, [costs.bits(j, references[j]) for j in range(count)])


def _depth_first(parents: Sequence[int]) -> list[int]:
    """Parents before children, small branches first, so that few models wait to be referred to; the largest tree
    first."""
    children: dict[int, list[int]] = {}
    for j, parent in enumerate(parents):
        children.setdefault(parent, []).append(j)

    def branch(i: int) -> list[int]:
        branches = sorted((branch(j) for j in children.get(i, ())), key=len)
        return [i, *(j for b in branches for j in b)]

    trees = sorted((branch(i) for i in children[len(parents)]), key=len, reverse=True)
    return [j for tree in trees for j in tree]
