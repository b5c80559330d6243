"""Networks that are given back what they put out, run after run, as those that hear a sound frame by frame.

What such a network answers depends on its errors of all runs before. It is calibrated on the states that the original
comes to, and judged on those that it comes to by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ConfigError
from ..model import Model
from .network import Changes, Network
from .runtime import Arrays
from .splits import BLOCKS, HeldOut, held_out_blocks

BLOCKS_FED = BLOCKS // 2        # longer ones: a state takes time to go astray
PIECE, PIECES = 40, 10          # runs of a chain on which sensitivities are measured, and how many

Feed = Mapping[str, str]        # output to the input that it becomes in the next run


def feed_of(texts: Sequence[str]) -> Feed:
    """Of 'OUTPUT:INPUT' each. Raises ConfigError BAD_CONFIG for another text."""
    feed = {}
    for text in texts:
        output, _, name = text.rpartition(":")
        if not output or not name:
            raise ConfigError("BAD_CONFIG", f"{text!r} names no output and input: --feed OUTPUT:INPUT")
        feed[output] = name
    return feed


def asked_for(outputs: Sequence[str], feed: Feed) -> list[str]:
    """What a measurement is of, as the key of its file has it: outputs, and what is fed back."""
    return [*outputs, *(f"{output}>{name}" for output, name in feed.items())]


class FedNetwork:
    """A network on sequences of runs: what it puts out in one is an input of the next. A Subject, as Network is one.

    chains: numbers of `runs`, in order; the first of each begins with its own arrays.
    """

    def __init__(self, model: Model, runs: Sequence[Arrays], chains: Sequence[Sequence[int]], feed: Feed,
                 threads: int = 1):
        self.network = Network(model, runs, threads, cut=False)
        self.chains, self.feed = chains, feed
        self.weights, self.never_run = self.network.weights, self.network.never_run
        outputs = self.network.outputs()
        for output, name in feed.items():
            if output not in outputs:
                raise ConfigError("BAD_CONFIG", f"the network has no output {output!r}; it has {', '.join(outputs)}")
            if name not in runs[0]:
                raise ConfigError("BAD_CONFIG", f"the network has no input {name!r}; it has {', '.join(runs[0])}")

    def order(self) -> list[str]:
        return self.network.order()

    def outputs(self) -> dict[str, str]:
        return self.network.outputs()

    def answers(self, changes: Changes | None = None) -> list[Arrays]:
        """The outputs of all runs, in their order."""
        return [out for _, out in sorted(self._walked(changes or {}), key=lambda found: found[0])]

    def inputs(self) -> list[Arrays]:
        """The runs, as the original comes to them."""
        given: dict[int, Arrays] = {}
        self._walked({}, given)
        return [given[n] for n in sorted(given)]

    def _walked(self, changes: Changes, given: dict[int, Arrays] | None = None) -> list[tuple[int, Arrays]]:
        found = []
        for chain in self.chains:
            state: Arrays = {}
            for n in chain:
                run = {**self.network.run_of(n), **state}
                if given is not None:
                    given[n] = run
                out = self.network.answer(n, run, changes)
                state = {name: out[output] for output, name in self.feed.items()}
                found.append((n, out))
        return found


def fed(model: Model, sequences: Sequence[Sequence[Arrays]], feed: Feed, threads: int = 1) -> list[Arrays]:
    """All runs of some sequences, with the inputs that the original comes to.

    Raises ConfigError BAD_CONFIG where no sequence has a second run, or an output does not fit the input.
    """
    if all(len(runs) < 2 for runs in sequences):
        raise ConfigError("BAD_CONFIG", "what is fed back goes to the next run, but there is one only: give arrays "
                          "with one axis more, which counts runs")
    runs = [run for runs in sequences for run in runs]
    return FedNetwork(model, runs, chains_of(sequences), feed, threads).inputs()


def chains_of(sequences: Sequence[Sequence[object]]) -> list[list[int]]:
    """The numbers of the runs of each sequence, all counted through."""
    ends = np.cumsum([len(runs) for runs in sequences]).tolist()
    return [list(range(end - len(runs), end)) for end, runs in zip(ends, sequences)]


def sampled(runs: Sequence[Arrays], chains: Sequence[Sequence[int]]) -> tuple[list[Arrays], list[list[int]]]:
    """(some of the runs, their chains): pieces of PIECE runs side by side, spread evenly, PIECES at most."""
    pieces = [list(chain[at:at + PIECE]) for chain in chains for at in range(0, max(len(chain) - PIECE, 0) + 1, PIECE)]
    count = min(len(pieces), PIECES)
    taken = [pieces[k * len(pieces) // count] for k in range(count)]
    return [runs[n] for piece in taken for n in piece], chains_of(taken)


def split_fed(runs: Sequence[Arrays], chains: Sequence[Sequence[int]], seed: int
              ) -> tuple[list[Arrays], list[list[int]], HeldOut, list[list[int]]]:
    """(runs to calibrate on, their chains, runs held out, their chains). What is held out begins with the runs of the
    block before it, which are not judged, so that its state has gone astray by then.

    Raises ConfigError BAD_CONFIG for too few runs.
    """
    count = min(len(runs), BLOCKS_FED)
    numbers = np.arange(len(runs)) * count // len(runs)
    chosen = held_out_blocks(count, len(runs), seed)
    held, new_chains = HeldOut([], []), list[list[int]]()
    for chain in chains:
        for block, number in zip(np.flatnonzero(chosen), range(int(chosen.sum()))):
            inside = [n for n in chain if numbers[n] == block]
            if inside:
                first = max(chain[0], inside[0] - len(inside))
                new_chains.append([])
                for n in range(first, inside[-1] + 1):
                    new_chains[-1].append(len(held.runs))
                    held.runs.append(runs[n])
                    held.blocks.append(np.array([number if n >= inside[0] else -1]))
    free = [[n for n in chain if not chosen[numbers[n]]] for chain in chains]
    places = {n: k for k, n in enumerate(n for chain in free for n in chain)}
    apart = [list(part) for chain in free for part in np.split(chain, np.flatnonzero(np.diff(chain) > 1) + 1)]
    kept_chains = [[places[n] for n in part] for part in apart if part]
    return [runs[n] for n in places], kept_chains, held, new_chains
