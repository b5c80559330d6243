"""What the layers of a network take in, as moments: for each weight, or for two of a recurrent layer together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from ..reconstruction import folded
from .callable import CallableNetwork
from .layer_bias import Bias, bias_of
from .layer_inputs import input_rows
from .layers import GATES
from .moments import Moments, with_floor
from .network import Network, Use
from .runtime import Arrays

MOST = 8192                     # samples of a layer's inputs, over all runs
TOGETHER = 2048                 # of them are multiplied at once
LEAST = 16                      # from which feedback is tried at all
KEPT_BYTES_MAX = 1 << 29        # of moments of the original network, for other candidates


@dataclass
class Part:
    """A tensor's columns of the matrix that is quantised.  moment: the mean of those of its inputs."""

    tensor: str
    columns: slice
    moment: float


@dataclass
class LayerInputs:
    """weights: coded matrix, outputs as rows, float64; or two, side by side.  second, drift: as moments.py has them, in
    the order of its columns, without the means where there is a bias to make up for them.  mean, mean_before: of the
    inputs, now and of the original, by groups."""

    weights: np.ndarray
    parts: list[Part]
    scan: int
    count: int
    second: np.ndarray
    drift: np.ndarray | None
    mean: np.ndarray
    mean_before: np.ndarray
    bias: Bias | None

    def product(self, weights: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Weights times a mean input: [outputs]."""
        grouped = weights.reshape(len(mean), -1, weights.shape[1])
        return np.asarray(np.einsum("gri,gi->gr", grouped, mean)).reshape(-1)


class Sums:
    """Sums over the samples of all uses and runs."""

    def __init__(self) -> None:
        self.count = 0
        self.now: list[Moments] = []
        self.cross: np.ndarray | None = None
        self.total: np.ndarray | None = None
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, before: np.ndarray, now: np.ndarray) -> None:
        """Vectors of the original and of now, of the same positions: [groups, samples, inputs]."""
        self._waiting.append((before, now))
        if sum(x.shape[1] for _, x in self._waiting) >= TOGETHER:
            self._add_up()

    def _add_up(self) -> None:
        """Products of few samples each would take longer."""
        if not self._waiting:
            return
        before, now = (_together(several, axis=1) for several in zip(*self._waiting))
        self._waiting.clear()
        self.now.append(Moments.of([now], least=1))
        cross, total = np.matmul(before.transpose(0, 2, 1), now), before.sum(axis=1)
        self.cross = cross if self.cross is None else self.cross + cross
        self.total = total if self.total is None else self.total + total
        self.count += now.shape[1]

    def settled(self, matrices: Mapping[str, np.ndarray], scan: int, bias: Bias | None, *, correctable: bool
                ) -> LayerInputs:
        self._add_up()
        if self.count < LEAST or self.cross is None or self.total is None:
            raise ConfigError("UNSUPPORTED_LAYER", f"it has {self.count} samples of inputs, {LEAST} are the least")
        mean = np.asarray(sum(m.mean * m.count for m in self.now) / self.count)
        plain = np.asarray(sum(m.second * m.count for m in self.now) / self.count)
        before, moments = self.total / self.count, np.einsum("gii->i", plain) / len(plain)
        parts, first = [], 0
        for tensor, matrix in matrices.items():
            columns = slice(first, first + matrix.shape[1])
            parts.append(Part(tensor, columns, float(moments[columns].mean())))
            first = columns.stop
        if not all(part.moment > 0 for part in parts):
            raise ConfigError("UNSUPPORTED_LAYER", "its inputs are all zero")
        second, drift = plain, self.cross / self.count - plain
        if bias is not None:
            second = second - mean[:, :, None] * mean[:, None, :]
            drift = drift - (before - mean)[:, :, None] * mean[:, None, :]
        weights = np.concatenate(list(matrices.values()), axis=1)
        return LayerInputs(weights, parts, scan, self.count, with_floor(second), drift if correctable else None, mean,
                            before, bias)


@dataclass
class Kept:
    """Moments of the inputs of layers in the original network, by tensor name; or why there are none."""

    found: dict[str, LayerInputs | ConfigError] = field(default_factory=dict)

    def keep(self, name: str, layer: LayerInputs | ConfigError) -> None:
        held = sum(x.second.nbytes for x in self.found.values() if isinstance(x, LayerInputs))
        if isinstance(layer, ConfigError) or held + layer.second.nbytes <= KEPT_BYTES_MAX:
            self.found[name] = layer


class Inputs:
    """Two walks through a network side by side: as it was, and as it is quantised so far; or only the one.

    following: the inputs are those of the network as it is quantised so far, and drift says how far they are from the
    original's. kept: where they are the original's, what was found before. biases: False: none is changed.
    """

    def __init__(self, network: Network, following: bool, kept: Kept, *, biases: bool = True):
        self.network, self.following, self.kept, self.biases = network, following, kept, biases
        self.before = network.walk()
        self.now = network.walk() if following else self.before

    def of(self, name: str, measured: Mapping[str, float]) -> LayerInputs:
        """Moments of what a tensor is multiplied with, over all its uses; of a recurrent layer with those of the other.

        measured: the tensors that are quantised.
        Raises ConfigError UNSUPPORTED_LAYER where they are not known, or cannot be those of one matrix.
        """
        if self.following:
            return self._of(name, measured)
        found = self.kept.found.get(name)
        if found is None:
            try:
                found = self._of(name, measured)
            except ConfigError as error:
                found = error
            self.kept.keep(name, found)
        if isinstance(found, ConfigError):
            raise found
        return found

    def go_on(self, changes: Arrays) -> None:
        """Quantised tensors take the place of the original for all layers to come."""
        for walk in self.now if self.following else []:
            walk.replace(changes)

    def _of(self, name: str, measured: Mapping[str, float]) -> LayerInputs:
        uses = self.network.uses(name)
        if not uses:
            raise ConfigError("UNSUPPORTED_LAYER", "it is the matrix of no layer that can be captured")
        if any(use.place.scan != uses[0].place.scan for use in uses):
            raise ConfigError("UNSUPPORTED_LAYER", "layers that share it multiply it from either side")
        together = {name: uses, **self._partner(uses, measured)}
        matrices = {tensor: matrix_of(self.network, tensor, uses[0].place.scan) for tensor in together}
        sums = Sums()
        for several in zip(*together.values()):
            groups = groups_of(several[0], matrices[name].shape[0])
            rows = [self._rows(use, groups, MOST // (len(use.course.runs) * len(uses))) for use in several]
            for pairs in zip(*rows):
                sums.add(*(_together(arrays, axis=2) for arrays in zip(*pairs)))
        bias = bias_of(self.network, uses[0]) if self.biases and len(uses) == 1 else None
        return sums.settled(matrices, uses[0].place.scan, bias, correctable=self.following and len(uses) == 1)

    def _partner(self, uses: list[Use], measured: Mapping[str, float]) -> dict[str, list[Use]]:
        """The recurrent weights beside the input weights of a layer, whose products are added up; or nothing."""
        layer, place = uses[0].layer, uses[0].place
        if len(uses) > 1 or layer.op not in GATES or layer.side != 1:
            return {}
        other = next((x for x in uses[0].course.wiring.layers if x.at == layer.at and x.side == 2), None)
        if other is None or len(other.tensors) > 1 or other.tensors == layer.tensors:
            return {}
        if other.tensors[0] not in measured:
            return {}
        theirs = self.network.uses(other.tensors[0])
        if len(theirs) != 1 or theirs[0].place.scan != place.scan:
            return {}
        same = (np.array_equal(theirs[0].place.groups, place.groups)
                and np.array_equal(theirs[0].place.outputs, place.outputs))
        return {other.tensors[0]: theirs} if same else {}

    def _rows(self, use: Use, groups: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What the tensor is multiplied with in each run, in the original and now: [groups, samples, columns]."""
        number = self.network.courses.index(use.course)
        before, now = self.before[number], self.now[number]
        shape = now.shape_of(use.layer.weight)

        def vectors(data: list[np.ndarray]) -> np.ndarray:
            return arranged(input_rows(use.layer, data, shape, max(most, 1)), use, groups)

        if before is now:
            for data in now.data(use.layer):
                yield (rows := vectors(data)), rows
        else:
            for old, new in zip(before.data(use.layer), now.data(use.layer)):
                yield vectors(old), vectors(new)


class GivenInputs:
    """Of a network that is no graph: the layer inputs that were handed over."""

    def __init__(self, network: CallableNetwork):
        self.network = network

    def of(self, name: str, measured: Mapping[str, float]) -> LayerInputs:
        """As Inputs has it. Raises ConfigError UNSUPPORTED_LAYER where none were given, or too few."""
        rows = self.network.inputs.get(name)
        if rows is None:
            raise ConfigError("UNSUPPORTED_LAYER", "no layer inputs were given for it")
        matrix, sums = matrix_of(self.network, name, 0), Sums()
        picked = np.linspace(0, len(rows) - 1, min(len(rows), MOST)).astype(np.int64)
        sums.add(x := rows[None, picked].astype(np.float64), x)
        return sums.settled({name: matrix}, 0, None, correctable=False)

    def go_on(self, changes: Arrays) -> None:
        """What is quantised changes nothing: the inputs are the original's."""


def matrix_of(network: Network | CallableNetwork, tensor: str, scan: int) -> np.ndarray:
    """A tensor as it is coded, with outputs as rows: float64."""
    array = network.weights[tensor]
    return folded(array.reshape(-1).astype(np.float64), array.shape, 1, network.folds[tensor], scan)


def _together(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    # One array is not copied: it may be large.
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=axis)


def groups_of(use: Use, rows: int) -> int:
    """The number of groups of adjacent rows of the coded matrix that have inputs of their own.

    Raises ConfigError UNSUPPORTED_LAYER where the rows of a group are not together.
    """
    place = use.place
    if place.column_groups is not None:
        return 1
    count = len(set(place.groups.tolist()))
    if rows % count or (place.groups.reshape(count, -1) != place.groups.reshape(count, -1)[:, :1]).any():
        raise ConfigError("UNSUPPORTED_LAYER", "rows of a group are not together")
    return count


def arranged(rows: np.ndarray, use: Use, groups: int) -> np.ndarray:
    """Vectors of a layer's inputs in the order of the coded matrix: [groups, samples, columns]."""
    place = use.place
    if place.column_groups is None:
        chosen = place.groups.reshape(groups, -1)[:, 0]
        return np.ascontiguousarray(rows[chosen][:, :, place.inputs])
    # Columns of several groups, of which each output has all: those of another group say nothing of it.
    count, samples = len(rows), rows.shape[1]
    made = np.zeros((1, count * samples, len(place.inputs)))
    for group in range(count):
        here = place.column_groups == group
        made[0, group * samples:(group + 1) * samples, here] = rows[group][:, place.inputs[here]].T
    return made
