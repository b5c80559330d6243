"""The modules of S5, alone and together: which points of the hybrid pipeline each may use, and in which entropy
mode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from coding import send
from networks import Network, NumpyOps, Parameters, forward

from refcodec import Config
from refcodec.encoder.hybrid.operating_points import HybridPoint, cheapest, hybrid_levels, hybrid_points, price_of_a_bit


@dataclass(frozen=True)
class Module:
    """Some of the modules together. allows: whether a point is one of theirs.  entropy: mode of the integers.

    prunes: also the weights of idle inputs.
    """

    name: str
    entropy: str
    allows: Callable[[HybridPoint], bool]
    prunes: bool = False


IDLE = 3e-4              # share of the energy of a dense layer's inputs that idle ones have together

MODULES = (
    Module("fixed point", "fixed", lambda p: p.rank == 0 and p.price == 0),
    Module("fixed point, low rank", "fixed", lambda p: p.price == 0),
    Module("fixed point, Huffman", "huffman", lambda p: p.rank == 0 and p.price == 0),
    Module("fixed point, pruning, Huffman", "huffman", lambda p: p.rank == 0, True),
    Module("all", "huffman", lambda p: True, True),
    Module("all, CM", "cm", lambda p: True, True),
)


@dataclass
class Compressed:
    """A stream, decoded. nonzero_percent: of the coded integers, over the weights.  mac_percent: of multiplications
    left."""

    snr: float
    size: int
    ratio: float
    received: Parameters
    nonzero_percent: float
    mac_percent: float


class Compressor:
    """One network's points, measured once: all modules and all rates choose among them; and the streams made of
    them."""

    def __init__(self, network: Network, parameters: Parameters):
        self.parameters, self.positions = parameters, positions_of(network, parameters)
        self.matrices = {name: x.reshape(len(x), -1).astype(np.float64) for name, x in parameters.items() if x.ndim > 1}
        self.points = {name: hybrid_points(m, low_rank=parameters[name].ndim == 2) for name, m in self.matrices.items()}
        self._made: dict[tuple, Compressed] = {}

    def compress(self, module: Module, snr: float) -> Compressed:
        """The network with the modules' best points for an SNR over all layers; sent, decoded, its digests verified."""
        allowed = {name: [p for p in found if module.allows(p)] for name, found in self.points.items()}
        price = price_of_a_bit(list(allowed.values()), snr)
        chosen = {name: cheapest(found, price) for name, found in allowed.items()}
        key = module.entropy, *chosen.values()
        if key not in self._made:
            self._made[key] = self._sent(chosen, module.entropy, snr)
        return self._made[key]

    def _sent(self, chosen: dict[str, HybridPoint], entropy: str, snr: float) -> Compressed:
        stream = send(self.parameters, Config(preset="s5-hybrid", entropy=entropy, points=chosen))
        nonzero, left, weights, whole = 0, 0, 0, 0
        for name, matrix in self.matrices.items():
            integers = sum(int(np.count_nonzero(c.levels)) for c in hybrid_levels(matrix, chosen[name]).components)
            nonzero, left = nonzero + integers, left + integers * self.positions[name]
            weights, whole = weights + matrix.size, whole + matrix.size * self.positions[name]
        return Compressed(snr, stream.size, stream.ratio, stream.received, 100 * nonzero / weights, 100 * left / whole)


def without_idle_inputs(network: Network, parameters: Parameters, images: np.ndarray) -> Parameters:
    """The parameters, where weights of dense layers are 0 whose inputs hardly ever are anything else. images: to see
    that."""
    names, found = {id(x): name for name, x in parameters.items()}, dict(parameters)

    class Watching(NumpyOps):
        @staticmethod
        def dense(x, weight, bias):
            energy = np.square(x.astype(np.float64)).sum(axis=0)
            order = np.argsort(energy)
            idle = order[np.cumsum(energy[order]) <= IDLE * energy.sum()]
            found[names[id(weight)]] = weight.copy()
            found[names[id(weight)]][:, idle] = 0
            return NumpyOps.dense(x, weight, bias)

    forward(network.layers, parameters, images, Watching)
    return found


def positions_of(network: Network, parameters: Parameters) -> dict[str, int]:
    """How often each weight is used for one image."""
    names, found = {id(x): name for name, x in parameters.items()}, {}

    class Counting(NumpyOps):
        @staticmethod
        def conv(x, weight, bias, padding):
            y = NumpyOps.conv(x, weight, bias, padding)
            found[names[id(weight)]] = math.prod(y.shape[2:])
            return y

        @staticmethod
        def dense(x, weight, bias):
            found[names[id(weight)]] = 1
            return NumpyOps.dense(x, weight, bias)

    forward(network.layers, parameters, np.zeros((1, 1, network.side, network.side), np.float32), Counting)
    return found


def multiplications(network: Network, parameters: Parameters) -> int:
    """Multiply-accumulates of one image."""
    return sum(count * parameters[name].size for name, count in positions_of(network, parameters).items())
