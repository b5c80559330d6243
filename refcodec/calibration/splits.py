"""Which inputs a network is calibrated on, and which are held out to judge what comes of it.

An *input* is a row of a batch, or a run where runs are no batches. Inputs that stand side by side are often alike, as
frames of one recording, so blocks of adjacent inputs are held out, and blocks are what an estimate is uncertain by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ..errors import ConfigError
from .inputs import batch_rows, digest_of
from .runtime import Arrays

ONE_IN, ONE_IN_FEW = 5, 3       # inputs is held out; and of so few that this would be less than HELD_OUT blocks
BLOCKS = 100                    # of adjacent inputs, at most, in all
MEASURED, LEAST_MEASURED = 1 << 20, 16          # elements of inputs on which sensitivities are measured; inputs
HELD_OUT, HELD_OUT_MIN = 8, 4   # blocks: that will do, and at least


@dataclass
class HeldOut:
    """Runs to judge on.

    blocks: of each run, the number of the block of each of its rows, or of itself where it is no batch; -1: it is run,
    but not judged.
    """

    runs: list[Arrays]
    blocks: list[np.ndarray]

    @property
    def count(self) -> int:
        """The number of inputs."""
        return sum(int((b >= 0).sum()) for b in self.blocks)


def split(runs: Sequence[Arrays], proto: onnx.ModelProto, seed: int = 0) -> tuple[list[Arrays], HeldOut]:
    """(runs to calibrate on, runs held out): by chance one of ONE_IN (or of ONE_IN_FEW) blocks side by side.

    What is held out has no input that is calibrated on, too.
    Raises ConfigError BAD_CONFIG for too few inputs.
    """
    rows = [batch_rows(run, proto) for run in runs]
    blocks = _blocks([1 if n is None else n for n in rows])
    chosen = held_out_blocks(int(blocks[-1][-1]) + 1, sum(map(len, blocks)), seed)
    kept: list[Arrays] = []
    held = HeldOut([], [])
    for run, n, numbers in zip(runs, rows, blocks):
        for part, taken in ((False, kept), (True, held.runs)):
            here = chosen[numbers] == part
            if here.any():
                taken.append(run if n is None else {name: a[here] for name, a in run.items()})
                if part:
                    held.blocks.append(numbers[here])
    known = _digests(kept, proto)
    return kept, _renumbered(_without(held, known, proto))


def held_out_blocks(count: int, inputs: int, seed: int) -> np.ndarray:
    """Which of `count` blocks are held out: bool [count]. Raises ConfigError BAD_CONFIG for too few. inputs: in all."""
    chance, chosen = np.random.default_rng(seed), np.zeros(count, bool)
    apart = ONE_IN if count >= ONE_IN * HELD_OUT else ONE_IN_FEW
    for first in range(0, count - count % apart, apart):
        chosen[first + chance.integers(apart)] = True
    if chosen.sum() < HELD_OUT_MIN:
        raise ConfigError("BAD_CONFIG", f"{inputs} inputs are too few: {HELD_OUT_MIN} or more are held out to judge "
                          f"on; give {HELD_OUT_MIN * ONE_IN_FEW} at least, some hundreds rather, or others to judge on "
                          "with --validation (an input is a row of a batch, or a run)")
    return chosen


def few_of(runs: Sequence[Arrays], proto: onnx.ModelProto) -> list[Arrays]:
    """Some of the inputs, spread evenly: for what needs no more than MEASURED elements of arrays, or LEAST_MEASURED
    inputs. All, where they are no more."""
    rows = [batch_rows(run, proto) or 1 for run in runs]
    wanted = max(LEAST_MEASURED, MEASURED * sum(rows) // sum(a.size for run in runs for a in run.values()))
    if sum(rows) <= wanted:
        return list(runs)
    chosen = np.zeros(sum(rows), bool)
    chosen[np.arange(wanted) * len(chosen) // wanted] = True
    found = []
    for run, here in zip(runs, np.split(chosen, np.cumsum(rows)[:-1])):
        if here.any():
            batch = batch_rows(run, proto) is not None
            found.append({name: a[here] for name, a in run.items()} if batch else run)
    return found


def validation(runs: Sequence[Arrays], calibrated: Sequence[Arrays], proto: onnx.ModelProto) -> HeldOut:
    """Inputs that were given to judge on.

    Raises ConfigError BAD_CONFIG where some are calibrated on, too, or they are too few.
    """
    held = all_of(runs, proto)
    others = _without(held, _digests(calibrated, proto), proto)
    if others.count < held.count:
        raise ConfigError("BAD_CONFIG", f"{held.count - others.count} of the {held.count} inputs to judge on are those "
                          "to calibrate on, and would prove nothing: give --validation others, or leave it out, and a "
                          "fifth is held out")
    if int(held.blocks[-1][-1]) + 1 < HELD_OUT_MIN:
        raise ConfigError("BAD_CONFIG", f"{held.count} inputs to judge on are too few, {HELD_OUT_MIN} are the least "
                          "(an input is a row of a batch, or a run): give --validation more")
    return held


def all_of(runs: Sequence[Arrays], proto: onnx.ModelProto) -> HeldOut:
    """All of the runs."""
    return HeldOut(list(runs), _blocks([batch_rows(run, proto) or 1 for run in runs]))


def _blocks(lengths: Sequence[int]) -> list[np.ndarray]:
    """The block of each input, of runs with so many each."""
    total = sum(lengths)
    numbers = np.arange(total) * min(total, BLOCKS) // total
    return np.split(numbers, np.cumsum(lengths)[:-1])


def _rows(run: Arrays, proto: onnx.ModelProto) -> list[Arrays]:
    count = batch_rows(run, proto)
    return [run] if count is None else [{name: a[i:i + 1] for name, a in run.items()} for i in range(count)]


def _digests(runs: Sequence[Arrays], proto: onnx.ModelProto) -> set[str]:
    return {digest_of([row]) for run in runs for row in _rows(run, proto)}


def _without(held: HeldOut, known: set[str], proto: onnx.ModelProto) -> HeldOut:
    """Without the inputs whose digests are known."""
    found = HeldOut([], [])
    for run, blocks in zip(held.runs, held.blocks):
        new = np.array([digest_of([row]) not in known for row in _rows(run, proto)])
        if new.any():
            batch = batch_rows(run, proto) is not None
            found.runs.append({name: a[new] for name, a in run.items()} if batch else run)
            found.blocks.append(blocks[new])
    return found


def _renumbered(held: HeldOut) -> HeldOut:
    """Blocks numbered from 0, without gaps. Raises ConfigError BAD_CONFIG where too few are left."""
    left = sorted({int(b) for blocks in held.blocks for b in blocks})
    if len(left) < HELD_OUT_MIN:
        raise ConfigError("BAD_CONFIG", f"only {held.count} inputs that are held out differ from all others, "
                          f"{HELD_OUT_MIN} are the least: give more inputs that differ")
    return HeldOut(held.runs, [np.searchsorted(left, blocks) for blocks in held.blocks])
