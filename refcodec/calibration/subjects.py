"""The networks of a calibration: one to quantise, one to measure sensitivities on, and one on inputs to judge on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from ..integers.evaluate import network_of
from ..model import Model
from .cache import key_of, store, stored
from .feeding import FedNetwork, Feed, asked_for, chains_of, fed, sampled, split_fed
from .inputs import check_runs
from .network import Network
from .runtime import Arrays
from .sensitivity import Progress, Sensitivities, sensitivities
from .splits import HeldOut, all_of, few_of, split, validation

SMALL = 1 << 21                 # weights of a network that is quicker in one thread

Sequences = Sequence[Sequence[Arrays]]


@dataclass
class Subjects:
    """network: on the runs to calibrate on; quantised.  measured: on those, or some of them, one after another where
    outputs are fed back.  judged: on inputs held out, of which `blocks` are as HeldOut has them.  key_runs: what the
    sensitivities depend on, with `feed`."""

    network: Network
    measured: Network | FedNetwork
    judged: Network | FedNetwork
    blocks: list[np.ndarray]
    key_runs: list[Arrays]
    feed: Feed

    def sensitivities(self, outputs: Sequence[str], seed: int, beside: str | None, progress: Progress | None
                      ) -> Sensitivities:
        """As measured, or as kept in the file `beside` the model."""
        key = key_of(self.network.model, self.key_runs, asked_for(outputs, self.feed), seed) if beside else ""
        found = stored(beside, key) if beside else None
        if found is None:
            found = sensitivities(self.measured, outputs, seed, progress)
            if beside:
                store(beside, key, found)
        return found


def subjects_of(model: Model, sequences: Sequences, held_out: Sequences, feed: Feed, *, noise: bool, seed: int,
                threads: int) -> Subjects:
    """sequences: of runs to calibrate on.  held_out: to judge on; none: a part of the others; of noise, all of them.

    Raises ConfigError and FormatError as split(), validation(), fed() and Network do.
    """
    proto = network_of(model)
    check_runs([run for runs in (*sequences, *held_out) for run in runs], proto)
    threads = threads if sum(t.size for t in model.tensors) > SMALL else 1
    if feed and noise:
        raise ConfigError("BAD_CONFIG", "noise has no sequences in which outputs are fed back: give inputs")
    if feed:
        return _fed(model, sequences, held_out, feed, seed, threads)
    runs, others = ([run for part in parts for run in part] for parts in (sequences, held_out))
    if others:
        kept, held = runs, validation(others, runs, proto)
    elif noise:
        kept, held = runs, all_of(runs, proto)
    else:
        kept, held = split(runs, proto, seed)
    network, judged = Network(model, kept, threads), Network(model, held.runs, threads, cut=False)
    some = few_of(kept, proto)
    measured = network if all(a is b for a, b in zip(some, kept)) else Network(model, some, threads)
    return Subjects(network, measured, judged, [held.blocks[n] for n in judged.run_numbers], some, feed)


def _fed(model: Model, sequences: Sequences, held_out: Sequences, feed: Feed, seed: int, threads: int) -> Subjects:
    runs, chains = fed(model, sequences, feed), chains_of(sequences)
    held: HeldOut
    if held_out:
        kept, kept_chains, judged_chains = runs, chains, chains_of(held_out)
        held = validation(fed(model, held_out, feed), runs, network_of(model))
    else:
        kept, kept_chains, held, judged_chains = split_fed(runs, chains, seed)
    some, some_chains = sampled(kept, kept_chains)
    return Subjects(Network(model, kept, threads), FedNetwork(model, some, some_chains, feed, threads),
                    FedNetwork(model, held.runs, judged_chains, feed, threads), held.blocks, some, feed)
